"""Numbers that belong to one only: subnets, tunnels' ids, addresses, ports of the routing mesh.

What is taken follows from the state, so nothing has to be given back: an address is free when who had it is
gone. A free one is looked for behind the one given last, so that a neighbour's tables do not still know it as
somebody else. Source of the ranges: SwarmKit, manager/allocator.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import chain

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.apitypes.service import Endpoint, EndpointSpec, EndpointVirtualIP, IPAMConfig, PortConfig
from lighterman.swarm.orchestrate.round import PENDING, Round, template_for
from lighterman.swarm.state import (
    Attached,
    Kind,
    Network,
    NetworkStatus,
    NodeAddresses,
    Service,
    ServiceStatus,
    State,
    Task,
    TaskState,
    Template,
)

FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1
OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"
DYNAMIC_PORTS = range(30000, 32768)
VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
PREDEFINED = frozenset({"host", "bridge", "none"})
"""Networks that every node has; tasks are in them without an address of the swarm."""


class Exhausted(Exception):
    """Nothing is left of what was asked for; the text says of what."""


class Cursor(Struct):
    """The address given last in each network. Only a hint: losing it does no harm."""

    last: dict[str, int] = field(default_factory=dict)


# Networks


def allocate_network(round: Round, network: Network) -> None:
    """Give a network its subnet, gateway and tunnel id; with a reason when there are none left."""
    before = round.state.network_statuses.get(network.id)
    if before is not None and not before.error:
        return
    driver = network.spec.driver_configuration
    if driver is not None and driver.name not in ("", "overlay"):
        status = NetworkStatus(id=network.id, created_ns=round.now_ns)  # its driver's own affair on each node
    else:
        try:
            status = NetworkStatus(
                id=network.id,
                created_ns=round.now_ns,
                ipam=_subnets(round.state, network),
                vni=_vni(round.state, network),
            )
        except Exhausted as error:
            status = NetworkStatus(id=network.id, created_ns=round.now_ns, error=str(error))
    if before is None or before.error != status.error:
        round.draft.put(Kind.NETWORK_STATUS, status)


def _subnets(state: State, network: Network) -> tuple[IPAMConfig, ...]:
    wishes = network.spec.ipam_options.configs if network.spec.ipam_options else []
    made = []
    for wish in wishes or [IPAMConfig()]:
        if overlaps(state, wish.subnet, but=network.id):
            raise Exhausted(OVERLAP)
        subnet = ip_network(wish.subnet, strict=False) if wish.subnet else _free_subnet(state)
        gateway = wish.gateway or str(_first(subnet, wish.range))
        made.append(IPAMConfig(subnet=str(subnet), range=wish.range, gateway=gateway))
    return tuple(made)


def overlaps(state: State, subnet: str, *, but: str = "") -> bool:
    """Whether another network of the swarm has some of these addresses; "" has none."""
    if not subnet:
        return False
    wished = ip_network(subnet, strict=False)
    return any(
        wished.version == other.version and wished.overlaps(other)
        for status in state.network_statuses.values()
        if status.id != but
        for other in (ip_network(pool.subnet) for pool in status.ipam)
    )


def _first(subnet: IPv4Network | IPv6Network, range: str) -> IPv4Address | IPv6Address:
    """The first address of a range, or of the subnet: the gateway's, unless another is wished."""
    first = ip_network(range, strict=False).network_address if range else subnet.network_address
    return first + 1 if first == subnet.network_address else first


def _free_subnet(state: State) -> IPv4Network | IPv6Network:
    cluster = state.cluster
    assert cluster is not None
    taken = [ip_network(each.subnet) for status in state.network_statuses.values() for each in status.ipam]
    for pool in cluster.default_addr_pool:
        for subnet in _subnets_of(ip_network(pool), cluster.subnet_size):
            if not any(subnet.version == other.version and subnet.overlaps(other) for other in taken):
                return subnet
    raise Exhausted("could not find an available, non-overlapping IPv4 address pool among the defaults")


def _subnets_of(pool: IPv4Network | IPv6Network, size: int) -> Iterable[IPv4Network | IPv6Network]:
    return pool.subnets(new_prefix=size) if pool.prefixlen <= size else (pool,)


