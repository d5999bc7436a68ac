"""Where clients come in: the addresses of `hosts` as listening sockets.

`parse_host` says what an address means, in dockerd's words, and touches nothing. `open_listeners` makes the
sockets: a unix socket is group-readable and replaces a file that nobody answers on; tcp is for loopback
unless clients show certificates (`certificates.py`), since whoever reaches it is root on this host; fd://
takes what systemd has opened.
"""

import errno
import grp
import ipaddress
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from lighterman.api import Listener
from lighterman.api.roles import Role, parse_role
from lighterman.daemon.config import EngineConfig
from lighterman.errdefs import InvalidParameter, System

BACKLOG = 1024
DEFAULT_GROUP = "docker"
DEFAULT_TCP_PORT = 2375
DEFAULT_TLS_PORT = 2376
DEFAULT_UNIX_PATH = "/var/run/docker.sock"
LISTEN_FDS_START = 3  # sd_listen_fds(3)
UNIX_PATH_LIMIT = 107  # unix(7): sun_path holds 108 bytes with the closing zero
_EXPOSED = (
    "without tlsverify whoever reaches this address is root on this host; only loopback is allowed unless "
    "insecure-tcp is set, or tls or tlsverify is false by intent"
)
log = logging.getLogger(__name__)


class UnixHost(Struct, frozen=True):
    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


class TcpHost(Struct, frozen=True):
    address: str
    port: int

    def __str__(self) -> str:
        return (
            f"tcp://[{self.address}]:{self.port}"
            if ":" in self.address
            else f"tcp://{self.address}:{self.port}"
        )


class FdHost(Struct, frozen=True):
    fd: int | None  # None: all that systemd handed over

    def __str__(self) -> str:
        return "fd://" if self.fd is None else f"fd://{self.fd}"


Host = UnixHost | TcpHost | FdHost


def parse_host(address: str, *, tls: bool = False, anywhere: bool = False) -> Host:
    """The address that a user typed, with dockerd's defaults for what is left out.

    `anywhere` lets tcp be beyond loopback. Raises: InvalidParameter.
    Source: ParseDaemonHost of moby; listenFD for fd://.
    """
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", scheme
    match scheme:
        case "unix":
            return _unix_host(address, rest or DEFAULT_UNIX_PATH)
        case "tcp":
            return _tcp_host(address, rest, tls=tls, anywhere=anywhere)
        case "fd":
            if rest not in ("", "*") and not rest.isdecimal():
                raise InvalidParameter(f"failed to parse systemd fd address: should be a number: {rest}")
            return FdHost(int(rest) if rest.isdecimal() else None)
    raise InvalidParameter(f"invalid bind address ({address}): unsupported proto '{scheme}'")


def parse_hosts(config: EngineConfig, environment: Mapping[str, str] = os.environ) -> list[Host]:
    """The addresses to listen on, each once: what systemd has opened, if nothing else was wished.

    Raises: InvalidParameter.
    """
    if config.hosts == EngineConfig().hosts and _is_activated(environment):
        return [FdHost(None)]
    return _parsed(config, config.hosts)


class Restricted(Struct, frozen=True):
    """An address for clients that may do less."""

    host: UnixHost | TcpHost
    role: Role
    group: str
    """Who may use a unix socket."""

    def __str__(self) -> str:
        return f"{self.host} ({self.role})"


def parse_restricted_hosts(config: EngineConfig) -> list[Restricted]:
    """The addresses of `restricted-hosts`: each with its role behind a question mark.

    `group=NAME` among it is the group of this socket alone. Raises: InvalidParameter, also for an address
    that is named twice or is one of `hosts`.
    """
    found: list[Restricted] = []
    taken: set[Host] = set(_parsed(config, config.hosts))
    for text in config.restricted_hosts:
        address, mark, rest = text.strip().partition("?")
        wishes = rest.split("&")
        groups = [wish.removeprefix("group=") for wish in wishes if wish.startswith("group=")]
        (host,) = _parsed(config, [address])
        if isinstance(host, FdHost) or host in taken or not mark or len(groups) > 1:
            raise InvalidParameter(f"restricted-hosts: {text} is no address of its own with a role")
        try:
            role = parse_role("&".join(wish for wish in wishes if not wish.startswith("group=")))
        except InvalidParameter as error:
            raise InvalidParameter(f"restricted-hosts: {text}: {error}") from error
        taken.add(host)
        found.append(Restricted(host, role, *(groups or [config.group])))
    return found


def _parsed(config: EngineConfig, addresses: Iterable[str]) -> list[Host]:
    tls, anywhere = config.uses_tls, config.may_listen_anywhere
    return list(dict.fromkeys(parse_host(each, tls=tls, anywhere=anywhere) for each in addresses))


def exposures(config: EngineConfig) -> tuple[str, ...]:
    """What /info warns of: listeners that ask nobody who he is. Source: fillAPIInfo of moby 20.10."""
    if config.verifies_clients:
        return ()
    scheme, lack = ("https", "TLS client verification") if config.uses_tls else ("http", "encryption")
    return tuple(
        f"WARNING: API is accessible on {scheme}://{str(host).removeprefix('tcp://')} without {lack}.\n"
        "         Access to the remote API is equivalent to root access on the host. Refer\n"
        "         to the 'Docker daemon attack surface' section in the documentation for\n"
        "         more information: https://docs.docker.com/go/attack-surface/"
        for host in parse_hosts(config)
        if isinstance(host, TcpHost)
    )


