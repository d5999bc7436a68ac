"""Networks and addresses of plugins: what is asked of them, and what is theirs to get back.

Two words. A *lease* is what plugins have given for one endpoint, an address or a place in a network; it
is written before they are asked and forgotten when all is given back, so an engine that was killed knows it.
What a plugin did not hear of, because it was gone or hung, is *owed*: it is told again when the network is
next used, and when the engine starts.

The order is libnetwork's: RequestAddress, CreateEndpoint and Join before anything is decided here, then the
kernel's part, then ProgramExternalConnectivity; RevokeExternalConnectivity and Leave before the kernel's part
of an end, DeleteEndpoint and ReleaseAddress after it. Nobody waits but who wants something of that plugin.
"""

import logging
import secrets
from asyncio import Lock
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_interface, ip_network

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError, System
from lighterman.lib.background import Background
from lighterman.networks import remote_words as words
from lighterman.networks.builder import Builder
from lighterman.networks.catalog import Catalog
from lighterman.networks.drivers import Drivers
from lighterman.networks.errors import ConnectivityFailed
from lighterman.networks.ipam import Addresses, OutOfSubnets, mac_of, parse_address
from lighterman.networks.kernel import Kernel
from lighterman.networks.plan import check_wish
from lighterman.networks.remote_networks import RemoteNetworks
from lighterman.networks.remote_pools import heard, request_again
from lighterman.networks.row import Lease, NetworkRow, Pool
from lighterman.networks.sandbox import (
    Endpoint,
    EndpointWish,
    Given,
    PublishedPort,
    Sandbox,
    SandboxWish,
)
from lighterman.plugins.errors import REFUSED, NoAnswer
from lighterman.plugins.interfaces import Interface, IpamDriver, NetworkDriver

log = logging.getLogger(__name__)
_ROWS: Rows[NetworkRow] = Rows("networks", NetworkRow)
LEASES: Rows[Lease] = Rows("leases", Lease)


class _Held(Struct):
    """A lease, how far its plugins have come, and which of them did not answer any more."""

    lease: Lease
    created: bool = False
    joined: bool = False
    leads_out: bool = False  # its plugin has programmed the connectivity with the outside
    returning: bool = False
    silent: set[str] = field(default_factory=set)


