"""The subnets of networks whose addresses are a plugin's to give: requested, released, requested again.

Source: ipamAllocate, ipamRelease and reservePools of libnetwork. The plugin is asked for each subnet, for the
address of its gateway and for those of auxiliary hosts; what it gave is told as it comes (`note`), so that it
can be returned whatever happens next.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from msgspec.structs import replace

from lighterman.apitypes import network as wire
from lighterman.errdefs import EngineError, Forbidden, InvalidParameter, System
from lighterman.networks.create import NetworkPlan, overlap, parse_subnet
from lighterman.networks.ipam import Subnet
from lighterman.networks.remote_words import FOR_GATEWAY, GATEWAY, interface, nonsense
from lighterman.networks.row import NetworkRow, Pool
from lighterman.plugins.errors import REFUSED
from lighterman.plugins.interfaces import AddressPool, IpamDriver

log = logging.getLogger(__name__)
ATTEMPTS = 64
"""How many subnets that overlap a route of the host a plugin may offer."""
Note = Callable[[tuple[Pool, ...]], Awaitable[None]]


async def request_pools(
    driver: IpamDriver, plan: NetworkPlan, *, taken: Sequence[Subnet], note: Note
) -> None:
    """Ask for all subnets of a network; `taken` are those that one nobody wished for may not overlap.

    Raises: Forbidden, InvalidParameter, System.
    """
    row = plan.row
    space, _ = await driver.default_address_spaces()
    pools: tuple[Pool, ...] = ()
    for version in (4, 6) if row.ipv6 else (4,):
        for config in _wished(plan.configs, version):
            leased = await _request_pool(driver, row, space, config, version, taken)
            subnet = str(interface(leased.pool, version, row.ipam_driver).network)
            pool = Pool(subnet, "", config.ip_range, bool(config.gateway), bool(config.subnet), id=leased.id)
            await note((*pools, pool))
            pool = await _with_gateway(driver, row, pool, leased, config)
            await note((*pools, pool))
            for name, address in (config.auxiliary_addresses or {}).items():
                pool = await _with_host(driver, row, pool, name, address)
                await note((*pools, pool))
            pools = (*pools, pool)


def _wished(configs: Sequence[wire.IPAMConfig], version: int) -> list[wire.IPAMConfig]:
    """What was wished of one version; without a wish one subnet of the plugin's choice."""
    found = [config for config in configs if config.subnet and parse_subnet(config.subnet).version == version]
    bare = [config for config in configs if not config.subnet and version == 4]
    return found or bare[:1] or [wire.IPAMConfig()]


async def _request_pool(
    driver: IpamDriver,
    row: NetworkRow,
    space: str,
    config: wire.IPAMConfig,
    version: int,
    taken: Sequence[Subnet],
) -> AddressPool:
    """A subnet that nobody on this host has. Others are held meanwhile, so that they do not come again."""
    async with AsyncExitStack() as held:
        seen: set[str] = set()
        while True:
            leased = await driver.request_pool(
                space, config.subnet, config.ip_range, row.ipam_options or {}, v6=version == 6
            )
            try:
                subnet = interface(leased.pool, version, row.ipam_driver).network
            except EngineError:
                await _release(driver, row, leased)
                raise
            if config.subnet or not any(overlap(subnet, other) for other in taken):
                return leased
            held.push_async_callback(_release, driver, row, leased)
            if leased.pool in seen or len(seen) == ATTEMPTS:
                raise nonsense(row.ipam_driver, f"{leased.pool} overlaps with what this host has routes to")
            seen.add(leased.pool)


async def _release(driver: IpamDriver, row: NetworkRow, leased: AddressPool) -> None:
    await _quietly(driver.release_pool(leased.id), f"pool {leased.pool}", row)


async def _with_gateway(
    driver: IpamDriver, row: NetworkRow, pool: Pool, leased: AddressPool, config: wire.IPAMConfig
) -> Pool:
    told = leased.data.get(GATEWAY, "")
    if config.gateway or not told:
        try:
            told, _ = await driver.request_address(pool.id, config.gateway, FOR_GATEWAY)
        except System as error:
            raise System(f"failed to allocate gateway ({config.gateway}): {error}") from error
    return replace(pool, gateway=str(interface(told, pool.version, row.ipam_driver).ip))


async def _with_host(driver: IpamDriver, row: NetworkRow, pool: Pool, name: str, address: str) -> Pool:
    """The pool with the address of an auxiliary host, taken."""
    try:
        inside = ipaddress.ip_address(address) in ipaddress.ip_network(pool.subnet)
    except ValueError as error:
        raise InvalidParameter(
            f"non parsable secondary ip address ({name}:{address}) passed for network {row.name}"
        ) from error
    if not inside:
        raise Forbidden(
            f"auxiliary address: ({name}:{address}) must belong to the master pool: {pool.subnet}"
        )
    try:
        told, _ = await driver.request_address(pool.id, address, None)
    except System as error:
        raise System(f"failed to allocate secondary ip address ({name}:{address}): {error}") from error
    taken = str(interface(told, pool.version, row.ipam_driver).ip)
    return replace(pool, auxiliary={**pool.auxiliary, name: taken})


async def release_pools(driver: IpamDriver, row: NetworkRow) -> None:
    """Give all back; what the plugin refuses is told in the log. Raises: CallFailed: it heard nothing."""
    for pool in row.pools:
        for address in (pool.gateway, *pool.auxiliary.values()):
            if address:
                await heard(driver.release_address(pool.id, address), f"address {address}", row)
        await heard(driver.release_pool(pool.id), f"pool {pool.subnet}", row)


async def request_again(driver: IpamDriver, row: NetworkRow) -> NetworkRow:
    """The network with its subnets requested once more, from a plugin that has forgotten them."""
    space, _ = await driver.default_address_spaces()
    pools = []
    for pool in row.pools:
        v6 = pool.version == 6
        leased = await driver.request_pool(space, pool.subnet, pool.ip_range, row.ipam_options or {}, v6=v6)
        pools.append(replace(pool, id=leased.id))
        await _quietly(driver.request_address(leased.id, pool.gateway, FOR_GATEWAY), pool.gateway, row)
        for address in pool.auxiliary.values():
            await _quietly(driver.request_address(leased.id, address, None), address, row)
    return replace(row, pools=tuple(pools))


async def heard(call: Awaitable[object], what: str, row: NetworkRow) -> None:
    """A call after which the plugin knows, whatever it says to it. Raises: CallFailed: it may not know."""
    try:
        await call
    except REFUSED as error:
        log.warning("op=tell-plugin network=%s %s: %s", row.name, what, error)


async def _quietly(call: Awaitable[object], what: str, row: NetworkRow) -> None:
    """A call whose failure changes nothing any more."""
    try:
        await call
    except EngineError as error:
        log.warning("op=ipam network=%s driver=%s %s: %s", row.name, row.ipam_driver, what, error)
