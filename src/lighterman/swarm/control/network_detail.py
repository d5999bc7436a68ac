"""Who is in a network of the swarm, on all nodes: what a manager adds to NetworkInspect.

Source: buildNetworkResource and buildDetailedNetworkResources of moby, daemon/network.go; dockerd knows it
where the network is used, here every manager does, and no other node.
"""

from msgspec.structs import replace

from lighterman.apitypes import network as wire
from lighterman.swarm.node.assign import Networks
from lighterman.swarm.session import AssignedNetwork, Endpoint, NetworkPeer
from lighterman.swarm.state import State

_NODE_ID_SHOWN = 12
NO_VIP = "<nil>"
"""As Go writes an address that is none."""


def detailed(state: State, network: wire.Network, *, verbose: bool) -> wire.Network:
    """The network with the nodes that take part in it, and if `verbose` with its services."""
    known = Networks(state).seen_from("", network.id)
    if known is None:
        return network
    peers = [wire.PeerInfo(_peer_name(state, peer), peer.addr) for peer in known.peers]
    return replace(network, peers=peers, services=_services(known) if verbose else {})


def _peer_name(state: State, peer: NetworkPeer) -> str:
    """The host's name, and what tells hosts of one name apart."""
    status = state.node_statuses.get(peer.node_id)
    name = status.description.hostname if status is not None else ""
    return f"{name}-{peer.node_id[:_NODE_ID_SHOWN]}"


def _services(network: AssignedNetwork) -> dict[str, wire.NetworkServiceInfo]:
    """By name, those that have tasks in there; plain containers are under ""."""
    hosts = {peer.node_id: peer.addr for peer in network.peers}
    told = {service.service_id: service for service in network.services}
    made = dict[str, wire.NetworkServiceInfo]()
    for end in network.endpoints:
        if end.service_name not in made:
            service = told.get(end.service_id)
            made[end.service_name] = wire.NetworkServiceInfo(
                vip=_bare(service.vip) if service is not None and service.vip else NO_VIP,
                ports=[
                    f"Target: {port.target_port}, Publish: {port.published_port}"
                    for port in (service.ports if service is not None else ())
                ],
                local_lb_index=0,
                tasks=[],
            )
        made[end.service_name].tasks.append(_task(end, hosts.get(end.node_id, "")))
    return made


def _task(end: Endpoint, host: str) -> wire.NetworkTask:
    """An end; the task has an id for it that all nodes know."""
    name = end.aliases[0] if not end.service_id and end.aliases else end.name
    return wire.NetworkTask(name, end.task_id, _bare(end.address), {"Host IP": host})


def _bare(address: str) -> str:
    return address.partition("/")[0]
