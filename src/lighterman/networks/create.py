"""What may be asked of a new network, and what it becomes. Pure."""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv6Network

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes import network as wire
from lighterman.errdefs import Forbidden, InvalidParameter, NotFound, System, Unimplemented
from lighterman.networks import options
from lighterman.networks.config import AddressPool
from lighterman.networks.errors import NameTaken, NeedsSwarm, PoolOverlaps
from lighterman.networks.ipam import Subnet, choose_subnet, first_host
from lighterman.networks.row import DRIVERS, NetworkRow, Pool

_PREDEFINED = ("bridge", "host", "none", "default")
_NO_OPERATOR = (
    "configuration network can only contain network specific fields. Network operator fields like "
    "[ ingress | internal | attachable | scope ] are not supported."
)
_NO_CONFIG = (
    "user-specified configurations are not supported if the network depends on a configuration network"
)


class NetworkPlan(Struct, frozen=True):
    """A network that is decided but for its subnets, and what was wished of these."""

    row: NetworkRow
    configs: Sequence[wire.IPAMConfig]


def plan_network(
    body: wire.NetworkCreateBody,
    rows: Collection[NetworkRow],
    *,
    network_id: str,
    now_ns: int,
    default_options: Mapping[str, Mapping[str, str]] | None = None,
) -> NetworkPlan:
    """The network that `body` asks for beside `rows`; its link is named, but not looked for.

    `default_options` are, by driver, those of networks that do not say otherwise.
    Raises what dockerd raises, 400 where it said 500 for a client's mistake. Source: NetworkCreate; texts as
    recorded from dockerd 20.10 and, for what was not recorded, moby's libnetwork.
    """
    _check_name(body, rows)
    body, config_from = _with_configuration(body, rows)
    driver = "null" if body.config_only else body.driver or "bridge"
    defaults = {} if config_from else (default_options or {}).get(body.driver or "bridge", {})
    wished = {**defaults, **(body.options or {})}
    if body.enable_ipv6 is not None:
        wished.pop(options.IPV6, None)
    if driver in DRIVERS:  # those of a plugin are its own affair
        options.check_options(wished, driver)
    ipam = body.ipam or wire.IPAM()
    configs = [config for config in ipam.config or () if config != wire.IPAMConfig()]
    row = NetworkRow(
        id=network_id,
        name=body.name,
        driver=driver,
        created_ns=now_ns,
        ipam_driver=ipam.driver or "default",
        ipam_options=ipam.options,
        ipv6=bool(body.enable_ipv6) or options.flag(wished, options.IPV6, default=False),
        internal=body.internal,
        attachable=body.attachable,
        options=wished,
        labels=body.labels or {},
        config_only=body.config_only,
        config_from=config_from,
    )
    if body.config_only:
        kept = (_pool(config, with_gateway=False, wished=True) for config in configs if config.subnet)
        return NetworkPlan(replace(row, pools=tuple(kept)), ())
    if row.ipam_driver == "null":
        _check_null(row, configs)
    if row.has_link:
        row = _with_link(row, rows)
    if row.driver == "bridge":
        _check_count(row, configs)
    return NetworkPlan(row, configs)


def check_rules(row: NetworkRow, *, iptables: bool, ip6tables: bool) -> None:
    """Raises Forbidden for what a bridge network cannot be without rules that the operator does not want."""
    off = "iptables" if not iptables else "ip6tables" if row.ipv6 and not ip6tables else ""
    if row.driver != "bridge" or not off:
        return
    if not options.flag(row.options, options.ICC):
        raise Forbidden(f"{options.ICC}=false takes firewall rules, and {off} is false")
    if off == "iptables" and options.HOST_IPV4 in row.options:
        raise Forbidden(f"{options.HOST_IPV4} takes firewall rules, and {off} is false")
    if off == "iptables" and options.flag(row.options, options.MASQUERADE, default=False):
        raise Forbidden(f"{options.MASQUERADE}=true takes firewall rules, and {off} is false")
    if row.internal and row.ipv6:  # what comes by IPv4 from its bridge is not forwarded: that takes no rule
        raise Forbidden(f"an internal network with IPv6 takes firewall rules, and {off} is false")


