"""All sandboxes of this engine: what is reserved, connected, joined and left, on the side of the event loop.

One container's calls must not overlap. What is decided here is in memory at once; `Builder` makes it so.
"""

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.errdefs import EngineError
from lighterman.lib.effects import in_thread, rollback
from lighterman.linux.conntrack import forget
from lighterman.networks import links
from lighterman.networks.balancer import INGRESS_SANDBOX
from lighterman.networks.builder import Builder
from lighterman.networks.catalog import Catalog
from lighterman.networks.errors import ConnectivityFailed, EndpointExists, NotConnected, PortFailed
from lighterman.networks.kernel import Kernel
from lighterman.networks.name_server import Ears, NameServer
from lighterman.networks.names import Names
from lighterman.networks.plan import idle_way_out, needs_way_out, plan_endpoint, publication_of, veth_name
from lighterman.networks.ports import HeldPorts, Ports
from lighterman.networks.relay import TcpRelay, UdpRelay
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import (
    Endpoint,
    EndpointWish,
    PortWish,
    PublishedPort,
    Sandbox,
    SandboxWish,
)
from lighterman.networks.upstream import Doorway, Forwarder, upstreams

log = logging.getLogger(__name__)
_DYING_S = 2.0
GATEWAY_BRIDGE = "docker_gwbridge"
"""The bridge network by which containers of overlay networks reach the host and the world."""
HOST_RESOLV_CONF = Path("/etc/resolv.conf")


class _Held(Struct):
    """A sandbox and what serves it."""

    sandbox: Sandbox
    ports: HeldPorts
    relays: dict[PublishedPort, TcpRelay | UdpRelay] = field(default_factory=dict)
    names: NameServer | None = None
    begun: bool = False  # something of it may be in the kernel
    connected: bool = False
    leaving: bool = False  # its links go, and that is as it should be


class _Dying(Struct, frozen=True):
    """Addresses that must not be given out before the link that had them is gone."""

    endpoint: Endpoint
    since_s: float