def open_listeners(
    hosts: Iterable[Host],
    *,
    group: str,
    anywhere: bool = False,
    tls: ssl.SSLContext | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[Listener]:
    """One listening, close-on-exec, non-blocking socket for each of `hosts`, or none when one fails.

    Those of TCP speak `tls`, systemd's too. Raises: System with the address and the reason.
    """
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        for host in hosts:
            match host:
                case UnixHost(path):
                    made = [listen_unix(path, group)]
                case TcpHost(address, port):
                    made = [_listen_tcp(address, port)]
                case FdHost(fd):
                    made = _inherited(fd, environment, anywhere=anywhere)
            for each in made:
                each.setblocking(False)
                opened.callback(each.close)
            sockets += made
        opened.pop_all()
        return [Listener(each, None if each.family == socket.AF_UNIX else tls) for each in sockets]


def parse_status(config: EngineConfig) -> TcpHost | None:
    """Where the status page is served, if it is. Raises: InvalidParameter: no TCP, no port, no loopback."""
    if not config.status:
        return None
    host = parse_host(config.status, anywhere=config.insecure_tcp)
    if not isinstance(host, TcpHost) or not re.search(r":\d+$", config.status):
        raise InvalidParameter(f"invalid status address ({config.status}): name a TCP address and its port")
    if host in parse_hosts(config):
        raise InvalidParameter(f"status: {host} is where the API is served")
    return host


def listen_status(config: EngineConfig) -> list[Listener]:
    """A listener for browsers, if the page is wished. Raises: InvalidParameter, System."""
    host = parse_status(config)
    if host is None:
        return []
    listener = _listen_tcp(host.address, host.port)
    listener.setblocking(False)
    return [Listener(listener, has_page=True)]


def parse_metrics_addr(address: str) -> TcpHost:
    """Where /metrics is served. Raises: InvalidParameter unless it is an IP address and a port."""
    try:
        return _tcp_host(address, address, tls=False, anywhere=True)
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid metrics-addr: {error}") from error


def listen_metrics(address: str) -> socket.socket:
    """A listening socket for it. Raises: InvalidParameter, System."""
    host = parse_metrics_addr(address)
    listener = _listen_tcp(host.address, host.port)
    listener.setblocking(False)
    return listener


def listen_unix(path: str, group: str) -> socket.socket:
    """A socket at `path`, mode 0660, of `group`; a file left behind by a dead engine is replaced.

    Raises: System if somebody answers there, or if a group other than the default does not exist.
    """
    gid = _group_id(group)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path)
        Path(path).parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        mask = os.umask(0o117)  # never readable by others, not even for a moment
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        os.chown(path, 0, gid)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise System(f"can't create unix socket {path}: {error.strerror or error}") from error
    except System:
        listener.close()
        raise
    return listener


def _unix_host(address: str, path: str) -> UnixHost:
    if "://" in path:
        raise InvalidParameter(f"invalid bind address ({address}): invalid unix address: {path}")
    if not path.startswith("/"):
        raise InvalidParameter(f"invalid bind address ({address}): the path must be absolute")
    if "?" in path:  # else its clients could do everything, whatever was meant
        raise InvalidParameter(f"invalid bind address ({address}): a role belongs to restricted-hosts")
    if len(os.fsencode(path)) > UNIX_PATH_LIMIT:
        raise InvalidParameter(
            f"invalid bind address ({address}): socket paths end at {UNIX_PATH_LIMIT} bytes"
        )
    return UnixHost(path)


def _tcp_host(address: str, rest: str, *, tls: bool, anywhere: bool) -> TcpHost:
    try:
        url = urlsplit(f"tcp://{rest}")
        name, port = url.hostname or "127.0.0.1", url.port
    except ValueError as error:
        raise InvalidParameter(f"invalid bind address ({address}): {error}") from error
    if url.path or url.query or url.fragment:
        raise InvalidParameter(f"invalid bind address ({address}): should not contain a path element")
    if port == 0:
        raise InvalidParameter(f"invalid bind address ({address}): invalid port: 0")
    host = "127.0.0.1" if name == "localhost" else name
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InvalidParameter(f"invalid bind address ({address}): no IP address: {name}") from None
    if not loopback and not anywhere:
        raise InvalidParameter(f"{address}: {_EXPOSED}")
    return TcpHost(host, port or (DEFAULT_TLS_PORT if tls else DEFAULT_TCP_PORT))


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        if group != DEFAULT_GROUP:
            raise System(f"group {group} not found") from None
        log.debug("there is no group %s: the socket is for root alone", group)
        return 0


def _clear_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not Path(path).is_socket():
                raise System(f"can't create unix socket {path}: a file that is no socket is there") from None
            os.unlink(path)
            return
    raise System(f"can't create unix socket {path}: another engine answers there")


def _listen_tcp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise System(f"listen tcp {address}:{port}: bind: {reason}") from error


def _is_activated(environment: Mapping[str, str]) -> bool:
    """Whether systemd has passed sockets to this very process. Source: sd_listen_fds(3)."""
    return environment.get("LISTEN_PID") == str(os.getpid()) and environment.get("LISTEN_FDS", "0") != "0"


def _inherited(wanted: int | None, environment: Mapping[str, str], *, anywhere: bool) -> list[socket.socket]:
    count = int(environment.get("LISTEN_FDS", "0"))
    if not _is_activated(environment):
        raise System("no sockets found via socket activation: make sure the service was started by systemd")
    fds = range(LISTEN_FDS_START, LISTEN_FDS_START + count)
    if wanted is not None and wanted not in fds:
        raise System("too few socket activated files passed in by systemd")
    sockets = []
    for fd in fds if wanted is None else (wanted,):
        os.set_inheritable(fd, False)
        sockets.append(socket.socket(fileno=fd))
        if sockets[-1].family != socket.AF_UNIX and not anywhere:
            address = sockets[-1].getsockname()[0]
            if not ipaddress.ip_address(address).is_loopback:
                raise System(f"fd://{fd} is tcp://{address}: {_EXPOSED}")
    return sockets