def _check_null(row: NetworkRow, configs: Sequence[wire.IPAMConfig]) -> None:
    """Source: ipams/null of libnetwork."""
    if not row.is_remote:
        raise Unimplemented(f"the IPAM driver null serves networks of plugins, not {row.driver} networks")
    if configs:
        raise InvalidParameter("null ipam driver does not handle specific address pool requests")
    if row.ipv6:
        raise InvalidParameter("null ipam driver does not handle IPv6 address pool pool requests")


def _check_count(row: NetworkRow, configs: Sequence[wire.IPAMConfig]) -> None:
    versions = [_version(config) for config in configs if config.subnet]
    if versions.count(4) > 1 or (row.ipv6 and versions.count(6) > 1):
        raise Forbidden("bridge driver doesn't support multiple subnets")


def _check_name(body: wire.NetworkCreateBody, rows: Collection[NetworkRow]) -> None:
    if not body.name.strip() or "/" in body.name:
        raise InvalidParameter(f"invalid name: {body.name}")
    if body.name in _PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {body.name} network ")
    if any(row.name == body.name for row in rows):
        raise NameTaken(body.name)
    if body.driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{body.driver}" network is allowed')
    if body.driver == "overlay" or body.scope == "swarm" or body.ingress:
        raise NeedsSwarm


def _with_configuration(
    body: wire.NetworkCreateBody, rows: Collection[NetworkRow]
) -> tuple[wire.NetworkCreateBody, str]:
    """The body with what its configuration network says, and the name of that one."""
    wished = body.config_from.network if body.config_from else ""
    if body.config_only and (body.internal or body.attachable or body.scope):
        raise Forbidden(_NO_OPERATOR)
    if not wished:
        return body, ""
    if body.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    ipam = body.ipam or wire.IPAM()
    if body.enable_ipv6 or body.labels or ipam.options or ipam.config or body.options:
        raise Forbidden(_NO_CONFIG)
    config = next((row for row in rows if row.config_only and wished in (row.name, row.id)), None)
    if config is None:
        raise NotFound(f"configuration network {wished!r} not found".replace("'", '"'))
    return (
        replace(
            body,
            enable_ipv6=config.ipv6,
            labels=config.labels,
            options=config.options,
            ipam=wire.IPAM(
                driver=config.ipam_driver,
                options=config.ipam_options,
                config=[_config(pool) for pool in config.pools],
            ),
        ),
        config.name,
    )


def _config(pool: Pool) -> wire.IPAMConfig:
    return wire.IPAMConfig(pool.subnet, pool.ip_range, pool.gateway, pool.auxiliary or None)


def _with_link(row: NetworkRow, rows: Collection[NetworkRow]) -> NetworkRow:
    """The row with the name of its bridge, or of the link that its containers stand on."""
    if row.driver == "bridge":
        link = row.options.get(options.NAME) or f"br-{row.id[:12]}"
        for other in rows:
            if other.driver == "bridge" and other.link == link:
                raise Forbidden(
                    f"cannot create network {row.id} ({link}): conflicts with network {other.id} "
                    f"({other.link}): networks have same bridge name"
                )
        return replace(row, link=link)
    parent = row.options.get(options.PARENT, "")
    if not parent:  # nobody outside is reached: a link that leads nowhere
        return replace(row, link=f"d{row.driver[0]}-{row.id[:12]}", internal=True)
    options.split_parent(parent)
    for other in rows:
        alone = "passthru" in (row.options.get(options.MACVLAN_MODE), other.options.get(options.MACVLAN_MODE))
        if other.link == parent and other.driver == row.driver and alone:
            raise Forbidden(
                f"cannot use mode passthru, {row.driver} network {other.id} is already using parent "
                f"interface {parent}"
            )
    return replace(row, link=parent)