class Sandboxes:
    """`tell` publishes an event: action, sandbox, the row of the network. `dns` are the servers outside of
    those who wish none."""

    def __init__(
        self,
        kernel: Kernel,
        builder: Builder,
        catalog: Catalog,
        ports: Ports,
        *,
        veth_prefix: str,
        names: Names,
        dns: tuple[str, ...],
        tell: Callable[[str, Sandbox, NetworkRow], None],
    ) -> None:
        self._kernel = kernel
        self._builder = builder
        self._catalog = catalog
        self._ports = ports
        self._veth_prefix = veth_prefix
        self._dns = dns
        self._tell = tell
        self._names = names
        self._doorway = Doorway()
        self._held: dict[str, _Held] = {}
        self._dying: dict[str, _Dying] = {}  # by veth
        self._reaper: asyncio.TimerHandle | None = None

    def get(self, sandbox_id: str) -> Sandbox | None:
        """What is reserved for this container, if anything is."""
        held = self._held.get(sandbox_id)
        return held.sandbox if held is not None else None

    @property
    def connected(self) -> Sequence[Sandbox]:
        """Those that are in the kernel."""
        return [held.sandbox for held in self._held.values() if held.connected and not held.leaving]

    @property
    def veths(self) -> set[str]:
        """The links on the host that there have to be."""
        return {
            veth_name(self._veth_prefix, endpoint)
            for sandbox in self.connected
            for endpoint in sandbox.endpoints
            if endpoint.driver == "bridge"
        }

    def key_of(self, sandbox_id: str) -> str:
        """The path of a sandbox's namespace, also of one that is not there yet."""
        return str(self._builder.pins / sandbox_id[:12])

    def is_used(self, network_id: str) -> bool:
        """Whether somebody has an endpoint there, or is about to."""
        return any(held.sandbox.in_network(network_id) for held in self._held.values())

    def reserve(self, wish: SandboxWish) -> Sandbox:
        """Decide addresses, MACs and ports and hold them; idempotent for each id. Takes microseconds.

        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, ConnectivityFailed.
        """
        known = self._held.get(wish.id)
        if known is not None:
            return known.sandbox
        self._bury_the_dead()
        rows = [self._catalog.find(endpoint.network) for endpoint in wish.endpoints]
        on_host = any(row.driver == "host" for row in rows)
        sandbox = Sandbox(
            wish.id,
            wish.name,
            "" if on_host else self.key_of(wish.id),
            wished_ports=wish.ports,
            dns=wish.dns,
            exposed=wish.exposed,
            id_map=wish.id_map,
        )
        try:
            for row, endpoint_wish in zip(rows, wish.endpoints, strict=True):
                sandbox = self._with_endpoint(sandbox, row, endpoint_wish)
            sandbox = self._with_way_out(sandbox)
            ports = self._hold_ports(sandbox)
        except BaseException:
            self._give_back(sandbox.endpoints)
            raise
        sandbox = replace(sandbox, ports=tuple(ports.ports))
        self._held[wish.id] = _Held(sandbox, ports)
        return sandbox

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the reserved `sandbox` in the kernel; undoes itself on failure. Raises: System."""
        held = self._held[sandbox.id]
        if held.connected:
            return
        async with rollback() as undo:
            undo.push_async_callback(self.disconnect, sandbox.id)
            held.begun = True
            await self._listen(held, await self._kernel.call(partial(self._builder.build, sandbox)))
            await self._relay(held)
            held.connected = True
        for endpoint in sandbox.endpoints:
            self._names.add(sandbox, endpoint)
            self._tell("connect", sandbox, self._catalog.rows[endpoint.network_id])

    async def disconnect(self, sandbox_id: str) -> None:
        """Take the sandbox back, or only what was reserved of it; idempotent."""
        held = self._held.get(sandbox_id)
        if held is None:
            return
        held.leaving = True
        self._fall_silent(held)
        if held.begun:
            await self._kernel.call(partial(self._builder.unbuild, held.sandbox))
            await _forget_flows(held.sandbox)
        self._ports.release(held.ports)
        if self._held.pop(sandbox_id, None) is None:
            return  # another call was faster
        if held.begun:
            self._let_die(held.sandbox.endpoints)
        else:
            self._give_back(held.sandbox.endpoints)
        if held.connected:
            for endpoint in held.sandbox.endpoints:
                self._tell("disconnect", held.sandbox, self._catalog.rows[endpoint.network_id])

    async def join(self, sandbox_id: str, wish: EndpointWish) -> Sandbox:
        """Plug a running container into one network more; undoes itself on failure.

        Raises: NoSuchNetwork, InvalidParameter, AddressInUse, NoFreeAddress, EndpointExists,
        ConnectivityFailed, System.
        """
        held = self._held[sandbox_id]
        row = self._catalog.find(wish.network)
        if held.sandbox.in_network(row.id):
            raise EndpointExists(held.sandbox.name, row.name)
        self._bury_the_dead()
        return await self._plug_in(held, row, self._with_endpoint(held.sandbox, row, wish))

    async def settle_way_out(self, sandbox_id: str) -> Sandbox:
        """Plug a running container into the bridge that leads outside if it needs that now, and unplug it if
        it does not any more; the bridge is there. Raises: NoFreeAddress, ConnectivityFailed, System."""
        held = self._held[sandbox_id]
        idle = idle_way_out(held.sandbox, self._catalog.rows)
        if idle is not None:
            return await self.leave(sandbox_id, idle.network_id)
        led_out = self._with_way_out(held.sandbox)
        if led_out is held.sandbox:
            return led_out
        return await self._plug_in(held, self._catalog.find(GATEWAY_BRIDGE), led_out)

    async def _plug_in(self, held: _Held, row: NetworkRow, after: Sandbox) -> Sandbox:
        """Make it the sandbox `after`, which has one endpoint more; undoes itself on failure."""
        before, endpoint = held.sandbox, after.endpoints[-1]
        async with rollback() as undo:
            undo.callback(self._let_die, [endpoint])
            undo.push_async_callback(self._back_to, held, before, endpoint)
            held.sandbox = after = self._with_ports(held, after)
            ears = await self._kernel.call(partial(self._builder.join, before, after, endpoint))
            await self._listen(held, ears)
            await self._relay(held)
        self._names.add(after, endpoint)
        self._tell("connect", after, row)
        return after

    async def _back_to(self, held: _Held, before: Sandbox, endpoint: Endpoint) -> None:
        """Take back what was done of the `endpoint` that `before` did not have."""
        after, held.sandbox = held.sandbox, self._with_ports(held, before)
        self._be_silent_if_alone(held)
        await self._kernel.call(partial(self._builder.leave, after, before, endpoint))
        await self._relay(held)

    async def leave(self, sandbox_id: str, network_id: str) -> Sandbox:
        """Unplug a running container from one network. Raises: NotConnected, System."""
        held = self._held[sandbox_id]
        before = held.sandbox
        endpoint = before.in_network(network_id)
        row = self._catalog.rows[network_id]
        if endpoint is None:
            raise NotConnected(sandbox_id, row.name)
        self._names.remove(before, endpoint)
        rest = tuple(each for each in before.endpoints if each is not endpoint)
        held.sandbox = after = self._with_ports(held, replace(before, endpoints=rest))
        self._be_silent_if_alone(held)
        self._let_die([endpoint])
        await self._kernel.call(partial(self._builder.leave, before, after, endpoint))
        await self._relay(held)
        self._tell("disconnect", before, row)
        return after

    async def republish(self, sandbox_id: str, wishes: tuple[PortWish, ...]) -> Sandbox:
        """Publish other ports of a running container.

        Raises: ConnectivityFailed, InvalidParameter, System.
        """
        held = self._held[sandbox_id]
        former = held.ports
        self._stop_relays(held)
        self._ports.release(former)
        sandbox = replace(held.sandbox, wished_ports=wishes)
        try:
            held.ports = self._hold_ports(sandbox)
        except BaseException:
            held.ports = self._ports.hold_again(held.sandbox.ports)
            await self._relay(held)
            raise
        held.sandbox = replace(sandbox, ports=tuple(held.ports.ports))
        await self._kernel.call(partial(self._builder.republish, held.sandbox))
        await self._relay(held)
        return held.sandbox

    async def republish_what_can_be(self, sandbox_id: str, wishes: Collection[PortWish]) -> list[PortFailed]:
        """Publish exactly those of `wishes` that can be had, and tell why the others cannot; what stays the
        same is not touched.

        Raises: System.
        """
        held, failed = self._held[sandbox_id], []
        wanted = {(wish.proto, wish.host_port_first) for wish in wishes}
        for port in held.ports.ports:
            if (port.proto, port.host_port) not in wanted and port in held.relays:
                held.relays.pop(port).close()
        self._ports.keep_only(held.ports, wanted)
        have = {(port.proto, port.host_port) for port in held.ports.ports}
        for wish in wishes:
            if (wish.proto, wish.host_port_first) not in have:
                try:
                    held.ports.take_over(self._ports.hold([wish]))
                except PortFailed as error:
                    failed.append(error)
        held.sandbox = replace(held.sandbox, wished_ports=tuple(wishes), ports=tuple(held.ports.ports))
        await self._kernel.call(partial(self._builder.republish, held.sandbox))
        await self._relay(held)
        return failed

    async def rename(self, sandbox_id: str, name: str) -> None:
        """The container has another name: inspect shows it, others find it. Nothing without a sandbox."""
        held = self._held.get(sandbox_id)
        if held is None:
            return
        before, after = held.sandbox, replace(held.sandbox, name=name)
        held.sandbox = after
        for endpoint in before.endpoints:
            self._names.remove(before, endpoint)
            self._names.add(after, endpoint)
        await self._kernel.call(partial(self._builder.records.write, after))

    async def restore(self, running: Mapping[str, int]) -> None:
        """Keep the sandboxes of `running` (container id -> pid), repaired; the others go. Raises: System."""
        remembered = await self._kernel.call(self._builder.records.load)
        entrance = remembered.get(INGRESS_SANDBOX)
        if entrance is not None and self._builder.is_pinned(entrance):
            running = {**running, INGRESS_SANDBOX: 0}  # it has no process: its namespace is all of it
        for sandbox in remembered.values():
            if sandbox.id in running:
                self._adopt(sandbox)
        ears = await self._kernel.call(partial(self._builder.restore, remembered, running))
        for held in self._held.values():
            await self._listen(held, ears.get(held.sandbox.id))
            await self._relay(held)
            for endpoint in held.sandbox.endpoints:
                self._names.add(held.sandbox, endpoint)

    def close(self) -> None:
        """Let go of sockets; links, namespaces and rules stay for what goes on running."""
        if self._reaper is not None:
            self._reaper.cancel()
        for held in self._held.values():
            self._fall_silent(held)
            self._ports.release(held.ports)
        self._doorway.close()

    def _adopt(self, sandbox: Sandbox) -> None:
        try:
            ports = self._ports.hold_again(sandbox.ports)
        except PortFailed as error:  # taken while no daemon was there; nft goes on serving the container
            log.error("op=hold-ports container=%s: %s", sandbox.id[:12], error)
            ports = HeldPorts()
        for endpoint in sandbox.endpoints:
            for address in endpoint.addresses:
                try:
                    self._catalog.addresses[endpoint.network_id].take_this(address)
                except EngineError as error:  # the bridge has another subnet now: --bip was changed
                    log.error("op=keep-address container=%s: %s", sandbox.id[:12], error)
        self._held[sandbox.id] = _Held(sandbox, ports, begun=True, connected=True)

    def _with_endpoint(self, sandbox: Sandbox, row: NetworkRow, wish: EndpointWish) -> Sandbox:
        """The sandbox with an endpoint more; its addresses are taken."""
        self._hand_over(row.id, {wish.ipv4, wish.ipv6} - {""})
        endpoint = plan_endpoint(
            row,
            wish,
            self._catalog.addresses.get(row.id),
            endpoint_id=secrets.token_hex(32),
            taken_interfaces=[each.interface for each in sandbox.endpoints],
        )
        return replace(sandbox, endpoints=(*sandbox.endpoints, endpoint))

    def _with_way_out(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox with an endpoint that leads outside, where it needs one that nobody has wished."""
        if not needs_way_out(sandbox, self._catalog.rows):
            return sandbox
        bridge = self._catalog.find(GATEWAY_BRIDGE)
        with_it = self._with_endpoint(sandbox, bridge, EndpointWish(bridge.id))
        *others, last = with_it.endpoints
        return replace(with_it, endpoints=(*others, replace(last, hidden=True, has_names=False)))

    # ports and names

    def _hold_ports(self, sandbox: Sandbox) -> HeldPorts:
        way_out = sandbox.way_out(4)
        if way_out is None or way_out.driver != "bridge":
            return HeldPorts()  # host, none, internal, macvlan: nothing to publish, as dockerd has it
        try:
            return self._ports.hold(sandbox.wished_ports, host_ip=way_out.host_ip)
        except PortFailed as error:
            raise ConnectivityFailed(sandbox.name, way_out.id, error) from error

    def _with_ports(self, held: _Held, after: Sandbox) -> Sandbox:
        """`after` with the ports that its endpoints can publish; they are held or let go as it needs."""
        leads_out = bool(publication_of(after).ipv4)
        if leads_out and not held.ports.ports:
            held.ports = self._hold_ports(after)
        elif not leads_out:
            self._stop_relays(held)
            self._ports.release(held.ports)
        return replace(after, ports=tuple(held.ports.ports))

    async def _relay(self, held: _Held) -> None:
        """Serve what arrives at the sockets of the ports."""
        publication = publication_of(held.sandbox)
        address = publication.ipv4 or publication.ipv6
        for port, sock in held.ports.sockets:
            if port in held.relays:
                held.relays[port].lead_to(address)
            elif port.proto != "sctp":  # an SCTP socket only holds the port
                relay = (UdpRelay if port.proto == "udp" else TcpRelay)(address, port.container_port)
                held.relays[port] = relay
                await relay.serve(sock)

    def _stop_relays(self, held: _Held) -> None:
        for relay in held.relays.values():
            relay.close()
        held.relays = {}

    async def _listen(self, held: _Held, ears: Ears | None) -> None:
        """Answer questions for names in the sandbox."""
        if ears is None:
            return
        servers = upstreams(held.sandbox.dns or self._dns, _host_resolv_conf())
        forwarder = Forwarder(self._doorway, held.sandbox.key, servers)
        held.names = NameServer(ears, self._names, lambda: held.sandbox, forwarder)
        await held.names.start()

    def _be_silent_if_alone(self, held: _Held) -> None:
        """Close the name server of a sandbox that is in no network with names any more."""
        if held.names is not None and not held.sandbox.has_names:
            held.names.close()
            held.names = None

    def _fall_silent(self, held: _Held) -> None:
        self._stop_relays(held)
        for endpoint in held.sandbox.endpoints:
            self._names.remove(held.sandbox, endpoint)
        if held.names is not None:
            held.names.close()
            held.names = None

    # addresses on their way back

    def _give_back(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            for address in endpoint.addresses:
                self._catalog.addresses[endpoint.network_id].release(address)

    def _let_die(self, endpoints: Iterable[Endpoint]) -> None:
        now_s = time.monotonic()
        for endpoint in endpoints:
            if endpoint.addresses and endpoint.driver == "bridge":
                self._dying[veth_name(self._veth_prefix, endpoint)] = _Dying(endpoint, now_s)
            else:
                self._give_back([endpoint])
        self._reap_later()

    def _bury_the_dead(self) -> None:
        for veth, dying in list(self._dying.items()):
            if not links.index_of(veth):
                del self._dying[veth]
                if dying.endpoint.network_id in self._catalog.addresses:
                    self._give_back([dying.endpoint])

    def _hand_over(self, network_id: str, addresses: set[str]) -> None:
        """Let go of addresses that are wished by name though their last link is not gone yet: it is the same
        container that starts again, or somebody who has waited for its end."""
        for veth, dying in list(self._dying.items()):
            end = dying.endpoint
            if end.network_id == network_id and addresses & {end.ipv4, end.ipv6}:
                self._give_back([end])
                self._dying[veth] = replace(dying, endpoint=replace(end, ipv4="", ipv6=""))

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
            self._kernel.call_soon(partial(self._builder.delete_links, late))
        self._reap_later()


def _host_resolv_conf() -> str:
    return HOST_RESOLV_CONF.read_text() if HOST_RESOLV_CONF.exists() else ""


async def _forget_flows(sandbox: Sandbox) -> None:
    """A UDP client that goes on sending would be led to the old address for ever."""
    address = publication_of(sandbox).ipv4
    if not address or not any(port.proto == "udp" for port in sandbox.ports):
        return
    try:
        await in_thread(forget, [IPv4Address(address)], socket.IPPROTO_UDP)
    except OSError as error:  # a kernel without nf_conntrack_netlink: flows end when their client pauses
        log.warning("op=forget-flows container=%s: %s", sandbox.id[:12], error)