class Remote:
    """What plugins do for networks. `leases` are those of the last engine, `unfinished` its networks that are
    in nobody's catalog."""

    def __init__(
        self,
        drivers: Drivers,
        db: Database,
        kernel: Kernel,
        builder: Builder,
        catalog: Catalog,
        *,
        leases: Iterable[Lease],
        unfinished: Iterable[NetworkRow],
    ) -> None:
        self._drivers = drivers
        self._db = db
        self._kernel = kernel
        self._builder = builder
        self._catalog = catalog
        self._held = {
            lease.endpoint_id: _Held(lease, created=True, joined=True, leads_out=True) for lease in leases
        }
        self._owed: set[str] = set()
        self._own: dict[str, Addresses] = {}  # of plugins' networks whose addresses are ours to give
        self._to_replay = {row.ipam_driver for row in catalog.rows.values() if row.has_remote_addresses}
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}  # by sandbox, as plugins tell them
        self._locks: dict[str, Lock] = {}  # by what is settled or replayed
        self._background = Background()
        self.networks = RemoteNetworks(
            drivers,
            db,
            self._background,
            unfinished=unfinished,
            ipam=self._ipam,
            forget=self._forget_network,
        )

    # the engine's life

    def begin(self, sandboxes: Iterable[Sandbox]) -> None:
        """At the start, when plugins can be asked: `sandboxes` are those that go on. Waits for nobody."""
        kept = list(sandboxes)
        used = {end.id: end is sandbox.way_out(4) for sandbox in kept for end in sandbox.endpoints}
        self._owed = self._held.keys() - used.keys()
        for endpoint_id, held in self._held.items():
            held.leads_out = used.get(endpoint_id, True)
            self._keep_own(held, used=endpoint_id in used)
        for name in self._to_replay:
            self._background.start(self._replay_quietly, name)
        for network_id in {self._held[endpoint_id].lease.network_id for endpoint_id in self._owed}:
            self._background.start(self.settle, network_id)
        self.networks.begin()
        for sandbox in kept:
            self._background.start(self._look_at_ports, sandbox)

    def _keep_own(self, held: _Held, *, used: bool) -> None:
        """Take what an endpoint has of the addresses that are ours to give; those of a dead one are free."""
        row = self._catalog.rows.get(held.lease.network_id)
        if row is None or row.has_remote_addresses:
            return
        if not used:
            held.lease = replace(held.lease, addresses=())
        for _, address in held.lease.addresses:
            self._own_addresses(row).take_this(address)

    async def close(self) -> None:
        """Give up what is asked in the background: the next start asks again."""
        await self._background.close(cancel=True)

    def is_used(self, network_id: str) -> bool:
        """Whether somebody is in, or on the way into, a network."""
        return any(
            held.lease.network_id == network_id
            for endpoint_id, held in self._held.items()
            if endpoint_id not in self._owed
        )

    # endpoints

    async def attach(
        self, sandbox: SandboxWish, key: str, row: NetworkRow, wish: EndpointWish
    ) -> EndpointWish:
        """`wish` with the place that the plugins of its network give; on failure `give_back` returns it.

        Raises: InvalidParameter, NotFound, Conflict, System.
        """
        check_wish(row, wish)
        await self.settle(row.id)
        held = _Held(Lease(secrets.token_hex(32), sandbox.id, row.id))
        self._held[held.lease.endpoint_id] = held
        await self._db.write(LEASES.put(held.lease.endpoint_id, held.lease))
        mac = wish.mac.lower().replace("-", ":")
        given = Given(held.lease.endpoint_id, mac=mac)
        if row.has_remote_addresses:
            with _listening(held, row.ipam_driver):
                given = await self._with_addresses(held, row, wish, given)
        elif row.ipam_driver == "default":
            given = await self._with_own_addresses(held, row, wish, given)
        if row.is_remote:
            with _listening(held, row.driver):
                given = await self._with_place(held, sandbox, key, row, wish, given)
        else:
            given = replace(given, mac=mac or given.mac or mac_of(ip_interface(given.ipv4 or given.ipv6).ip))
        return replace(wish, network=row.id, given=given)

    async def _with_addresses(self, held: _Held, row: NetworkRow, wish: EndpointWish, given: Given) -> Given:
        driver = await self._ipam(row.ipam_driver)
        row = self._catalog.rows[row.id]  # the driver may have other ids for its pools since
        options: dict[str, str] | None = None
        if (await driver.capabilities()).requires_mac_address:
            given = replace(given, mac=given.mac or "02:42:" + secrets.token_bytes(4).hex(":"))
            options = {words.MAC: given.mac}
        for version, wished in ((4, wish.ipv4), (6, wish.ipv6)):
            pool = _pool_for(row, version, wished)
            if pool is None:
                continue
            told, _ = await driver.request_address(pool.id, wished, options)
            held.lease = replace(
                held.lease, addresses=(*held.lease.addresses, (pool.id, told.partition("/")[0]))
            )
            await self._db.write(LEASES.put(held.lease.endpoint_id, held.lease))
            address = words.interface(told, version, row.ipam_driver)
            if address.ip not in ip_network(pool.subnet):
                raise words.nonsense(row.ipam_driver, f"{told} is not of the pool {pool.subnet}")
            given = _with_address(given, version, str(address))
        return given

    async def _with_own_addresses(
        self, held: _Held, row: NetworkRow, wish: EndpointWish, given: Given
    ) -> Given:
        for version, wished in ((4, wish.ipv4), (6, wish.ipv6)):
            taken = self._own_addresses(row).take(version, wished)
            if taken is None:
                continue
            address, pool = taken
            held.lease = replace(held.lease, addresses=(*held.lease.addresses, ("", str(address))))
            prefix = ip_network(pool.subnet).prefixlen
            given = _with_address(given, version, f"{address}/{prefix}")
        await self._db.write(LEASES.put(held.lease.endpoint_id, held.lease))
        return given

    async def _with_place(
        self, held: _Held, sandbox: SandboxWish, key: str, row: NetworkRow, wish: EndpointWish, given: Given
    ) -> Given:
        driver = await self._drivers.network_driver(row.driver)
        ports = words.port_options(sandbox.ports, sandbox.exposed)
        wished = Interface(given.ipv4, given.ipv6, given.mac)
        options = words.endpoint_options(ports, wish.driver_opts, wish.mac and given.mac)
        held.created = True
        try:
            told = await driver.create_endpoint(row.id, given.endpoint_id, wished, options)
            given = replace(
                given,
                ipv4=words.decided(told.address, given.ipv4, 4, row.driver),
                ipv6=words.decided(told.address_ipv6, given.ipv6, 6, row.driver),
                mac=words.decided_mac(told.mac_address, given.mac, row.driver),
            )
        except System as error:
            held.created = not isinstance(error, REFUSED)
            text = f"failed to create endpoint {sandbox.name} on network {row.name}: {error}"
            raise (NoAnswer if isinstance(error, NoAnswer) else System)(text) from error
        held.joined = True
        try:
            joined = await driver.join(row.id, given.endpoint_id, key, ports)
        except REFUSED:
            held.joined = False
            raise
        brought = words.brought(joined, row, row.driver)
        if brought.source:
            own = await self._kernel.call(partial(self._builder.mac_of_link, brought.source))
            given = replace(given, mac=given.mac or own)
        return replace(given, brought=brought)

    async def lead_out(self, former: Endpoint | None, sandbox: Sandbox) -> None:
        """Let plugins know that the way out of a sandbox is no longer `former` but that which it has now.

        Raises: ConnectivityFailed.
        """
        now = sandbox.way_out(4)
        if (former.id if former else "") == (now.id if now else ""):
            return
        if former is not None and former.brought is not None and sandbox.in_network(former.network_id):
            await self._revoke(self._held[former.id])
        if now is not None and now.brought is not None:
            await self._program(self._held[now.id], sandbox, now)
        await self._look_at_ports(sandbox)

    async def _program(self, held: _Held, sandbox: Sandbox, endpoint: Endpoint) -> None:
        driver = await self._drivers.network_driver(endpoint.driver)
        ports = words.port_options(sandbox.wished_ports, sandbox.exposed)
        held.leads_out = True
        try:
            with _listening(held, endpoint.driver):
                await driver.program_external_connectivity(endpoint.network_id, endpoint.id, ports)
        except System as error:
            held.leads_out = not isinstance(error, REFUSED)
            raise ConnectivityFailed(sandbox.name, endpoint.id, error) from error

    async def _look_at_ports(self, sandbox: Sandbox) -> None:
        """Ask which ports answer for a sandbox, if that is for a plugin to know."""
        self._ports.pop(sandbox.id, None)
        now = sandbox.way_out(4)
        if now is None or now.brought is None or not sandbox.wished_ports:
            return
        try:
            driver = await self._drivers.network_driver(now.driver)
            told = await driver.endpoint_info(now.network_id, now.id)
            self._ports[sandbox.id] = words.told_ports(told, now.driver)
        except EngineError as error:
            log.warning("op=endpoint-info container=%s: %s", sandbox.id[:12], error)

    def with_ports(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox as it is shown: with the ports that its plugin answers on."""
        told = self._ports.get(sandbox.id)
        return replace(sandbox, ports=told) if told else sandbox

    async def lead_out_if_it_can(self, former: Endpoint | None, sandbox: Sandbox) -> None:
        """The same where there is no way back: a failure is told in the log."""
        try:
            await self.lead_out(former, sandbox)
        except EngineError as error:
            log.error("op=program-external-connectivity container=%s: %s", sandbox.id[:12], error)

    async def lead_out_anew(self, sandbox: Sandbox) -> None:
        """Let the plugin of the way out know of other ports. Raises: ConnectivityFailed."""
        now = sandbox.way_out(4)
        if now is not None and now.brought is not None:
            await self._revoke(self._held[now.id])
            await self.lead_out(None, sandbox)

    async def _revoke(self, held: _Held) -> None:
        if held.leads_out:
            row, endpoint_id = self._catalog.rows[held.lease.network_id], held.lease.endpoint_id
            await self._tell(
                held,
                row,
                "RevokeExternalConnectivity",
                lambda driver: driver.revoke_external_connectivity(row.id, endpoint_id),
            )
            held.leads_out = row.driver in held.silent

    async def leave(self, sandbox: Sandbox, network_id: str = "") -> None:
        """Tell plugins that a sandbox leaves one network, or all; what they do not hear of is owed."""
        for endpoint in sandbox.endpoints:
            held = self._held.get(endpoint.id)
            if held is not None and endpoint.brought and network_id in ("", endpoint.network_id):
                await self._leave(held, self._catalog.rows[endpoint.network_id])

    async def _leave(self, held: _Held, row: NetworkRow) -> None:
        await self._revoke(held)
        if held.joined:
            endpoint_id = held.lease.endpoint_id
            await self._tell(held, row, "Leave", lambda driver: driver.leave(row.id, endpoint_id))
            held.joined = row.driver in held.silent

    async def give_back(self, sandbox_id: str, network_id: str = "") -> None:
        """Return what plugins gave a sandbox in one network, or in all; idempotent. What they do not hear of
        is owed."""
        if not network_id:
            self._ports.pop(sandbox_id, None)
        for held in [*self._held.values()]:
            lease = held.lease
            ours = lease.sandbox_id == sandbox_id and network_id in ("", lease.network_id)
            if ours and lease.endpoint_id not in self._owed and not held.returning:
                await self._return(held)

    async def _return(self, held: _Held) -> None:
        held.returning = True
        try:
            await self._return_all(held)
        finally:
            held.returning = False

    async def _return_all(self, held: _Held) -> None:
        row = self._catalog.rows.get(held.lease.network_id)
        if row is None:  # it went, and all that was given in it
            await self._forget(held.lease.endpoint_id)
            return
        if row.is_remote:
            await self._leave(held, row)
            if held.created:
                endpoint_id = held.lease.endpoint_id
                await self._tell(
                    held, row, "DeleteEndpoint", lambda driver: driver.delete_endpoint(row.id, endpoint_id)
                )
        if row.has_remote_addresses:
            await self._release(held, row)
        else:
            for _, address in held.lease.addresses:
                self._own_addresses(row).release(address)
            held.lease = replace(held.lease, addresses=())
        if held.silent:
            self._owed.add(held.lease.endpoint_id)
            await self._db.write(LEASES.put(held.lease.endpoint_id, held.lease))
        else:
            await self._forget(held.lease.endpoint_id)

    async def _release(self, held: _Held, row: NetworkRow) -> None:
        if row.ipam_driver in held.silent:
            return
        try:
            driver = await self._ipam(row.ipam_driver, patient=False)  # the lease has the driver's ids now
            for pool_id, address in held.lease.addresses:
                await heard(driver.release_address(pool_id, address), f"address {address}", row)
                held.lease = _without(held.lease, address)  # somebody else may have it
        except EngineError as error:
            held.silent.add(row.ipam_driver)
            log.error("op=release network=%s driver=%s: %s; told again", row.name, row.ipam_driver, error)

    async def settle(self, network_id: str) -> None:
        """Tell plugins again what they did not hear of, and remind those of it that have forgotten."""
        row = self._catalog.rows.get(network_id)
        if row is not None and row.ipam_driver in self._to_replay:
            await self._replay_quietly(row.ipam_driver)
        async with self._locks.setdefault(f"network {network_id}", Lock()):
            for endpoint_id in [*self._owed]:
                held = self._held[endpoint_id]
                if not held.returning and held.lease.network_id == network_id:
                    held.silent.clear()
                    self._owed.discard(endpoint_id)
                    await self._return(held)

    async def _forget(self, endpoint_id: str) -> None:
        await self._db.write(LEASES.delete(endpoint_id))
        self._held.pop(endpoint_id, None)
        self._owed.discard(endpoint_id)

    async def _forget_network(self, network_id: str) -> None:
        self._own.pop(network_id, None)
        for endpoint_id in [key for key, held in self._held.items() if held.lease.network_id == network_id]:
            await self._forget(endpoint_id)

    async def _tell(
        self, held: _Held, row: NetworkRow, what: str, call: Callable[[NetworkDriver], Awaitable[None]]
    ) -> None:
        """Tell the network's plugin what it cannot change; one that did not hear of it is asked no more."""
        if row.driver in held.silent:
            return
        try:
            driver = await self._drivers.network_driver(row.driver, patient=False)
            await heard(call(driver), what, row)
        except EngineError as error:
            held.silent.add(row.driver)
            log.error("op=%s network=%s driver=%s: %s; it is told again", what, row.name, row.driver, error)

    def _own_addresses(self, row: NetworkRow) -> Addresses:
        if row.id not in self._own:
            self._own[row.id] = Addresses(row.pools if row.ipam_driver == "default" else ())
        return self._own[row.id]

    # drivers that have forgotten

    async def _ipam(self, name: str, *, patient: bool = True) -> IpamDriver:
        """The driver, which knows again what it gave the last engine. Raises: NotFound, Conflict, System."""
        async with self._locks.setdefault(f"driver {name}", Lock()):
            if name in self._to_replay:
                await self._replay(name, patient=patient)
                self._to_replay.discard(name)
        return await self._drivers.ipam_driver(name, patient=patient)

    async def _replay_quietly(self, name: str) -> None:
        try:
            await self._ipam(name)
        except EngineError as error:
            log.error("op=replay driver=%s: %s; it is asked again when it is needed", name, error)

    async def _replay(self, name: str, *, patient: bool) -> None:
        driver = await self._drivers.ipam_driver(name, patient=patient)
        if not (await driver.capabilities()).requires_request_replay:
            return
        for row in [row for row in self._catalog.rows.values() if row.ipam_driver == name]:
            again = await request_again(driver, row)
            ids = {before.id: after.id for before, after in zip(row.pools, again.pools, strict=True)}
            if again != row:
                self._catalog.rows[row.id] = again
                await self._db.write(_ROWS.put(row.id, again))
            for held in [held for held in self._held.values() if held.lease.network_id == row.id]:
                addresses = tuple((ids.get(pool, pool), address) for pool, address in held.lease.addresses)
                held.lease = replace(held.lease, addresses=addresses)
                await self._db.write(LEASES.put(held.lease.endpoint_id, held.lease))
                for pool_id, address in addresses:
                    await heard(driver.request_address(pool_id, address, None), f"address {address}", row)


def _pool_for(row: NetworkRow, version: int, wished: str) -> Pool | None:
    """The pool that an address comes from; None where the network has none and none is wished.

    Raises: InvalidParameter.
    """
    pools = [pool for pool in row.pools if pool.version == version]
    if not wished:
        return pools[0] if pools else None
    address = parse_address(wished, version)
    for pool in pools:
        if address in ip_network(pool.subnet):
            return pool
    raise OutOfSubnets(wished)


def _without(lease: Lease, address: str) -> Lease:
    return replace(lease, addresses=tuple(each for each in lease.addresses if each[1] != address))


def _with_address(given: Given, version: int, address: str) -> Given:
    return replace(given, ipv4=address) if version == 4 else replace(given, ipv6=address)


@contextmanager
def _listening(held: _Held, name: str) -> Iterator[None]:
    """A plugin that does not answer in the block is asked nothing more for this lease, for now."""
    try:
        yield
    except NoAnswer:
        held.silent.add(name)
        raise
