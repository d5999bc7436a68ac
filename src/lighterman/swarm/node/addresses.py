"""The addresses of a node: where it listens, where others find it.

A user names an address or a network interface, or nothing; then the host must have one address that it can
only be. Source: daemon/cluster/listen_addr.go of moby, whose texts these are.
"""

import ipaddress
import re
from collections.abc import Sequence

from msgspec import Struct

from lighterman.errdefs import InvalidParameter
from lighterman.linux.netlink import Netlink
from lighterman.swarm.errors import BadAddress

DEFAULT_HOST, DEFAULT_PORT = "0.0.0.0", 2377
_PEER_PORT, _PORTS = 7946, 65535
_NUMBERS = re.compile(r"\d{1,5}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HostAddress(Struct, frozen=True):
    """An address that the host has."""

    interface: str
    address: Address
    hardware: bool
    """On a link that is no bridge, no veth and the like."""
    up: bool


class Place(Struct, frozen=True):
    """Where a node is. Addresses have no port, but for `listen` and `advertise`."""

    listen: str
    advertise: str
    """host:port; "" when the other side shall see."""
    local: str
    """An address of this host that others can reach."""
    data_path: str
    """Where tunnels end; "" for the advertised one."""

    @property
    def advertise_host(self) -> str:
        return split_port(self.advertise)[0] if self.advertise else self.local


def host_addresses() -> list[HostAddress]:
    """All addresses of this host. A few netlink messages: blocks for less than a millisecond."""
    with Netlink() as netlink:
        links = {link.index: link for link in netlink.links()}
        return [
            HostAddress(link.name, found.interface.ip, not link.kind, link.up)
            for found in netlink.addresses()
            if (link := links.get(found.index)) is not None
        ]


def split_port(text: str) -> tuple[str, str]:
    """Host and port of host:port or [host]:port. Raises: ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(text)
    return host.strip("[]"), port


def join_port(host: str, port: str | int) -> str:
    """host:port, with brackets round IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_port_beside(listen_port: str) -> int:
    """Where managers speak with each other: 7946 beside 2377, and moved as far as the listener is.

    So nodes that share the addresses of a host need nothing but listeners of their own.
    """
    offset = _PEER_PORT - DEFAULT_PORT
    port = int(listen_port) + offset
    return port if port <= _PORTS else port - 2 * offset


def with_defaults(text: str) -> str:
    """An address with host and port, whatever of the two is missing. Raises: BadAddress for the empty one.

    Source: validateAddr and opts.ParseTCPAddr of moby; what cannot be read stays as it is.
    """
    if not text:
        raise BadAddress("invalid empty address")
    bare = text.removeprefix("tcp://")
    try:
        host, port = split_port(bare)
    except ValueError:
        host, port = bare.strip("[]"), ""
    if "://" in bare or (port and not _NUMBERS.fullmatch(port)):
        return text
    return join_port(host or DEFAULT_HOST, port or DEFAULT_PORT)


def resolve_listen(text: str, host: Sequence[HostAddress]) -> tuple[str, str]:
    """Host and port to listen on. Raises: BadAddress."""
    try:
        name, port = split_port(text)
        if not _NUMBERS.fullmatch(port) or int(port) > _PORTS:
            raise ValueError(text)
    except ValueError:
        raise BadAddress(f"could not parse listen address {text}") from None
    found = _resolve(name, host, unspecified=True)
    if found is None:
        raise BadAddress(
            "listen address must be an IP address or network interface (with optional port number)"
        )
    return str(found), port


def resolve_advertise(
    text: str, listen_port: str, default: str, host: Sequence[HostAddress]
) -> tuple[str, str]:
    """Host and port where others find this node; the port is the listener's if it is not said.

    Raises: BadAddress, also when the host does not tell which of its addresses it is.
    """
    if text:
        try:
            name, port = split_port(text)
        except ValueError:
            name, port = text, listen_port
        found = _resolve(name, host)
        if found is None:
            raise BadAddress(
                "advertise address must be a non-zero IP address or network interface (with optional port "
                "number)"
            )
        return str(found), port
    if default:
        found = _resolve(default, host)
        if found is None:
            raise BadAddress(
                "default advertise address must be a non-zero IP address or network interface (without a "
                "port number)"
            )
        return str(found), listen_port
    return str(the_address(host)), listen_port


def resolve_data_path(text: str, host: Sequence[HostAddress]) -> str:
    """The address of the data path, "" for none. Raises: BadAddress."""
    if not text:
        return ""
    found = _resolve(text, host)
    if found is None:
        raise BadAddress(
            "data path address must be a non-zero IP address or network interface (without a port number)"
        )
    return str(found)


def local_address(listen_host: str, advertise_host: str, host: Sequence[HostAddress]) -> str:
    """An address of this host for a node that listens everywhere. Raises: BadAddress."""
    if not ipaddress.ip_address(listen_host).is_unspecified:
        return listen_host
    advertised = ipaddress.ip_address(advertise_host)
    if any(each.address == advertised for each in host):
        return advertise_host
    try:
        return str(the_address(host))
    except BadAddress:
        raise BadAddress(
            "must specify a listening address because the address to advertise is not recognized as a "
            "system address, and a system's IP address to use could not be uniquely identified"
        ) from None


def the_address(host: Sequence[HostAddress]) -> Address:
    """The address of this host, if there is only one that it can be. Raises: BadAddress.

    Links of hardware count; where there is none (an engine within a container), links of any kind but ours.
    """
    usable = [each for each in host if each.up and _is_global(each.address)]
    real = [each for each in usable if each.hardware]
    candidates = real or [each for each in usable if not re.match(r"docker|br-|veth", each.interface)]
    v4 = [each for each in candidates if each.address.version == 4]
    chosen = v4 or candidates
    if not chosen:
        raise BadAddress("could not find the system's IP address")
    if len(chosen) == 1:
        return chosen[0].address
    one, other = chosen[:2]
    if one.interface == other.interface:
        raise BadAddress(
            "could not choose an IP address to advertise since this system has multiple addresses on "
            f"interface {one.interface} ({one.address} and {other.address})"
        )
    raise BadAddress(
        "could not choose an IP address to advertise since this system has multiple addresses on different "
        f"interfaces ({one.address} on {one.interface} and {other.address} on {other.interface})"
    )


def check_pools(pools: Sequence[str] | None, size: int) -> tuple[tuple[str, ...], int]:
    """Pools of subnets and the prefix length of a network, with defaults. Raises: InvalidParameter."""
    if not pools:
        return ("10.0.0.0/8",), 24
    size = size or 24
    if size > 29:
        raise InvalidParameter(f"subnet size is out of range: {size}")
    cleaned = []
    for text in (pool.strip() for pool in pools):
        try:
            pool = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidParameter(f"invalid base pool {text}: invalid CIDR address: {text}") from None
        if size < pool.prefixlen:
            raise InvalidParameter(f'invalid CIDR: "{text}". Subnet size is too small for pool: {size}')
        cleaned.append(str(pool))
    return tuple(cleaned), size


def check_data_path_port(port: int) -> int:
    """Raises: InvalidParameter."""
    if port and not 1024 <= port <= 49151:
        raise InvalidParameter(f"Datapath port number is not in valid range (1024-49151) : {port}")
    return port or 4789


def _resolve(text: str, host: Sequence[HostAddress], *, unspecified: bool = False) -> Address | None:
    """The address that `text` is, or that the interface of this name has. Raises: BadAddress."""
    of_interface = [each.address for each in host if each.interface == text]
    v4 = [address for address in of_interface if address.version == 4]
    if len(v4) > 1:
        raise BadAddress(f"interface {text} has more than one IPv4 address ({v4[0]} and {v4[1]})")
    if v4 or of_interface:
        return (v4 or of_interface)[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address if unspecified or not address.is_unspecified else None


def _is_global(address: Address) -> bool:
    """Go's IsGlobalUnicast: private ones too."""
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )
