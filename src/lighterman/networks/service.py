"""The room itself: the networks that there are, and the sandboxes in them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import IPv4Interface, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lighterman.apitypes import network as wire
from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError, Forbidden
from lighterman.events import Events
from lighterman.lib.effects import in_thread, rollback
from lighterman.lib.filters import Filters
from lighterman.linux.netlink import RT_TABLE_MAIN, Netlink
from lighterman.networks import links, options, view
from lighterman.networks.attachment import Attacher
from lighterman.networks.builder import Builder, domain
from lighterman.networks.catalog import Catalog
from lighterman.networks.config import NetworkConfig
from lighterman.networks.create import (
    NetworkPlan,
    check_overlap,
    check_rules,
    plan_network,
    warning_of,
    with_pools,
)
from lighterman.networks.defaults import BRIDGE, bridge_address, default_rows
from lighterman.networks.drivers import Drivers, NoDrivers
from lighterman.networks.errors import AlreadyAttached, EndpointExists, HasEndpoints
from lighterman.networks.firewall import Firewall, NoFirewall
from lighterman.networks.guard import Guard
from lighterman.networks.ipam import Subnet
from lighterman.networks.kernel import Kernel
from lighterman.networks.names import Names
from lighterman.networks.overlays import Overlays
from lighterman.networks.plan import Ours, check_wish, needs_way_out
from lighterman.networks.ports import Ports, ephemeral_ports
from lighterman.networks.row import Lease, NetworkRow
from lighterman.networks.sandbox import EndpointWish, PortWish, Sandbox, SandboxWish
from lighterman.networks.sandboxes import GATEWAY_BRIDGE, Sandboxes

if TYPE_CHECKING:
    from lighterman.networks.remote import Remote

log = logging.getLogger(__name__)
_ROWS: Rows[NetworkRow] = Rows("networks", NetworkRow)
_LEASES: Rows[Lease] = Rows("leases", Lease)


class Networks:
    """All networks and sandboxes of this engine. One container's calls must not overlap."""

    def __init__(
        self,
        db: Database,
        events: Events,
        exec_root: Path,
        config: NetworkConfig,
        kernel: Kernel,
        catalog: Catalog,
        drivers: Drivers,
        unfinished: Sequence[NetworkRow],
    ) -> None:
        self._db = db
        self._drivers = drivers
        self._unfinished = unfinished
        self._leases = list(_LEASES.load(db).values())
        self._remote: Remote | None = None  # loaded for the first network that needs a plugin
        self._loading = asyncio.Lock()
        self._coming: dict[str, NetworkRow] = {}
        """Networks that plugins are about to make: their names, links and subnets are taken."""
        self._events = events
        self._config = config
        self._kernel = kernel
        self._catalog = catalog
        self._ending: set[asyncio.Future[None]] = set()
        """Links of networks that are no more, on their way out."""
        self._firewall = (
            Firewall(kernel.nft, config.table, ipv6=config.ip6tables)
            if config.iptables
            else NoFirewall(kernel.nft, config.table)
        )
        names = Names()
        veth_prefix = links.veth_prefix(config.known_as)
        self._builder = Builder(
            kernel,
            self._firewall,
            catalog,
            exec_root=exec_root,
            ours=Ours(config.table, veth_prefix, guarded=config.iptables),
            ip_forward=config.ip_forward,
        )
        self._sandboxes = Sandboxes(
            kernel,
            self._builder,
            catalog,
            Ports(
                ephemeral=ephemeral_ports(),
                own=config.own_ports,
                default_host_ip=config.default_host_ip,
                firewall=config.iptables,
            ),
            veth_prefix=veth_prefix,
            names=names,
            dns=config.dns,
            tell=self._tell,
        )
        self.overlays = Overlays(
            kernel,
            self._builder,
            catalog,
            names,
            self._sandboxes,
            record=lambda row: db.write(_ROWS.put(row.id, row)),
            erase=lambda network_id: db.write(_ROWS.delete(network_id)),
        )
        self.attacher: Attacher | None = None  # of an engine in a swarm: its agent
        self._guard = Guard(
            kernel,
            self._firewall,
            config.table,
            wanted=lambda: {row.link for row in catalog.bridges} | self._sandboxes.veths,
            mend=lambda gone: kernel.call_soon(
                partial(self._builder.mend, self._sandboxes.connected, frozenset(gone))
            ),
        )

    @classmethod
    async def open(
        cls,
        *,
        db: Database,
        events: Events,
        exec_root: Path,
        config: NetworkConfig,
        drivers: Drivers | None = None,
    ) -> Networks:
        """The room with its default networks. `reconcile` makes bridges and rules, before the first connect;
        `begin_with_plugins` asks the plugins. Without `drivers` there are none.

        Raises: InvalidParameter (bip), PoolsExhausted, System (no libnftables).
        """
        with domain("cannot speak to the kernel's network"):
            kernel = Kernel()
        found = _ROWS.load(db)
        unfinished = [row for row in found.values() if row.unfinished]
        kept = {row.id: row for row in found.values() if not row.unfinished}
        former = next((row for row in kept.values() if row.name == BRIDGE), None)
        address = await kernel.call(
            partial(_choose_bridge_address, kernel, config, former, list(kept.values()))
        )
        ids = [secrets.token_hex(32) for _ in range(3)]
        rows = default_rows(kept.values(), address, config, ids=ids, now_ns=time.time_ns(), ula=_ula())
        await db.write(*(_ROWS.put(row.id, row) for row in rows))
        kept |= {row.id: row for row in rows}
        by_age = sorted(kept.values(), key=lambda row: row.created_ns)
        catalog = Catalog(by_age)
        return cls(db, events, exec_root, config, kernel, catalog, drivers or NoDrivers(), unfinished)

    async def close(self) -> None:
        """Let go of sockets and the thread; links, namespaces and rules stay for what goes on running."""
        self._guard.close()
        if self._remote is not None:
            await self._remote.close()
        self._sandboxes.close()
        await self._kernel.call(self._builder.close)
        await self._kernel.close()

    async def reconcile(self, running: Mapping[str, int]) -> None:
        """Make the kernel what the state says: `running` is container id -> pid. Once, before any connect.

        Their sandboxes are kept and repaired, their ports held again; namespaces, links and rules of ours
        without a running container go away. Raises: System.
        """
        if self._config.ip_forward and await self._kernel.call(links.enable_forwarding):
            log.info("op=enable-forwarding net.ipv4.ip_forward was 0, is 1: containers need it to reach out")
        await self._sandboxes.restore(dict(running))
        await self._guard.start()

    async def begin_with_plugins(self) -> None:
        """At the start, once plugins can be asked: what they gave to what is no more is returned, behind the
        scenes. Waits for none of them."""
        if self._leases or self._unfinished or any(row.asks_plugins for row in self._catalog.rows.values()):
            (await self._opened()).begin(self._sandboxes.connected)

    def users_of_driver(self, driver: str) -> Sequence[str]:
        """The ids of the networks that a plugin makes or gives addresses to, by its name."""
        return [row.id for row in self._rows if row.asks_plugins and driver in (row.driver, row.ipam_driver)]

    async def _opened(self) -> Remote:
        async with self._loading:
            if self._remote is None:
                self._remote = await in_thread(self._load)
            return self._remote

    def _load(self) -> Remote:
        from lighterman.networks.remote import Remote

        return Remote(
            self._drivers,
            self._db,
            self._kernel,
            self._builder,
            self._catalog,
            leases=self._leases,
            unfinished=self._unfinished,
        )

    # sandboxes

    def reserve(self, wish: SandboxWish) -> Sandbox:
        """Decide addresses, MACs and ports and hold them; idempotent for each id. Takes microseconds.

        Who reserved calls `disconnect` in the end, also when `connect` never came.
        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, ConnectivityFailed.
        """
        return self._sandboxes.reserve(wish)

    async def attach(self, wish: SandboxWish) -> SandboxWish:
        """`wish` with the places that the swarm gives a plain container in its networks, and plugins in
        theirs, to be reserved.

        Raises: NoSuchNetwork, InvalidParameter, and what the swarm or a plugin refuses it with; then nothing
        is held.
        """
        if self._sandboxes.get(wish.id) is not None:
            return wish
        async with rollback() as undo:
            undo.push_async_callback(self._give_back, wish.id)
            ends = tuple([await self._attached(wish, each) for each in wish.endpoints])
            if any(end.given and end.given.brought and not end.given.brought.is_led_out for end in ends):
                await self.ensure_gateway_bridge()
        return replace(wish, endpoints=ends)

    async def _attached(self, sandbox: SandboxWish, wish: EndpointWish) -> EndpointWish:
        known = self._catalog.get(wish.network)
        if known is not None and known.asks_plugins:
            key = self._sandboxes.key_of(sandbox.id)
            return await (await self._opened()).attach(sandbox, key, known, wish)
        if self.attacher is None or sandbox.managed or (known is not None and known.scope != "swarm"):
            return wish
        return await self.attacher.attach(sandbox.id, sandbox.name, wish)

    async def _give_back(self, sandbox_id: str, network_id: str = "") -> None:
        """Let the swarm and the plugins have what they gave; idempotent."""
        if self._remote is not None:
            await self._remote.give_back(sandbox_id, network_id)
        if self.attacher is not None:
            self.attacher.detach(sandbox_id, network_id)

    def check(self, wish: EndpointWish) -> None:
        """Whether its network offers all that `wish` asks for; one that is not known here may.

        Raises: InvalidParameter.
        """
        row = self._catalog.get(wish.network)
        if row is not None:
            check_wish(row, wish)

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the reserved `sandbox` in the kernel; undoes itself on failure, and `disconnect` the rest.

        Raises: System with what the kernel or nft said; ConnectivityFailed.
        """
        await self._sandboxes.connect(sandbox)
        if self._remote is not None:
            await self._remote.lead_out(None, sandbox)

    async def disconnect(self, sandbox_id: str) -> None:
        """Take the sandbox back, or only what was reserved of it; idempotent."""
        sandbox = self._sandboxes.get(sandbox_id)
        if self._remote is not None and sandbox is not None:
            await self._remote.leave(sandbox)
        await self._sandboxes.disconnect(sandbox_id)
        await self._give_back(sandbox_id)

    async def join(self, sandbox_id: str, wish: EndpointWish) -> Sandbox:
        """Plug a running container into one network more; undoes itself on failure.

        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, EndpointExists,
        AlreadyAttached, ConnectivityFailed, System.
        """
        before = self._sandboxes.get(sandbox_id)
        if before is None:
            return await self._sandboxes.join(sandbox_id, wish)
        known = self._catalog.get(wish.network)
        if known is not None and before.in_network(known.id):
            raise (AlreadyAttached if known.scope == "swarm" else EndpointExists)(before.name, known.name)
        asked = SandboxWish(before.id, before.name, ports=before.wished_ports, exposed=before.exposed)
        async with rollback() as undo:
            undo.push_async_callback(self._give_back, sandbox_id, known.id if known else wish.network)
            after = await self._sandboxes.join(sandbox_id, await self._attached(asked, wish))
            undo.push_async_callback(self._unplug, sandbox_id, after.endpoints[-1].network_id)
            after = await self._with_way_out(after)
            if self._remote is not None:
                await self._remote.lead_out(before.way_out(4), after)
        return after

    async def _with_way_out(self, sandbox: Sandbox) -> Sandbox:
        """The running sandbox, led outside by the engine's own bridge exactly if nobody else does it."""
        if needs_way_out(sandbox, self._catalog.rows):
            await self.ensure_gateway_bridge()
        return await self._sandboxes.settle_way_out(sandbox.id)

    async def leave(self, sandbox_id: str, network_id: str) -> Sandbox:
        """Unplug a running container from one network. Raises: NotConnected, System."""
        after = await self._unplug(sandbox_id, network_id)
        await self._give_back(sandbox_id, network_id)
        return after

    async def _unplug(self, sandbox_id: str, network_id: str) -> Sandbox:
        before = self._sandboxes.get(sandbox_id)
        if self._remote is not None and before is not None:
            await self._remote.leave(before, network_id)
        after = await self._with_way_out(await self._sandboxes.leave(sandbox_id, network_id))
        if self._remote is not None and before is not None:
            await self._remote.lead_out_if_it_can(before.way_out(4), after)
        return after

    async def republish(self, sandbox_id: str, wishes: tuple[PortWish, ...]) -> Sandbox:
        """Publish other ports of a running container.

        Raises: ConnectivityFailed, InvalidParameter, System.
        """
        after = await self._sandboxes.republish(sandbox_id, wishes)
        if self._remote is not None:
            await self._remote.lead_out_anew(after)
        return after

    async def rename(self, sandbox_id: str, name: str) -> None:
        """The container has another name: inspect shows it, others find it. Nothing without a sandbox."""
        await self._sandboxes.rename(sandbox_id, name)

    def in_network(self, network_id: str) -> Sequence[Sandbox]:
        """Those that are connected to this network."""
        return [each for each in self._sandboxes.connected if each.in_network(network_id)]

    def sandbox(self, id: str) -> Sandbox | None:
        """What is reserved for this container."""
        found = self._sandboxes.get(id)
        return self._remote.with_ports(found) if self._remote is not None and found is not None else found

    # networks

    def find(self, ref: str) -> NetworkRow:
        """By full id, name, or a prefix of the id. Raises NoSuchNetwork, AmbiguousNetwork."""
        return self._catalog.find(ref)

    def __contains__(self, name: str) -> bool:
        return any(row.name == name for row in self._catalog.rows.values())

    @property
    def host_gateways(self) -> Sequence[str]:
        """The addresses by which containers reach the host: those of the default bridge."""
        return self._config.host_gateways or [pool.gateway for pool in self._catalog.find(BRIDGE).pools]

    def inspect(self, ref: str) -> wire.Network:
        """For NetworkInspect."""
        return view.on_the_wire(self.find(ref), self._sandboxes.connected)

    def list(self, filters: Filters) -> list[wire.Network]:
        """For NetworkList. Raises InvalidParameter."""
        filters.check(view.FILTERS)
        return [
            view.on_the_wire(row)
            for row in self._catalog.rows.values()
            if view.is_asked_for(row, filters, used=self._sandboxes.is_used(row.id))
        ]

    async def create(self, body: wire.NetworkCreateBody) -> wire.NetworkCreateResponse:
        """Make a network. Raises what `plan_network` raises, System. Source: NetworkCreate."""
        if self._ending and (body.options or body.config_from):  # it may be for a name that is not free yet
            await asyncio.wait(self._ending)
        routed = await self._kernel.call(partial(_routed, self._kernel))
        rows = self._rows
        plan = plan_network(
            body,
            rows,
            network_id=secrets.token_hex(32),
            now_ns=time.time_ns(),
            default_options=self._config.default_options,
        )
        check_rules(plan.row, iptables=self._config.iptables, ip6tables=self._config.ip6tables)
        taken = [*routed, *(subnet for other in rows for subnet in other.subnets)]
        if plan.row.asks_plugins:
            row = await self._create_with_plugins(plan, taken)
        else:
            row = await self._create(
                with_pools(plan, rows, pools=self._config.pools, taken=taken, ula=_ula())
            )
        self._events.publish("network", "create", row.id, {"name": row.name, "type": row.driver})
        return wire.NetworkCreateResponse(row.id, warning_of(row))

    async def _create(self, row: NetworkRow) -> NetworkRow:
        if row.has_link and not links.index_of(row.link):
            row = replace(row, own_link=True)
        async with rollback() as undo:
            self._catalog.add(row)  # at once: nobody else gets the name or the subnet
            undo.callback(self._catalog.remove, row.id)
            if row.has_link:
                undo.push_async_callback(self._kernel.call, partial(self._builder.remove_network, row))
                await self._kernel.call(partial(self._builder.add_network, row))
            await self._db.write(_ROWS.put(row.id, row))
        return row

    async def _create_with_plugins(self, plan: NetworkPlan, taken: Sequence[Subnet]) -> NetworkRow:
        """The same with what plugins give and make; nobody sees the network before it is whole."""
        remote, row = await self._opened(), plan.row
        self._coming[row.id] = row
        try:
            await remote.networks.check(row)
            async with rollback() as undo:
                undo.push_async_callback(remote.networks.unmake, row.id)
                row = await self._with_pools(plan, remote, taken)
                self._coming[row.id] = row
                if row.has_link:
                    undo.push_async_callback(self._kernel.call, partial(self._builder.remove_network, row))
                    await self._kernel.call(partial(self._builder.add_network, row))
                await remote.networks.make(row)
                await self._db.write(_ROWS.put(row.id, row))
                remote.networks.made(row)
                self._catalog.add(row)
        finally:
            del self._coming[row.id]
        return row

    async def _with_pools(self, plan: NetworkPlan, remote: Remote, taken: Sequence[Subnet]) -> NetworkRow:
        if plan.row.has_remote_addresses:
            row = await remote.networks.with_pools(plan, taken)
        rows = [other for other in self._rows if other.id != plan.row.id]
        if not plan.row.has_remote_addresses:
            row = with_pools(plan, rows, pools=self._config.pools, taken=taken, ula=_ula())
        elif row.has_link:
            check_overlap(row.pools, rows)
        return replace(row, own_link=row.has_link and not links.index_of(row.link))

    @property
    def _rows(self) -> Sequence[NetworkRow]:
        """All networks, with those to come."""
        return [*self._catalog.rows.values(), *self._coming.values()]

    async def ensure_gateway_bridge(self) -> None:
        """Make the bridge by which containers of overlay networks get outside, unless it is there; users may
        have made one of their own. Raises: PoolsExhausted, System. Source: createGWNetwork of dockerd.
        """
        if GATEWAY_BRIDGE in self:
            return
        wish = {options.NAME: GATEWAY_BRIDGE}
        if self._config.iptables:
            wish |= {options.ICC: "false", options.MASQUERADE: "true"}
        await self.create(wire.NetworkCreateBody(GATEWAY_BRIDGE, driver="bridge", options=wish))

    async def remove(self, ref: str) -> None:
        """Make a network go away. Raises: NoSuchNetwork, Forbidden, System. Source: NetworkDelete."""
        row = self.find(ref)
        if row.predefined:
            raise Forbidden(f"{row.name} is a pre-defined network and cannot be removed")
        if row.scope == "swarm":
            raise Forbidden(f"network {row.name} is of the swarm: it is removed on a manager")
        remote = await self._opened() if row.asks_plugins else None
        if remote is not None:
            await remote.settle(row.id)
            row = self.find(row.id)  # with the ids that its driver has for the pools by now
        if self._sandboxes.is_used(row.id) or (remote is not None and remote.is_used(row.id)):
            raise HasEndpoints(row.name, row.id)
        if any(other.config_from == row.name for other in self._catalog.rows.values() if row.config_only):
            raise Forbidden(f'configuration network "{row.name}" is in use')
        self._catalog.remove(row.id)  # at once: nobody can get in any more
        async with rollback() as undo:
            undo.callback(self._catalog.add, row)
            gone = replace(row, unfinished=True)
            await self._db.write(_ROWS.put(row.id, gone) if remote is not None else _ROWS.delete(row.id))
        # from here on the next start would finish it
        if row.has_addresses:
            await self._kernel.call(partial(self._builder.close_network, row))
            if row.own_link:
                ending = self._kernel.slowly(partial(_end_link, row.link))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        if remote is not None:
            await remote.networks.take_back(row)
        self._events.publish("network", "destroy", row.id, {"name": row.name, "type": row.driver})

    async def prune(self, filters: Filters) -> wire.NetworkPruneResponse:
        """Remove the networks of users that nobody is in. Raises: InvalidParameter. Source: NetworkPrune."""
        filters.check(view.PRUNE_FILTERS)
        until_ns = filters.until_ns(time.time_ns())
        deleted = []
        for row in list(self._catalog.rows.values()):
            if row.predefined or row.scope == "swarm" or self._sandboxes.is_used(row.id):
                continue
            if filters.prunes(row.labels, created_ns=row.created_ns, until_ns=until_ns):
                try:
                    await self.remove(row.id)
                    deleted.append(row.name)
                except EngineError as error:  # in use by now, or a configuration of another
                    log.info("op=prune network=%s outcome=%s", row.name, error)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return wire.NetworkPruneResponse(deleted or None)

    def _tell(self, action: str, sandbox: Sandbox, row: NetworkRow) -> None:
        attributes = {"container": sandbox.id, "name": row.name, "type": row.driver}
        self._events.publish("network", action, row.id, attributes)


def _end_link(name: str, netlink: Netlink) -> None:
    """Delete the link of a network that is no more; the next start does it otherwise."""
    try:
        links.remove_links(netlink, [name])
    except OSError as error:
        log.warning("op=remove-link link=%s: %s", name, error)


def _ula() -> IPv6Network:
    """An IPv6 subnet that is nobody's. Source: RFC 4193."""
    return IPv6Network((0xFD << 120 | secrets.randbits(56) << 64, 64))


def _choose_bridge_address(
    kernel: Kernel, config: NetworkConfig, former: NetworkRow | None, kept: Sequence[NetworkRow]
) -> IPv4Interface:
    index = links.index_of(config.bridge_name)
    on_link = [
        address.interface
        for address in kernel.netlink.addresses()
        if address.index == index and isinstance(address.interface, IPv4Interface)
    ]
    taken = [*_routed(kernel), *(subnet for row in kept for subnet in row.subnets)]
    return bridge_address(config, on_link=on_link, kept=former, taken=taken)


def _routed(kernel: Kernel) -> list[Subnet]:
    """What the host has routes to, the default route not counted."""
    return [
        route.subnet
        for route in kernel.netlink.routes()
        if route.table == RT_TABLE_MAIN and route.subnet.prefixlen
    ]
