"""The three networks that always exist, decided from what was kept and what the host has. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Network

import msgspec

from lighterman.errdefs import InvalidParameter
from lighterman.networks import options
from lighterman.networks.config import NetworkConfig
from lighterman.networks.ipam import Subnet, choose_subnet, first_host
from lighterman.networks.row import NetworkRow, Pool

BRIDGE, HOST, NONE = "bridge", "host", "none"
_DRIVERS = {NONE: "null", HOST: "host", BRIDGE: "bridge"}


def default_rows(
    kept: Iterable[NetworkRow],
    bridge_address: IPv4Interface,
    config: NetworkConfig,
    *,
    ids: Sequence[str],
    now_ns: int,
    ula: IPv6Network,
) -> list[NetworkRow]:
    """none, host and bridge: those `kept` with their ids, new ones with the next of `ids`; the bridge as
    `config` wants it now. `ula` is its IPv6 subnet if it needs one and never had one."""
    known = {row.name: row for row in kept}
    fresh = iter(ids)
    rows = []
    for offset, (name, driver) in enumerate(_DRIVERS.items()):
        row = known.get(name) or NetworkRow(next(fresh), name, driver, now_ns + offset)
        rows.append(row)
    pools = [_pool(config, bridge_address)]
    if config.ipv6:
        former = [pool.subnet for pool in rows[-1].pools if pool.version == 6]
        pools.append(_pool6(config, IPv6Network(config.fixed_cidr_v6 or next(iter(former), str(ula)))))
    rows[-1] = msgspec.structs.replace(
        rows[-1],
        link=config.bridge_name,
        own_link=True,
        pools=tuple(pools),
        ipv6=config.ipv6,
        options=bridge_options(config),
    )
    return rows


def _pool(config: NetworkConfig, address: IPv4Interface) -> Pool:
    router = config.default_gateway
    for name, inside in (("default-gateway", router), ("fixed-cidr", config.fixed_cidr)):
        if inside and not IPv4Network(inside).subnet_of(address.network):
            raise InvalidParameter(f"{name} {inside} is not within the default network {address.network}")
    return Pool(
        str(address.network),
        str(address.ip),
        ip_range=config.fixed_cidr,
        gateway_wished=bool(config.bip),
        wished=True,
        auxiliary={"DefaultGatewayIPv4": router} if router else {},
    )


def _pool6(config: NetworkConfig, subnet: IPv6Network) -> Pool:
    router = config.default_gateway_v6
    if router and IPv6Address(router) not in subnet:
        raise InvalidParameter(f"default-gateway-v6 {router} is not within the default network {subnet}")
    auxiliary = {"DefaultGatewayIPv6": router} if router else {}
    return Pool(str(subnet), str(first_host(subnet)), wished=True, auxiliary=auxiliary)


def bridge_options(config: NetworkConfig) -> dict[str, str]:
    """The Options of the default bridge as inspect tells them. Source: dockerd 20.10."""
    return {
        options.DEFAULT_BRIDGE: "true",
        options.ICC: str(config.icc).lower(),
        options.MASQUERADE: str(config.ip_masq).lower(),
        options.HOST_BINDING: config.default_host_ip or "0.0.0.0",
        options.NAME: config.bridge_name,
        options.MTU: str(config.mtu),
    }


def bridge_address(
    config: NetworkConfig,
    *,
    on_link: Sequence[IPv4Interface],
    kept: NetworkRow | None,
    taken: Iterable[Subnet],
) -> IPv4Interface:
    """The address of the default bridge: as configured, as its link has it already, as it was, or new.

    Raises: InvalidParameter (bip), PoolsExhausted.
    """
    if config.bip:
        try:
            return IPv4Interface(config.bip)
        except ValueError as error:
            raise InvalidParameter(f"invalid CIDR address: {config.bip}") from error
    if on_link:
        return on_link[0]
    if kept is not None and kept.pools:
        pool = kept.pools[0]
        return IPv4Interface(f"{pool.gateway}/{IPv4Network(pool.subnet).prefixlen}")
    subnet = choose_subnet(config.pools, taken)
    return IPv4Interface(f"{first_host(subnet)}/{subnet.prefixlen}")
