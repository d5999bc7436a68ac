"""The room itself: networks, sandboxes and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from lighterman.apitypes import network as wire
from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError, Forbidden, System, Unimplemented
from lighterman.events import Events
from lighterman.lib.effects import in_thread, rollback
from lighterman.lib.filters import Filters
from lighterman.linux.conntrack import forget
from lighterman.linux.netlink import RT_TABLE_MAIN
from lighterman.linux.nft import NftError
from lighterman.networks import links, view
from lighterman.networks.catalog import Catalog
from lighterman.networks.config import NetworkConfig
from lighterman.networks.create import check_create
from lighterman.networks.defaults import BRIDGE, bridge_address, default_rows
from lighterman.networks.errors import ConnectivityFailed, PortFailed
from lighterman.networks.firewall import Firewall
from lighterman.networks.guard import Guard
from lighterman.networks.kernel import Kernel
from lighterman.networks.plan import (
    bridge_of,
    plan_endpoint,
    plugs_of,
    publication_of,
    rules_of,
    veth_name,
)
from lighterman.networks.ports import HeldPorts, Ports, ephemeral_ports
from lighterman.networks.records import Records
from lighterman.networks.relay import TcpRelay, UdpRelay
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import Endpoint, Sandbox, SandboxWish

log = logging.getLogger(__name__)
_ROWS: Rows[NetworkRow] = Rows("networks", NetworkRow)
_DYING_S = 2.0


@dataclass
class _Held:
    """A sandbox and what holds its ports."""

    sandbox: Sandbox
    ports: HeldPorts
    relays: list[TcpRelay | UdpRelay] = field(default_factory=list)
    begun: bool = False  # something of it may be in the kernel
    connected: bool = False


@dataclass(frozen=True)
class _Dying:
    """An address that must not be given out before the link that had it is gone."""

    network_id: str
    address: IPv4Address
    since_s: float


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
        self._pins = exec_root / "netns"
        self._pins.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records = Records(exec_root / "sandboxes")
        self._firewall = Firewall(kernel.nft, config.table)
        self._guard = Guard(kernel, self._firewall, config.table)
        self._ports = Ports(ephemeral=ephemeral_ports(), default_host_ip=config.default_host_ip)
        self._veth_prefix = links.veth_prefix(config.bridge_name)
        self._held: dict[str, _Held] = {}
        self._dying: dict[str, _Dying] = {}  # by veth
        self._reaper: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, *, db: Database, events: Events, exec_root: Path, config: NetworkConfig) -> Networks:
        """The room with its default networks. `reconcile` makes bridges and rules, before the first connect.

        Raises: InvalidParameter (bip), PoolsExhausted, System (no libnftables).
        """
        with _domain("cannot speak to the kernel's network"):
            kernel = Kernel()
        kept = _ROWS.load(db)
        former = next((row for row in kept.values() if row.name == BRIDGE), None)
        address = await kernel.call(
            partial(_choose_bridge_address, kernel, config, former, list(kept.values()))
        )
        ids = [secrets.token_hex(32) for _ in range(3)]
        rows = default_rows(kept.values(), address, config, ids=ids, now_ns=time.time_ns())
        await db.write(*(_ROWS.put(row.id, row) for row in rows))
        kept |= {row.id: row for row in rows}
        by_age = sorted(kept.values(), key=lambda row: row.created_ns)
        return cls(db, events, exec_root, config, kernel, Catalog(by_age))

    async def close(self) -> None:
        """Let go of sockets and the thread; links, namespaces and rules stay for what goes on running."""
        if self._reaper is not None:
            self._reaper.cancel()
        self._guard.close()
        for held in self._held.values():
            for relay in held.relays:
                relay.close()
            self._ports.release(held.ports)
        await self._kernel.close()

    async def reconcile(self, running: Mapping[str, int]) -> None:
        """Make the kernel what the state says: `running` is container id -> pid. Once, before any connect.

        Their sandboxes are kept and repaired, their ports held again; namespaces, links and rules of ours
        without a running container go away. Raises: System.
        """
        if self._config.ip_forward and await self._kernel.call(links.enable_forwarding):
            log.info("op=enable-forwarding net.ipv4.ip_forward was 0, is 1: containers need it to reach out")
        remembered = await self._kernel.call(self._records.load)
        for sandbox in remembered.values():
            if sandbox.id in running:
                self._adopt(sandbox)
        await self._kernel.call(partial(self._restore, dict(running), remembered, list(self._held.values())))
        for held in self._held.values():
            await self._serve(held)
        await self._guard.start()

    def reserve(self, wish: SandboxWish) -> Sandbox:
        """Decide addresses, MACs and ports and hold them; idempotent for each id. Takes microseconds.

        Who reserved calls `disconnect` in the end, also when `connect` never came.
        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, ConnectivityFailed.
        """
        known = self._held.get(wish.id)
        if known is not None:
            return known.sandbox
        self._bury_the_dead()
        rows = [self._catalog.find(endpoint.network) for endpoint in wish.endpoints]
        endpoints: list[Endpoint] = []
        try:
            for number, (row, endpoint_wish) in enumerate(zip(rows, wish.endpoints, strict=True)):
                endpoint = plan_endpoint(
                    row,
                    endpoint_wish,
                    self._catalog.spaces.get(row.id),
                    endpoint_id=secrets.token_hex(32),
                    number=number,
                    default_route=not any(endpoint.gateway for endpoint in endpoints),
                )
                endpoints.append(endpoint)
            ports = self._hold_ports(wish, endpoints)
        except BaseException:
            self._give_back(endpoints)
            raise
        on_host = any(row.driver == "host" for row in rows)
        key = "" if on_host else str(self._pins / wish.id[:12])
        sandbox = Sandbox(wish.id, wish.name, key, tuple(endpoints), tuple(ports.ports))
        self._held[wish.id] = _Held(sandbox, ports)
        return sandbox

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the reserved `sandbox` in the kernel; undoes itself on failure.

        Raises: System with what the kernel or nft said.
        """
        held = self._held[sandbox.id]
        if held.connected:
            return
        async with rollback() as undo:
            undo.push_async_callback(self.disconnect, sandbox.id)
            held.begun = True
            await self._kernel.call(partial(self._build, sandbox))
            await self._serve(held)
            held.connected = True
        self._tell("connect", sandbox)

    async def disconnect(self, sandbox_id: str) -> None:
        """Take the sandbox back, or only what was reserved of it; idempotent."""
        held = self._held.get(sandbox_id)
        if held is None:
            return
        for relay in held.relays:
            relay.close()
        if held.begun:
            await self._kernel.call(partial(self._unbuild, held.sandbox))
            await _forget_flows(held.sandbox)
        self._ports.release(held.ports)
        if self._held.pop(sandbox_id, None) is None:
            return  # another call was faster
        if held.begun:
            self._let_die(held.sandbox)
        else:
            self._give_back(held.sandbox.endpoints)
        if held.connected:
            self._tell("disconnect", held.sandbox)

    async def rename(self, sandbox_id: str, name: str) -> None:
        """The container has another name: inspect shows it. Nothing happens without a sandbox."""
        held = self._held.get(sandbox_id)
        if held is not None:
            held.sandbox = replace(held.sandbox, name=name)
            await self._kernel.call(partial(self._records.write, held.sandbox))

    def sandbox(self, id: str) -> Sandbox | None:
        """What is reserved for this container."""
        held = self._held.get(id)
        return held.sandbox if held is not None else None

    def find(self, ref: str) -> NetworkRow:
        """By full id, name, or a prefix of the id. Raises NoSuchNetwork, AmbiguousNetwork."""
        return self._catalog.find(ref)

    def inspect(self, ref: str) -> wire.Network:
        """For NetworkInspect."""
        return view.on_the_wire(self.find(ref), self._sandboxes())

    def list(self, filters: Filters) -> list[wire.Network]:
        """For NetworkList. Raises InvalidParameter."""
        filters.check(view.FILTERS)
        used = {endpoint.network_id for sandbox in self._sandboxes() for endpoint in sandbox.endpoints}
        return [
            view.on_the_wire(row)
            for row in self._catalog.rows.values()
            if view.is_asked_for(row, filters, used=row.id in used)
        ]

    async def create(self, body: wire.NetworkCreateBody) -> wire.NetworkCreateResponse:
        """For NetworkCreate. Raises what `check_create` raises, and Unimplemented for what is left."""
        check_create(body, list(self._catalog.rows.values()))
        raise Unimplemented("creating user-defined networks is not implemented yet")

    async def remove(self, ref: str) -> None:
        """For NetworkDelete."""
        row = self.find(ref)
        raise Forbidden(f"{row.name} is a pre-defined network and cannot be removed")

    async def prune(self, filters: Filters) -> wire.NetworkPruneResponse:
        """For NetworkPrune: networks of users that nobody is in, of which there are none yet."""
        filters.check(("label", "label!", "until"))
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return wire.NetworkPruneResponse(None)

    def _sandboxes(self) -> Sequence[Sandbox]:
        return [held.sandbox for held in self._held.values() if held.connected]

    def _hold_ports(self, wish: SandboxWish, endpoints: Sequence[Endpoint]) -> HeldPorts:
        endpoint = next((endpoint for endpoint in endpoints if endpoint.gateway), None)
        if endpoint is None:  # host, none, internal: nothing to publish, as dockerd has it
            return HeldPorts()
        try:
            return self._ports.hold(wish.ports)
        except PortFailed as error:
            raise ConnectivityFailed(wish.name, endpoint.id, error) from error

    def _adopt(self, sandbox: Sandbox) -> None:
        try:
            ports = self._ports.hold_again(sandbox.ports)
        except PortFailed as error:  # taken while no daemon was there; nft goes on serving the container
            log.error("op=hold-ports container=%s: %s", sandbox.id[:12], error)
            ports = HeldPorts()
        for endpoint in sandbox.endpoints:
            if endpoint.ipv4:
                try:
                    self._catalog.spaces[endpoint.network_id].take_this(IPv4Address(endpoint.ipv4))
                except EngineError as error:  # the bridge has another subnet now: --bip was changed
                    log.error("op=keep-address container=%s: %s", sandbox.id[:12], error)
        self._held[sandbox.id] = _Held(sandbox, ports, begun=True, connected=True)

    async def _serve(self, held: _Held) -> None:
        address = publication_of(held.sandbox).address
        for port, sock in held.ports.sockets:
            relay: TcpRelay | UdpRelay
            if port.proto == "udp":
                relay = UdpRelay(address, port.container_port)
            elif port.proto == "tcp":
                relay = TcpRelay(address, port.container_port)
            else:
                continue  # an SCTP socket only holds the port
            held.relays.append(relay)
            await relay.serve(sock)

    def _tell(self, action: str, sandbox: Sandbox) -> None:
        for endpoint in sandbox.endpoints:
            row = self._catalog.rows[endpoint.network_id]
            attributes = {"container": sandbox.id, "name": row.name, "type": row.driver}
            self._events.publish("network", action, row.id, attributes)

    # what runs in the kernel's thread

    def _build(self, sandbox: Sandbox) -> None:
        with _domain(f"failed to set up the network of {sandbox.name}"):
            self._records.write(sandbox)
            if sandbox.key:
                plugs = plugs_of(sandbox, self._catalog.rows, self._veth_prefix)
                links.make_sandbox(self._kernel.netlink, sandbox.key, plugs)
            self._firewall.publish(sandbox.id, publication_of(sandbox))

    def _unbuild(self, sandbox: Sandbox) -> None:
        with _domain(f"failed to take down the network of {sandbox.name}"):
            self._firewall.withdraw(sandbox.id)
            if sandbox.key:
                links.remove_sandbox(sandbox.key)
            self._records.delete(sandbox.id)

    def _restore(
        self, running: Mapping[str, int], remembered: Mapping[str, Sandbox], kept: Sequence[_Held]
    ) -> None:
        bridges, netlink = self._catalog.bridges, self._kernel.netlink
        with _domain("failed to set up bridges and rules"):
            for row in bridges:
                links.repair_bridge(netlink, bridge_of(row))
            for held in kept:
                self._repair(held.sandbox, running[held.sandbox.id])
            self._firewall.replace(
                [rules_of(row) for row in bridges],
                {held.sandbox.id: publication_of(held.sandbox) for held in kept if held.sandbox.ports},
            )
            self._firewall.warn_of_others()
            self._sweep(remembered, [held.sandbox for held in kept])

    def _sweep(self, remembered: Mapping[str, Sandbox], kept: Sequence[Sandbox]) -> None:
        """Take away what is ours and nobody's: pins, records, links."""
        keys = {sandbox.key for sandbox in kept}
        for pin in self._pins.iterdir():
            if str(pin) not in keys:
                links.remove_sandbox(str(pin))
        for sandbox_id in remembered.keys() - {sandbox.id for sandbox in kept}:
            self._records.delete(sandbox_id)
        names = {veth_name(self._veth_prefix, end) for sandbox in kept for end in sandbox.endpoints}
        bridges = [row.bridge for row in self._catalog.bridges]
        found = links.our_veths(self._kernel.netlink, self._veth_prefix, bridges)
        links.remove_links(self._kernel.netlink, found - names)

    def _repair(self, sandbox: Sandbox, pid: int) -> None:
        if not sandbox.key:
            return
        try:
            plugs = plugs_of(sandbox, self._catalog.rows, self._veth_prefix)
            links.repair_sandbox(self._kernel.netlink, sandbox.key, pid, plugs)
        except OSError as error:
            log.error("op=repair-network container=%s: %s", sandbox.id[:12], error)

    # addresses on their way back

    def _give_back(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            if endpoint.ipv4:
                self._catalog.spaces[endpoint.network_id].release(IPv4Address(endpoint.ipv4))

    def _let_die(self, sandbox: Sandbox) -> None:
        now_s = time.monotonic()
        for endpoint in sandbox.endpoints:
            if endpoint.ipv4:
                dying = _Dying(endpoint.network_id, IPv4Address(endpoint.ipv4), now_s)
                self._dying[veth_name(self._veth_prefix, endpoint)] = dying
        self._reap_later()

    def _bury_the_dead(self) -> None:
        for veth, dying in list(self._dying.items()):
            if not links.index_of(veth):
                del self._dying[veth]
                self._catalog.spaces[dying.network_id].release(dying.address)

    def _reap_later(self) -> None:
        if self._dying and self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(_DYING_S, self._reap)

    def _reap(self) -> None:
        """Delete links that should have gone with their namespace: another mount namespace holds a copy."""
        self._reaper = None
        self._bury_the_dead()
        late_s = time.monotonic() - _DYING_S
        late = [veth for veth, dying in self._dying.items() if dying.since_s <= late_s]
        if late:
            log.warning("op=reap namespaces are held by others, links are deleted: %s", ", ".join(late))
            self._kernel.call_soon(partial(links.remove_links, self._kernel.netlink, late))
        self._reap_later()


@contextmanager
def _domain(what: str) -> Iterator[None]:
    """What the kernel or nft refuse in the block becomes an error of this room."""
    try:
        yield
    except (OSError, NftError) as error:
        raise System(f"{what}: {error}") from error


async def _forget_flows(sandbox: Sandbox) -> None:
    """A UDP client that goes on sending would be led to the old address for ever."""
    address = publication_of(sandbox).address
    if not any(port.proto == "udp" for port in sandbox.ports):
        return
    try:
        await in_thread(forget, IPv4Address(address), socket.IPPROTO_UDP)
    except OSError as error:  # a kernel without nf_conntrack_netlink: flows end when their client pauses
        log.warning("op=forget-flows container=%s: %s", sandbox.id[:12], error)


def _choose_bridge_address(
    kernel: Kernel, config: NetworkConfig, former: NetworkRow | None, kept: Sequence[NetworkRow]
) -> IPv4Interface:
    index = links.index_of(config.bridge_name)
    on_link = [
        address.interface
        for address in kernel.netlink.addresses()
        if address.index == index and isinstance(address.interface, IPv4Interface)
    ]
    return bridge_address(config, on_link=on_link, kept=former, taken=_taken(kernel, kept))


def _taken(kernel: Kernel, kept: Sequence[NetworkRow]) -> list[IPv4Network]:
    routed = [
        route.subnet
        for route in kernel.netlink.routes()
        if isinstance(route.subnet, IPv4Network) and route.table == RT_TABLE_MAIN and route.subnet.prefixlen
    ]
    return routed + [IPv4Network(row.subnet) for row in kept if row.subnet]
