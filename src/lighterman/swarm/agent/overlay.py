"""From what a manager tells of an overlay network to what this node's networks want to know. Pure."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_interface

from lighterman.networks import DataPath, Member, MeshPort, NetworkRow, Picture, Pool, Service
from lighterman.swarm.session import AssignedNetwork, Endpoint

_MTU = "com.docker.network.driver.mtu"
_VNI = "com.docker.network.driver.overlay.vxlanid_list"


def row_of(network: AssignedNetwork, *, created_ns: int) -> NetworkRow:
    """The network as this node remembers it."""
    pools = [Pool(network.subnet, network.gateway, gateway_wished=True, wished=True)]
    return NetworkRow(
        id=network.id,
        name=network.name,
        driver="overlay",
        created_ns=created_ns,
        link=f"br-{network.id[:12]}",
        pools=tuple(pools),
        internal=network.internal,
        attachable=network.attachable,
        options={**network.options, _MTU: str(network.mtu), _VNI: str(network.vni)},
        labels=dict(network.labels),
        scope="swarm",
        ingress=network.ingress,
        vni=network.vni,
    )


def picture_of(network: AssignedNetwork, node_id: str, data_path: str) -> Picture:
    """Who is where in it and what they are called, seen from the node of this id and data path address.

    No tunnel leads to a node that has the same address: it is on this very host.
    """
    away = {
        peer.node_id: peer.addr
        for peer in network.peers
        if peer.node_id != node_id and peer.addr != data_path
    }
    hosts = {_bare(end.address): away[end.node_id] for end in network.endpoints if end.node_id in away}
    hosts |= {
        _bare(peer.node_address): peer.addr
        for peer in network.peers
        if peer.node_id in away and peer.node_address
    }
    nodes = {network.node_address, *(peer.node_address for peer in network.peers)} - {""}
    return Picture(
        path=DataPath(data_path, network.data_path_port),
        hosts=hosts,
        services=tuple(
            Service(
                each.name,
                _bare(each.vip),
                tuple(each.aliases),
                tuple(_serving(network.endpoints, each.service_id)),
            )
            for each in network.services
        )
        if not network.ingress
        else (),
        members=tuple(map(_member, network.endpoints)) if not network.ingress else (),
        nodes=tuple(sorted(map(_bare, nodes))) if network.ingress else (),
    )


def mesh_ports(network: AssignedNetwork) -> list[MeshPort]:
    """The ports that the routing mesh answers on, by the ingress network."""
    return [
        MeshPort(
            port.protocol or "tcp",
            port.published_port,
            port.target_port,
            tuple(_serving(network.endpoints, service.service_id)),
        )
        for service in network.services
        for port in service.ports
        if port.published_port
    ]


def _serving(endpoints: Iterable[Endpoint], service_id: str) -> Iterator[str]:
    for end in endpoints:
        if end.service_id == service_id and end.healthy:
            yield _bare(end.address)


def _member(end: Endpoint) -> Member:
    """A task by its container's name, a plain container by all its names; services have their own."""
    return Member(end.name, _bare(end.address), () if end.service_id else tuple(end.aliases))


def _bare(address: str) -> str:
    return str(ip_interface(address).ip) if address else ""
