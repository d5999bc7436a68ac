"""What a node makes of a network that a manager tells it."""

from lighterman.networks import DataPath, Member, MeshPort, Service
from lighterman.swarm.agent.overlay import mesh_ports, picture_of, row_of
from lighterman.swarm.session import AssignedNetwork, Endpoint, NetworkPeer, NetworkService, PublishedPort

PEERS = (NetworkPeer("n1", "192.0.2.1", "10.0.0.2/24"), NetworkPeer("n2", "192.0.2.2", "10.0.0.3/24"))
ENDPOINTS = (
    Endpoint("t1", "n1", "web.1.t1", "10.0.0.5/24", "", "s1", "web", ("www",)),
    Endpoint("t2", "n2", "web.2.t2", "10.0.0.6/24", "", "s1", "web", ("www",)),
    Endpoint("t3", "n2", "web.3.t3", "10.0.0.7/24", "", "s1", "web", ("www",), healthy=False),
    Endpoint("t4", "n2", "t4", "10.0.0.8/24", "", aliases=("plain", "alias")),
)
PORTS = (PublishedPort("tcp", 80, 8080),)


def network(*, ingress: bool = False) -> AssignedNetwork:
    return AssignedNetwork(
        id="0123456789abcdef",
        name="net",
        driver="overlay",
        subnet="10.0.0.0/24",
        gateway="10.0.0.1",
        vni=4099,
        ingress=ingress,
        node_address="10.0.0.2/24",
        peers=PEERS,
        endpoints=ENDPOINTS,
        services=(NetworkService("s1", "web", "10.0.0.4/24", ("www",), PORTS if ingress else ()),),
        data_path_port=4790,
    )


def test_tunnels_lead_to_what_is_elsewhere_and_to_the_nodes_themselves() -> None:
    picture = picture_of(network(), "n1", "192.0.2.1")
    assert picture.path == DataPath("192.0.2.1", 4790)
    assert picture.hosts == dict.fromkeys(("10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.3"), "192.0.2.2")


def test_no_tunnel_leads_to_a_node_of_the_same_host() -> None:
    picture = picture_of(network(), "n1", "192.0.2.2")
    assert picture.hosts == {}


def test_only_healthy_tasks_take_part_in_balancing() -> None:
    picture = picture_of(network(), "n1", "192.0.2.1")
    assert picture.services == (Service("web", "10.0.0.4", ("www",), ("10.0.0.5", "10.0.0.6")),)


def test_tasks_are_known_by_name_and_plain_containers_by_their_aliases() -> None:
    members = picture_of(network(), "n1", "192.0.2.1").members
    assert members[0] == Member("web.1.t1", "10.0.0.5")
    assert members[3] == Member("t4", "10.0.0.8", ("plain", "alias"))


def test_the_ingress_network_has_ports_and_nodes_and_no_names() -> None:
    ingress = network(ingress=True)
    picture = picture_of(ingress, "n1", "192.0.2.1")
    assert (picture.services, picture.members) == ((), ())
    assert picture.nodes == ("10.0.0.2", "10.0.0.3")
    assert mesh_ports(ingress) == [MeshPort("tcp", 8080, 80, ("10.0.0.5", "10.0.0.6"))]


def test_the_row_says_what_inspect_shows() -> None:
    row = row_of(network(), created_ns=1)
    assert (row.scope, row.driver, row.link, row.vni) == ("swarm", "overlay", "br-0123456789ab", 4099)
    assert row.options == {
        "com.docker.network.driver.mtu": "1450",
        "com.docker.network.driver.overlay.vxlanid_list": "4099",
    }