def _vni(state: State, network: Network) -> int:
    driver = network.spec.driver_configuration
    wish = driver.options.get(VNI_OPTION, "") if driver else ""
    taken = {status.vni for status in state.network_statuses.values() if status.id != network.id}
    if wish and int(wish) in taken:
        raise Exhausted(f"VXLAN network {wish} is another network's")
    if wish:
        return int(wish)
    return next(vni for vni in range(FIRST_VNI, LAST_VNI) if vni not in taken)


# Addresses


def free_address(state: State, cursor: Cursor, network_id: str, wish: str = "") -> str:
    """An address of the network, with prefix length. Raises Exhausted."""
    status = state.network_statuses.get(network_id)
    if status is None or not status.ipam:
        raise Exhausted(status.error if status and status.error else f"network {network_id} is not allocated")
    gateways = {pool.gateway for pool in status.ipam}
    for pool in status.ipam:
        subnet = ip_network(pool.subnet)
        for number in _candidates(pool, cursor.last.get(network_id, 0), wish):
            address = str(ip_address(number))
            if address not in gateways and not state.address_is_taken(network_id, address):
                if not wish:
                    cursor.last[network_id] = number
                return f"{address}/{subnet.prefixlen}"
    raise Exhausted("Address already in use" if wish else "could not find an available IP")


def _candidates(pool: IPAMConfig, last: int, wish: str) -> Iterable[int]:
    """Which addresses of a pool come into question, in the order of preference."""
    subnet = ip_network(pool.subnet)
    if wish:
        try:
            return (int(ip_address(wish)),) if ip_address(wish) in subnet else ()
        except ValueError:
            raise Exhausted(f"invalid address {wish}") from None
    within = ip_network(pool.range, strict=False) if pool.range else subnet
    lowest = max(int(within.network_address), int(subnet.network_address) + 1)
    highest = min(int(within.broadcast_address), int(subnet.broadcast_address) - 1)
    start = last + 1 if lowest <= last < highest else lowest
    return chain(range(start, highest + 1), range(lowest, start))


def ingress_network(state: State) -> Network | None:
    """The network of the routing mesh; it may have been removed."""
    return next((network for network in state.networks.values() if network.spec.ingress), None)


def needs_ingress(endpoint: EndpointSpec | None) -> bool:
    """Whether ports are published in the routing mesh."""
    return (
        endpoint is not None
        and endpoint.mode != "dnsrr"
        and any(port.publish_mode == "ingress" for port in endpoint.ports)
    )


def networks_of(state: State, template: Template) -> dict[str, tuple[str, ...]]:
    """The networks of the swarm that tasks of a template are in, with their aliases; ingress comes first."""
    found: dict[str, tuple[str, ...]] = {}
    ingress = ingress_network(state)
    if ingress is not None and needs_ingress(template.endpoint):
        found[ingress.id] = ()
    for wish in template.spec.networks:
        found[wish.target] = tuple(wish.aliases)
    return found


def allocate_task(round: Round, cursor: Cursor, task: Task) -> None:
    """Give a new task its addresses; it is pending then. What is missing is its error until it is there."""
    state = round.state
    status = state.service_statuses.get(task.service_id)
    if task.service_id and (status is None or status.endpoint is None):
        _wait(round, task, status.endpoint_error if status else "")
        return
    wish = next(iter(task.addresses_wanted), "")
    try:
        attached = tuple(
            Attached(
                network_id=network_id,
                addresses=(free_address(state, cursor, network_id, wish),)
                if _has_addresses(state, network_id)
                else (),
                aliases=aliases,
            )
            for network_id, aliases in networks_of(state, state.templates[task.template_id]).items()
        )
    except Exhausted as error:
        _wait(round, task, str(error))
        return
    round.put_task(
        replace(
            task,
            attached=attached,
            state=TaskState.PENDING,
            state_ns=round.now_ns,
            message=PENDING,
            error="",
        )
    )


def _wait(round: Round, task: Task, reason: str) -> None:
    if task.error != reason:
        round.put_task(replace(task, error=reason))


