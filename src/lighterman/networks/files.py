"""The texts of the files in a container that tell it its name, its neighbours and its name servers: pure.

Source: what dockerd 20.10 writes into /etc/hosts, /etc/hostname and /etc/resolv.conf.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from msgspec import Struct

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
FALLBACK = ("8.8.8.8", "8.8.4.4")
RESOLVED_STUB, RESOLVED_CONF = "127.0.0.53", "/run/systemd/resolve/resolv.conf"
"""Where the servers are when the host's own resolv.conf names nothing but this stub."""


class Resolver(Struct, frozen=True):
    """What a resolv.conf says: addresses, domains and options in their order."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hosts_file(
    hostname: str,
    domainname: str,
    addresses: Sequence[str],
    extra: Sequence[tuple[str, str]] = (),
    *,
    host_text: str = "",
) -> str:
    """`/etc/hosts`; `addresses` are the container's own, `extra` (name, address) of ExtraHosts and links.

    `host_text` is the host's own file, to begin with in a container on the host's network.
    """
    begin = host_text if not host_text or host_text.endswith("\n") else f"{host_text}\n"
    lines = [f"{address}\t{name}\n" for name, address in extra]
    lines += [own_line(hostname, domainname, address) for address in addresses]
    return (begin or _HOSTS) + "".join(lines)


def parse_resolv_conf(text: str) -> Resolver:
    """The last `search` or `domain` counts, as in resolv.conf(5); comments and the rest are left out."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        match words[0]:
            case "nameserver":
                servers.append(words[1])
            case "search" | "domain":
                search = tuple(words[1:])
            case "options":
                options += words[1:]
    return Resolver(tuple(servers), search, tuple(options))


def resolv_conf(
    host_text: str,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    on_host: bool = False,
) -> str:
    """`/etc/resolv.conf` from the host's, overridden by what is not empty; a search of "." is none.

    Servers on the host's loopback are out of reach for a container, unless it is `on_host` network; when
    none is left, Google's public ones serve, as in dockerd. Without a wish of its own a container has the
    host's text but for those servers, with all else that it says; on the host's network unchanged.
    """
    if not (dns or search or options):
        return host_text if on_host else _within_reach(host_text)
    host = parse_resolv_conf(host_text)
    servers = tuple(dns) or (host.servers if on_host else reachable(host.servers) or FALLBACK)
    domains = tuple(search) or host.search
    if domains == (".",):
        domains = ()
    return render(Resolver(servers, domains, tuple(options) or host.options))


def _within_reach(host_text: str) -> str:
    """The host's text without the servers that a container cannot reach."""
    servers = parse_resolv_conf(host_text).servers
    kept = "".join(
        line
        for line in host_text.splitlines(keepends=True)
        if not (named := parse_resolv_conf(line).servers) or reachable(named)
    )
    return kept if reachable(servers) else with_line(f"{kept}\n" if kept else "", render(Resolver(FALLBACK)))


def own_resolv_conf(
    host_text: str, server: str, *, search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """`/etc/resolv.conf` of a container that has a name server of its own: nobody else is asked, and bare
    names are asked for as they are."""
    host = parse_resolv_conf(host_text)
    domains = tuple(search) or host.search
    wished = tuple(options) or host.options
    if not any(option.startswith("ndots:") for option in wished):
        wished = (*wished, "ndots:0")
    return render(Resolver((server,), () if domains == (".",) else domains, wished))


def with_line(text: str, line: str) -> str:
    """A hosts file with one line more."""
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}"


def without_line(text: str, line: str) -> str:
    """A hosts file without that line; what the container itself has written stays."""
    return "".join(each for each in text.splitlines(keepends=True) if each.strip() != line.strip())


def own_line(hostname: str, domainname: str, address: str) -> str:
    """The line of `hosts` that tells a container its own address."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short = full.partition(".")[0]
    return f"{address}\t{full if short == full else f'{full} {short}'}\n"


def reachable(servers: Iterable[str]) -> tuple[str, ...]:
    """Those of `servers` that a container with IPv4 only can reach: no loopback, no IPv6."""
    return tuple(server for server in servers if _is_reachable(server))


def render(resolver: Resolver) -> str:
    """The text of a resolv.conf, its lines in dockerd's order."""
    lines = [f"search {' '.join(resolver.search)}\n"] if resolver.search else []
    lines += [f"nameserver {server}\n" for server in resolver.servers]
    lines += [f"options {' '.join(resolver.options)}\n"] if resolver.options else []
    return "".join(lines)


def hostname_file(hostname: str) -> str:
    """`/etc/hostname`."""
    return f"{hostname}\n"


def _is_reachable(server: str) -> bool:
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback
