"""The files that tell a container its name, its neighbours and its name servers. Blocks: for a thread.

While a container runs they are changed in place, by single lines: it may have written into them, too, and a
bind mount shows the inode, not the path.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from lighterman.containers.plan_start import StartPlan
from lighterman.containers.state import Container, Settings
from lighterman.errdefs import System
from lighterman.networks import Sandbox
from lighterman.networks.files import (
    RESOLVED_CONF,
    RESOLVED_STUB,
    hostname_file,
    hosts_file,
    own_line,
    own_resolv_conf,
    parse_resolv_conf,
    resolv_conf,
    with_line,
    without_line,
)
from lighterman.networks.name_server import ADDRESS

HOST_RESOLV_CONF = Path("/etc/resolv.conf")
HOST_HOSTS = Path("/etc/hosts")
Line = tuple[str, str]
"""Names, address."""


def write_files(
    settings: Settings,
    plan: StartPlan,
    sandbox: Sandbox | None,
    *,
    host_gateways: Sequence[str] = (),
    linked: Sequence[Line] = (),
    owner: tuple[int, int] = (0, 0),
) -> str:
    """Write hosts, hostname and resolv.conf of a container that starts, for their `owner`; its host name.

    `host_gateways` are the host's addresses for containers, `linked` are lines of links. With the network of
    another container, that one's files and name are used. Raises: System.
    """
    container = plan.container
    home = settings.home(container.id)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if plan.network_of is not None:
            return plan.files_of.config.hostname
        _write(home / "hostname", hostname_file(container.config.hostname))
        _write(home / "hosts", _hosts(container, sandbox, host_gateways, linked))
        _write(home / "resolv.conf", _resolv_conf(settings, container, sandbox))
        for name in ("hostname", "hosts", "resolv.conf"):
            os.chown(home / name, *owner)
    except OSError as error:
        raise System(f"cannot write the files of container {container.id}: {error}") from error
    return container.config.hostname


def rewrite_files(settings: Settings, container: Container, before: Sandbox, after: Sandbox) -> None:
    """Bring the files of a running container from one sandbox to another. Raises: System."""
    home = settings.home(container.id)
    name, domain = container.config.hostname, container.config.domainname
    former, wanted = _addresses(before), _addresses(after)
    try:
        hosts = (home / "hosts").read_text()
        for address in former:
            if address not in wanted:
                hosts = without_line(hosts, own_line(name, domain, address))
        for address in wanted:
            if address not in former:
                hosts = with_line(hosts, own_line(name, domain, address))
        _write(home / "hosts", hosts)
        untouched = (home / "resolv.conf").read_text() == _resolv_conf(settings, container, before)
        if before.has_names != after.has_names and untouched:
            _write(home / "resolv.conf", _resolv_conf(settings, container, after))
    except OSError as error:
        raise System(f"cannot write the files of container {container.id}: {error}") from error


def replace_link(settings: Settings, container_id: str, names: str, address: str) -> None:
    """Let the line of a link of a running container say another address. Raises: System."""
    drop_link(settings, container_id, names, instead=f"{address}\t{names}\n")


def drop_link(settings: Settings, container_id: str, names: str, instead: str = "") -> None:
    """Take the line of a link of a running container away, for another one. Raises: System."""
    path = settings.home(container_id) / "hosts"
    try:
        lines = path.read_text().splitlines(keepends=True)
        rest = "".join(line for line in lines if line.partition("\t")[2].strip() != names)
        _write(path, with_line(rest, instead) if instead else rest)
    except OSError as error:
        raise System(f"cannot write the files of container {container_id}: {error}") from error


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    os.chmod(path, 0o644)  # the process inside reads it, whatever the umask of the engine is


def _addresses(sandbox: Sandbox | None) -> list[str]:
    """Its own, but for those of ways that lead to others only. Source: sbJoin of libnetwork."""
    ends = [each for each in (sandbox.endpoints if sandbox else ()) if not each.hidden]
    return [each for end in ends if end.has_names or end.driver != "overlay" for each in end.addresses]


def _hosts(
    container: Container, sandbox: Sandbox | None, host_gateways: Sequence[str], linked: Sequence[Line]
) -> str:
    extra = [
        (name, address)
        for name, _, wished in (each.partition(":") for each in container.host_config.extra_hosts or ())
        for address in (host_gateways if wished == "host-gateway" else (wished.strip("[]"),))
    ]
    if container.host_config.network_mode == "host":
        host = HOST_HOSTS.read_text() if HOST_HOSTS.exists() else ""
        return host + "".join(f"{address}\t{name}\n" for name, address in extra)
    config = container.config
    return hosts_file(config.hostname, config.domainname, _addresses(sandbox), [*extra, *linked])


def _resolv_conf(settings: Settings, container: Container, sandbox: Sandbox | None) -> str:
    wish = container.host_config
    dns = tuple(wish.dns or settings.dns)
    search = tuple(wish.dns_search or settings.dns_search)
    options = tuple(wish.dns_options or settings.dns_opts)
    host = HOST_RESOLV_CONF.read_text() if HOST_RESOLV_CONF.exists() else ""
    if sandbox is not None and sandbox.has_names:
        return own_resolv_conf(host, ADDRESS, search=search, options=options)
    if wish.network_mode == "host" and not (dns or search or options):
        return host
    if parse_resolv_conf(host).servers == (RESOLVED_STUB,) and os.path.exists(RESOLVED_CONF):
        host = Path(RESOLVED_CONF).read_text()
    return resolv_conf(host, dns=dns, search=search, options=options)