def with_pools(
    plan: NetworkPlan,
    rows: Collection[NetworkRow],
    *,
    pools: Sequence[AddressPool],
    taken: Sequence[Subnet],
    ula: IPv6Network,
) -> NetworkRow:
    """The planned network with its subnets, where these are the engine's to give.

    `pools` are cut where no subnet is wished, avoiding `taken`; `ula` serves for IPv6 without a subnet.
    Raises: InvalidParameter, PoolOverlaps, PoolsExhausted.
    """
    row, configs = plan.row, plan.configs
    if row.config_only:
        return row
    if row.ipam_driver == "null":
        return replace(row, pools=(Pool("0.0.0.0/0", ""),))
    made = [
        _pool(config, with_gateway=True, wished=True)
        for config in configs
        if config.subnet and (row.ipv6 or _version(config) == 4)
    ]
    bare = next((config for config in configs if not config.subnet), wire.IPAMConfig())
    if not any(pool.version == 4 for pool in made):
        chosen = replace(bare, subnet=str(choose_subnet(pools, taken)))
        made.insert(0, _pool(chosen, with_gateway=True, wished=False))
    if row.ipv6 and not any(pool.version == 6 for pool in made):
        made.append(_pool(wire.IPAMConfig(str(ula)), with_gateway=True, wished=False))
    check_overlap(made, rows)
    return replace(row, pools=tuple(made), idle_pools=idle_pools(plan))


def idle_pools(plan: NetworkPlan) -> tuple[Pool, ...]:
    """What was wished of IPv6 for a network without it."""
    return tuple(
        _pool(config, with_gateway=False, wished=True)
        for config in plan.configs
        if config.subnet and not plan.row.ipv6 and _version(config) == 6
    )


def check_overlap(pools: Iterable[Pool], rows: Collection[NetworkRow]) -> None:
    """Raises: PoolOverlaps: two of `pools` do, or one with a subnet of `rows`."""
    used = [subnet for row in rows for subnet in row.subnets]
    for pool in pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if any(overlap(subnet, other) for other in used):
            raise PoolOverlaps
        used.append(subnet)


def warning_of(row: NetworkRow) -> str:
    """What of the wish for a network does not act; "" if all of it does."""
    subnets = ", ".join(pool.subnet for pool in row.idle_pools)
    return f"IPv6 is not enabled for network {row.name}: {subnets} is not used" if subnets else ""


def _version(config: wire.IPAMConfig) -> int:
    return parse_subnet(config.subnet).version


def overlap(one: Subnet, other: Subnet) -> bool:
    """Whether they have an address in common."""
    return one.version == other.version and int(one[0]) <= int(other[-1]) and int(other[0]) <= int(one[-1])


def _pool(config: wire.IPAMConfig, *, with_gateway: bool, wished: bool) -> Pool:
    """A pool of which the subnet is known; its gateway is the first address where none is wished."""
    subnet = parse_subnet(config.subnet)
    for name, text in (("gateway", config.gateway), *(config.auxiliary_addresses or {}).items()):
        if text and not _is_inside(text, subnet):
            what = f"gateway ({text})" if name == "gateway" else f"secondary ip address ({name}:{text})"
            raise InvalidParameter(f"failed to allocate {what}: Requested address is out of range")
    if config.ip_range:
        inner = parse_subnet(config.ip_range)
        if inner.version != subnet.version or not (inner[0] in subnet and inner[-1] in subnet):
            raise InvalidParameter("Invalid Address SubPool")
    gateway = config.gateway or (str(_first_free(subnet, config)) if with_gateway else "")
    return Pool(
        subnet=str(subnet),
        gateway=gateway,
        ip_range=str(parse_subnet(config.ip_range)) if config.ip_range else "",
        gateway_wished=bool(config.gateway),
        wished=wished,
        auxiliary=config.auxiliary_addresses or {},
    )


def _first_free(subnet: Subnet, config: wire.IPAMConfig) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The lowest address of the range that no auxiliary host has."""
    window = parse_subnet(config.ip_range) if config.ip_range else subnet
    taken = {ipaddress.ip_address(text) for text in (config.auxiliary_addresses or {}).values()}
    candidate = window[0] if window[0] != subnet[0] else first_host(subnet)
    while candidate in taken:
        candidate += 1
    if candidate not in subnet:
        raise System("no available IPv4 addresses on this network's address pools")
    return candidate


def _is_inside(text: str, subnet: Subnet) -> bool:
    try:
        return ipaddress.ip_address(text) in subnet
    except ValueError as error:
        raise InvalidParameter(f"invalid gateway address {text}") from error


def parse_subnet(text: str) -> Subnet:
    """Raises InvalidParameter in dockerd's words."""
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidParameter(f"Invalid subnet {text} : invalid CIDR address: {text}") from error
