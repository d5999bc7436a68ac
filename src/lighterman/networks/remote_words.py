"""What plugins of networks are told, and what their answers mean. Pure.

Source: drivers/remote and netlabel of libnetwork; what dockerd 20.10 was seen to send.
"""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from lighterman.linux.netlink import mac_bytes
from lighterman.networks.row import NetworkRow, Pool
from lighterman.networks.sandbox import Brought, PortWish, PublishedPort
from lighterman.plugins.errors import CallFailed
from lighterman.plugins.interfaces import IpamData, Joined

_PREFIX = "com.docker.network"
MAC = f"{_PREFIX}.endpoint.macaddress"
GATEWAY = f"{_PREFIX}.gateway"
FOR_GATEWAY = {"RequestAddressType": GATEWAY}
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_LINK_NAME = re.compile(r"[^\s/:]{1,15}")
_LINK_PREFIX = re.compile(r"[^\s/:]{1,11}")
_EVERYWHERE = "0.0.0.0/0"

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def network_options(row: NetworkRow) -> dict[str, Any]:
    """The Options of CreateNetwork."""
    told: dict[str, Any] = {f"{_PREFIX}.enable_ipv6": row.ipv6, f"{_PREFIX}.generic": row.options}
    return told | {f"{_PREFIX}.internal": True} if row.internal else told


def ipam_data(pools: Sequence[Pool], space: str, version: int) -> list[IpamData]:
    """The subnets of one version, for CreateNetwork."""
    return [_data(pool, space) for pool in pools if pool.version == version]


def _data(pool: Pool, space: str) -> IpamData:
    prefix = ipaddress.ip_network(pool.subnet).prefixlen
    return IpamData(
        address_space=space,
        pool=pool.subnet,
        gateway=f"{pool.gateway}/{prefix}" if pool.gateway else "",
        aux_addresses={name: f"{address}/{prefix}" for name, address in pool.auxiliary.items()},
    )


def port_options(ports: Sequence[PortWish], exposed: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """The ports of a sandbox: in the Options of an endpoint, of Join and of ProgramExternalConnectivity."""
    return {
        f"{_PREFIX}.endpoint.exposedports": [
            {"Proto": _PROTOCOLS[proto], "Port": port} for port, proto in exposed
        ],
        f"{_PREFIX}.portmap": [
            {
                "Proto": _PROTOCOLS[wish.proto],
                "IP": "",
                "Port": wish.container_port,
                "HostIP": wish.host_ip,
                "HostPort": wish.host_port_first,
                "HostPortEnd": max(wish.host_port_first, wish.host_port_last),
            }
            for wish in ports
        ],
    }


def told_ports(operational: Mapping[str, Any], who: str) -> tuple[PublishedPort, ...]:
    """The ports of the host that answer, in what EndpointOperInfo says. Raises: CallFailed."""
    protocols = {number: name for name, number in _PROTOCOLS.items()}
    try:
        return tuple(
            PublishedPort(
                int(told["Port"]),
                protocols[told["Proto"]],
                str(ipaddress.ip_address(told.get("HostIP") or "0.0.0.0")),
                int(told["HostPort"]),
            )
            for told in operational.get(f"{_PREFIX}.portmap") or ()
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise nonsense(who, f"{_PREFIX}.portmap: {error!r}") from error


def endpoint_options(ports: Mapping[str, Any], driver_opts: Mapping[str, str], mac: str) -> dict[str, Any]:
    """The Options of CreateEndpoint. A MAC is there as Go writes bytes."""
    wished = {MAC: b64encode(mac_bytes(mac)).decode()} if mac else {}
    return {**ports, **driver_opts, **wished}


def interface(text: str, version: int, who: str) -> Interface:
    """An address with its prefix, "10.0.0.2/24". Raises: CallFailed."""
    try:
        if "/" not in text:
            raise ValueError(text)
        found = ipaddress.ip_interface(text)
    except ValueError as error:
        raise nonsense(who, f"invalid CIDR address: {text}") from error
    if found.version != version:
        raise nonsense(who, f"{text} is no address of IPv{version}")
    return found


def decided(told: str, asked: str, version: int, who: str) -> str:
    """The address of an endpoint: as asked, or the driver's own where nobody gave one. Raises: CallFailed."""
    if not told:
        return asked
    found = str(interface(told, version, who))
    if asked and found != asked:
        raise CallFailed(
            f"driver modified interface address: endpoint interface IP present ({asked}). "
            f"Cannot be modified with {found}."
        )
    return found


def decided_mac(told: str, asked: str, who: str) -> str:
    """Likewise its MAC. Raises: CallFailed."""
    if not told:
        return asked
    try:
        found = mac_bytes(told.replace("-", ":")).hex(":")
    except ValueError as error:
        raise nonsense(who, f"address {told}: invalid MAC address") from error
    if asked and found != asked:
        raise CallFailed(
            f"driver modified interface MAC address: endpoint interface MAC address present ({asked}). "
            f"Cannot be modified with {found}."
        )
    return found


def brought(joined: Joined, row: NetworkRow, who: str) -> Brought:
    """What a driver's Join means. An internal network has no gateway, whatever the driver says.

    Raises: CallFailed.
    """
    if joined.source and not _LINK_NAME.fullmatch(joined.source):
        raise nonsense(who, f"{joined.source!r} is no name of a link")
    prefix = joined.prefix or "eth"
    if not _LINK_PREFIX.fullmatch(prefix):
        raise nonsense(who, f"{prefix!r} is no beginning of a link's name")
    routes = tuple((_destination(each.destination, who), each.next_hop) for each in joined.routes)
    for _, next_hop in routes:
        _gateway(next_hop, "next hop", who)
    four, six = _gateway(joined.gateway, "Gateway", who), _gateway(joined.gateway_ipv6, "GatewayIPv6", who)
    leads_out = bool(four) or any(destination == _EVERYWHERE for destination, _ in routes)
    return Brought(
        source=joined.source,
        prefix=prefix,
        gateway="" if row.internal else four,
        gateway_ipv6="" if row.internal else six,
        routes=routes,
        is_led_out=leads_out or joined.disable_gateway_service,
    )


def _destination(text: str, who: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise nonsense(who, f"invalid CIDR address: {text}") from error


def _gateway(text: str, what: str, who: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError as error:
        raise nonsense(who, f'unable to parse {what} "{text}"') from error


def nonsense(who: str, why: str) -> CallFailed:
    """The answer of the plugin `who` was JSON, and made no sense all the same."""
    return CallFailed(f"the plugin {who} answered nonsense: {why}")