def _has_addresses(state: State, network_id: str) -> bool:
    """Whether addresses of a network are the swarm's to give. Raises Exhausted: there is no such network."""
    if network_id in PREDEFINED:
        return False
    network = state.networks.get(network_id)
    if network is None:
        raise Exhausted(f"network {network_id} not found")
    driver = network.spec.driver_configuration
    return driver is None or driver.name in ("", "overlay")


# Services


def allocate_service(round: Round, cursor: Cursor, service: Service) -> None:
    """Give a service its virtual addresses and its ports, keeping those it has."""
    state = round.state
    before = state.service_statuses.get(service.id) or ServiceStatus(id=service.id, created_ns=round.now_ns)
    wish = service.spec.endpoint_spec
    had = before.endpoint or Endpoint()
    try:
        endpoint = Endpoint(
            spec=wish or EndpointSpec(),
            ports=_ports(state, service.id, wish, had.ports),
            virtual_ips=_virtual_ips(state, cursor, service, had.virtual_ips),
        )
        after = replace(before, endpoint=endpoint, endpoint_error="")
    except Exhausted as error:
        after = replace(before, endpoint_error=str(error))
    if after != before:
        round.draft.put(Kind.SERVICE_STATUS, replace(after, updated_ns=round.now_ns))


def _virtual_ips(
    state: State, cursor: Cursor, service: Service, had: list[EndpointVirtualIP]
) -> list[EndpointVirtualIP]:
    """One address in each network; with endpoint mode dnsrr there are none."""
    wish = service.spec.endpoint_spec
    if wish is not None and wish.mode == "dnsrr":
        return []
    kept = {vip.network_id: vip for vip in had}
    return [
        kept.get(network_id)
        or EndpointVirtualIP(network_id=network_id, addr=free_address(state, cursor, network_id))
        for network_id in networks_of(state, template_for(state, service))
        if _has_addresses(state, network_id)
    ]


def _ports(
    state: State, service_id: str, wish: EndpointSpec | None, had: list[PortConfig]
) -> list[PortConfig]:
    """The ports as published: those that the swarm chooses stay what they were."""
    if wish is None:
        return []
    chosen = {
        (port.name, port.protocol, port.target_port): port
        for port in had
        if port.publish_mode == "ingress" and port.published_port in DYNAMIC_PORTS
    }
    taken: set[tuple[str, int]] = {
        (port.protocol, port.published_port) for port in wish.ports if port.published_port
    }
    ports = []
    for port in wish.ports:
        if port.publish_mode == "ingress":
            kept = chosen.pop((port.name, port.protocol, port.target_port), None)
            if not port.published_port:
                number = kept.published_port if kept else _free_port(state, port.protocol, taken)
                port = replace(port, published_port=number)
            owner = state.publisher(port.protocol, port.published_port)
            if owner not in (None, service_id):
                raise Exhausted(f"port {port.published_port} is already allocated")
            taken.add((port.protocol, port.published_port))
        ports.append(port)
    return ports


def _free_port(state: State, protocol: str, taken: set[tuple[str, int]]) -> int:
    for number in DYNAMIC_PORTS:
        if state.publisher(protocol, number) is None and (protocol, number) not in taken:
            return number
    raise Exhausted("no free port is left in the range 30000-32767")


# Nodes


def allocate_node(round: Round, cursor: Cursor, node_id: str) -> None:
    """Give a node an address of its own in the ingress network and in each overlay network of its tasks."""
    state = round.state
    had = state.node_addresses.get(node_id)
    before = had.addresses if had else {}
    if node_id not in state.nodes:
        if had:
            round.draft.delete(Kind.NODE_ADDRESSES, node_id)
        return
    wanted = {network.id for network in state.networks.values() if network.spec.ingress}
    for task in state.tasks_of_node(node_id):
        if TaskState.ASSIGNED <= state.seen(task).state <= TaskState.RUNNING:
            wanted.update(place.network_id for place in task.attached if place.addresses)
    after = {network_id: before[network_id] for network_id in sorted(wanted & before.keys())}
    for network_id in sorted(wanted - before.keys()):
        try:
            after[network_id] = free_address(state, cursor, network_id)
        except Exhausted:
            continue  # its tasks say so
    if after != before:
        round.draft.put(
            Kind.NODE_ADDRESSES, NodeAddresses(id=node_id, updated_ns=round.now_ns, addresses=after)
        )
