"""The room itself: the networks that there are, and the sandboxes in them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import IPv4Interface, IPv6Network
from pathlib import Path

from msgspec.structs import replace

from lighterman.apitypes import network as wire
from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError, Forbidden
from lighterman.events import Events
from lighterman.lib.effects import rollback
from lighterman.lib.filters import Filters
from lighterman.linux.netlink import RT_TABLE_MAIN, Netlink
from lighterman.networks import links, options, view
from lighterman.networks.attachment import Attacher
from lighterman.networks.builder import Builder, domain
from lighterman.networks.catalog import Catalog
from lighterman.networks.config import NetworkConfig
from lighterman.networks.create import plan_network, warning_of
from lighterman.networks.defaults import BRIDGE, bridge_address, default_rows
from lighterman.networks.errors import HasEndpoints
from lighterman.networks.firewall import Firewall
from lighterman.networks.guard import Guard
from lighterman.networks.ipam import Subnet
from lighterman.networks.kernel import Kernel
from lighterman.networks.names import Names
from lighterman.networks.overlays import Overlays
from lighterman.networks.ports import Ports, ephemeral_ports
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import EndpointWish, PortWish, Sandbox, SandboxWish
from lighterman.networks.sandboxes import GATEWAY_BRIDGE, Sandboxes

log = logging.getLogger(__name__)
_ROWS: Rows[NetworkRow] = Rows("networks", NetworkRow)


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
    ) -> None:
        self._db = db
        self._events = events
        self._config = config
        self._kernel = kernel
        self._catalog = catalog
        self._ending: set[asyncio.Future[None]] = set()
        """Links of networks that are no more, on their way out."""
        self._firewall = Firewall(kernel.nft, config.table)
        names = Names()
        veth_prefix = links.veth_prefix(config.bridge_name)
        self._builder = Builder(
            kernel,
            self._firewall,
            catalog,
            exec_root=exec_root,
            owner=config.table,
            veth_prefix=veth_prefix,
            ip_forward=config.ip_forward,
        )
        self._sandboxes = Sandboxes(
            kernel,
            self._builder,
            catalog,
            Ports(ephemeral=ephemeral_ports(), default_host_ip=config.default_host_ip),
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
    async def open(cls, *, db: Database, events: Events, exec_root: Path, config: NetworkConfig) -> Networks:
        """The room with its default networks. `reconcile` makes bridges and rules, before the first connect.

        Raises: InvalidParameter (bip), PoolsExhausted, System (no libnftables).
        """
        with domain("cannot speak to the kernel's network"):
            kernel = Kernel()
        kept = _ROWS.load(db)
        former = next((row for row in kept.values() if row.name == BRIDGE), None)
        address = await kernel.call(
            partial(_choose_bridge_address, kernel, config, former, list(kept.values()))
        )
        ids = [secrets.token_hex(32) for _ in range(3)]
        rows = default_rows(kept.values(), address, config, ids=ids, now_ns=time.time_ns(), ula=_ula())
        await db.write(*(_ROWS.put(row.id, row) for row in rows))
        kept |= {row.id: row for row in rows}
        by_age = sorted(kept.values(), key=lambda row: row.created_ns)
        return cls(db, events, exec_root, config, kernel, Catalog(by_age))

    async def close(self) -> None:
        """Let go of sockets and the thread; links, namespaces and rules stay for what goes on running."""
        self._guard.close()
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

    # sandboxes

    def reserve(self, wish: SandboxWish) -> Sandbox:
        """Decide addresses, MACs and ports and hold them; idempotent for each id. Takes microseconds.

        Who reserved calls `disconnect` in the end, also when `connect` never came.
        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, ConnectivityFailed.
        """
        return self._sandboxes.reserve(wish)

    async def attach(self, wish: SandboxWish) -> SandboxWish:
        """`wish` with the addresses that the swarm gives a plain container in its networks, to be reserved.

        Raises: NoSuchNetwork, and what the swarm refuses it with; then nothing is held.
        """
        if self.attacher is None or wish.managed:
            return wish
        try:
            ends = tuple(
                [await self._attached(self.attacher, wish.id, wish.name, each) for each in wish.endpoints]
            )
        except BaseException:
            self.attacher.detach(wish.id)
            raise
        return dataclasses.replace(wish, endpoints=ends)

    async def _attached(
        self, attacher: Attacher, sandbox_id: str, name: str, wish: EndpointWish
    ) -> EndpointWish:
        known = self._catalog.get(wish.network)
        if known is not None and known.scope != "swarm":
            return wish
        return await attacher.attach(sandbox_id, name, wish)

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the reserved `sandbox` in the kernel; undoes itself on failure.

        Raises: System with what the kernel or nft said.
        """
        await self._sandboxes.connect(sandbox)

    async def disconnect(self, sandbox_id: str) -> None:
        """Take the sandbox back, or only what was reserved of it; idempotent."""
        await self._sandboxes.disconnect(sandbox_id)
        if self.attacher is not None:
            self.attacher.detach(sandbox_id)

    async def join(self, sandbox_id: str, wish: EndpointWish) -> Sandbox:
        """Plug a running container into one network more; undoes itself on failure.

        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, EndpointExists,
        ConnectivityFailed, System.
        """
        sandbox = self._sandboxes.get(sandbox_id)
        if self.attacher is None or sandbox is None:
            return await self._sandboxes.join(sandbox_id, wish)
        wish = await self._attached(self.attacher, sandbox_id, sandbox.name, wish)
        try:
            return await self._sandboxes.join(sandbox_id, wish)
        except BaseException:
            self.attacher.detach(sandbox_id, wish.network)
            raise

    async def leave(self, sandbox_id: str, network_id: str) -> Sandbox:
        """Unplug a running container from one network. Raises: NotConnected, System."""
        after = await self._sandboxes.leave(sandbox_id, network_id)
        if self.attacher is not None:
            self.attacher.detach(sandbox_id, network_id)
        return after

    async def republish(self, sandbox_id: str, wishes: tuple[PortWish, ...]) -> Sandbox:
        """Publish other ports of a running container.

        Raises: ConnectivityFailed, InvalidParameter, System.
        """
        return await self._sandboxes.republish(sandbox_id, wishes)

    async def rename(self, sandbox_id: str, name: str) -> None:
        """The container has another name: inspect shows it, others find it. Nothing without a sandbox."""
        await self._sandboxes.rename(sandbox_id, name)

    def in_network(self, network_id: str) -> Sequence[Sandbox]:
        """Those that are connected to this network."""
        return [each for each in self._sandboxes.connected if each.in_network(network_id)]

    def sandbox(self, id: str) -> Sandbox | None:
        """What is reserved for this container."""
        return self._sandboxes.get(id)

    # networks

    def find(self, ref: str) -> NetworkRow:
        """By full id, name, or a prefix of the id. Raises NoSuchNetwork, AmbiguousNetwork."""
        return self._catalog.find(ref)

    def __contains__(self, name: str) -> bool:
        return any(row.name == name for row in self._catalog.rows.values())

    @property
    def host_gateway(self) -> str:
        """The address by which containers reach the host: that of the default bridge."""
        return self._config.host_gateway or self._catalog.find(BRIDGE).pools[0].gateway

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
        rows = list(self._catalog.rows.values())
        row = plan_network(
            body,
            rows,
            network_id=secrets.token_hex(32),
            now_ns=time.time_ns(),
            pools=self._config.pools,
            taken=[*routed, *(subnet for other in rows for subnet in other.subnets)],
            ula=_ula(),
        )
        if row.has_addresses and not links.index_of(row.link):
            row = replace(row, own_link=True)
        async with rollback() as undo:
            self._catalog.add(row)  # at once: nobody else gets the name or the subnet
            undo.callback(self._catalog.remove, row.id)
            if row.has_addresses:
                undo.push_async_callback(self._kernel.call, partial(self._builder.remove_network, row))
                await self._kernel.call(partial(self._builder.add_network, row))
            await self._db.write(_ROWS.put(row.id, row))
        self._events.publish("network", "create", row.id, {"name": row.name, "type": row.driver})
        return wire.NetworkCreateResponse(row.id, warning_of(row))

    async def ensure_gateway_bridge(self) -> None:
        """Make the bridge by which containers of overlay networks get outside, unless it is there; users may
        have made one of their own. Raises: PoolsExhausted, System. Source: createGWNetwork of dockerd.
        """
        if GATEWAY_BRIDGE in self:
            return
        wish = {options.NAME: GATEWAY_BRIDGE, options.ICC: "false", options.MASQUERADE: "true"}
        await self.create(wire.NetworkCreateBody(GATEWAY_BRIDGE, driver="bridge", options=wish))

    async def remove(self, ref: str) -> None:
        """Make a network go away. Raises: NoSuchNetwork, Forbidden, System. Source: NetworkDelete."""
        row = self.find(ref)
        if row.predefined:
            raise Forbidden(f"{row.name} is a pre-defined network and cannot be removed")
        if row.scope == "swarm":
            raise Forbidden(f"network {row.name} is of the swarm: it is removed on a manager")
        if self._sandboxes.is_used(row.id):
            raise HasEndpoints(row.name, row.id)
        if any(other.config_from == row.name for other in self._catalog.rows.values() if row.config_only):
            raise Forbidden(f'configuration network "{row.name}" is in use')
        self._catalog.remove(row.id)  # at once: nobody can get in any more
        async with rollback() as undo:
            undo.callback(self._catalog.add, row)
            await self._db.write(_ROWS.delete(row.id))
        # from here on the next start would finish it
        if row.has_addresses:
            await self._kernel.call(partial(self._builder.close_network, row))
            if row.own_link:
                ending = self._kernel.slowly(partial(_end_link, row.link))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
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
