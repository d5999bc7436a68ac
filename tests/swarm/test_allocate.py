"""Subnets, addresses and ports: each belongs to one only, and is free when its owner is gone."""

from msgspec.structs import replace
from tests.swarm.world import World, spec

from lighterman.apitypes.service import (
    Driver,
    EndpointSpec,
    IPAMConfig,
    IPAMOptions,
    NetworkSpec,
    PortConfig,
    RestartPolicy,
)
from lighterman.swarm.state import Kind, Network, TaskState


def published(world: World, service: str = "web") -> list[int]:
    endpoint = world.state.service_statuses[service].endpoint
    assert endpoint is not None
    return [port.published_port for port in endpoint.ports]


def vips(world: World, service: str = "web") -> list[str]:
    endpoint = world.state.service_statuses[service].endpoint
    assert endpoint is not None
    return [vip.addr for vip in endpoint.virtual_ips]


def addresses(world: World, service: str = "web") -> list[str]:
    return [
        address for task in world.running(service) for place in task.attached for address in place.addresses
    ]


def port(number: int = 0, *, target: int = 80, mode: str = "ingress") -> EndpointSpec:
    return EndpointSpec(ports=[PortConfig(target_port=target, published_port=number, publish_mode=mode)])


def test_networks_get_subnets_that_do_not_overlap_and_numbers_of_their_own() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.network(name)
    world.think()
    statuses = world.state.network_statuses
    assert [statuses[f"net-{name}"].ipam[0].subnet for name in "abc"] == [
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.0.2.0/24",
    ]
    assert statuses["net-a"].ipam[0].gateway == "10.0.0.1"
    assert sorted(status.vni for status in statuses.values()) == [4096, 4097, 4098]


def test_a_subnet_is_given_again_when_its_network_is_gone() -> None:
    world = World()
    world.network("a")
    world.network("b")
    world.think()
    world.put(Kind.NETWORK, None, "net-a")
    world.network("c")
    world.think()
    assert world.state.network_statuses["net-c"].ipam[0].subnet == "10.0.0.0/24"
    assert "net-a" not in world.state.network_statuses


def test_a_wished_subnet_is_kept_clear_of() -> None:
    world = World()
    wish = IPAMOptions(configs=[IPAMConfig(subnet="10.0.0.0/16", gateway="10.0.9.9")])
    world.put(Kind.NETWORK, Network(id="wide", spec=NetworkSpec(name="wide", ipam_options=wish)))
    world.think()
    world.network("next")
    world.think()
    assert world.state.network_statuses["wide"].ipam[0].gateway == "10.0.9.9"
    assert world.state.network_statuses["net-next"].ipam[0].subnet == "10.1.0.0/24"


def test_a_network_without_a_subnet_says_why_and_gets_one_later() -> None:
    world = World()
    cluster = world.state.cluster
    assert cluster is not None
    world.put(Kind.CLUSTER, replace(cluster, default_addr_pool=("10.7.0.0/24",)))
    world.network("a")
    world.network("b")
    world.think()
    assert "could not find an available" in world.state.network_statuses["net-b"].error
    world.create(spec(networks=["net-b"]))
    world.settle()
    assert not world.running("web")
    world.put(Kind.CLUSTER, replace(cluster, default_addr_pool=("10.7.0.0/24", "10.8.0.0/24")))
    world.settle()
    assert vips(world) == ["10.8.0.2/24"]
    assert len(world.running("web")) == 1


def test_a_service_has_an_address_in_each_network_and_so_has_each_task() -> None:
    world = World()
    for name in ("a", "b"):
        world.network(name)
    world.create(spec(replicas=2, networks=["net-a", "net-b"]))
    world.settle()
    assert vips(world) == ["10.0.0.2/24", "10.0.1.2/24"]
    assert addresses(world) == ["10.0.0.3/24", "10.0.1.3/24", "10.0.0.4/24", "10.0.1.4/24"]


def test_with_dnsrr_there_is_no_virtual_address() -> None:
    world = World()
    world.network("a")
    world.create(spec(networks=["net-a"], endpoint_spec=EndpointSpec(mode="dnsrr")))
    world.settle()
    assert vips(world) == []
    assert len(addresses(world)) == 1


def test_no_address_is_given_twice_and_a_freed_one_only_after_the_others() -> None:
    world = World()
    world.network("a")
    wish = spec(replicas=3, networks=["net-a"], restart_policy=RestartPolicy(condition="any", delay=0))
    world.create(wish)
    world.settle()
    before = addresses(world)
    for task in world.running("web"):
        world.report(task, TaskState.FAILED)
    world.settle()
    after = addresses(world)
    assert len(set(after)) == 3
    assert not set(after) & set(before)


def test_a_full_network_lets_its_tasks_wait_with_a_reason() -> None:
    world = World()
    wish = IPAMOptions(configs=[IPAMConfig(subnet="10.9.0.0/29")])
    world.put(Kind.NETWORK, Network(id="small", spec=NetworkSpec(name="small", ipam_options=wish)))
    world.create(spec(replicas=9, networks=["small"]))
    world.settle()
    waiting = [task for task in world.tasks("web") if task.state is TaskState.NEW]
    assert {task.error for task in waiting} == {"could not find an available IP"}
    assert len(world.running("web")) == 4, "six hosts, less the gateway and the service itself"


def test_ports_are_chosen_where_none_is_wished_and_stay() -> None:
    world = World()
    world.network("ingress", ingress=True)
    world.create(spec(endpoint_spec=port()))
    world.create(spec("other", endpoint_spec=port()))
    world.settle()
    assert (published(world, "other"), published(world)) == ([30000], [30001])
    world.update("web", spec(replicas=2, endpoint_spec=port()))
    world.settle()
    assert published(world) == [30001]


def test_published_ports_bring_the_service_into_the_routing_mesh() -> None:
    world = World(nodes=2)
    world.network("ingress", ingress=True)
    world.create(spec(endpoint_spec=port(8080)))
    world.settle()
    (task,) = world.running("web")
    assert [place.network_id for place in task.attached] == ["net-ingress"]
    assert len(vips(world)) == 1
    assert set(world.state.node_addresses) == {"node1", "node2"}


def test_a_port_of_the_host_does_not() -> None:
    world = World()
    world.network("ingress", ingress=True)
    world.create(spec(endpoint_spec=port(8080, mode="host")))
    world.settle()
    assert world.running("web")[0].attached == ()
    assert vips(world) == []


def test_a_port_that_another_service_has_is_waited_for() -> None:
    world = World()
    world.network("ingress", ingress=True)
    world.create(spec("first", endpoint_spec=port(8080)))
    world.settle()
    world.create(spec(endpoint_spec=port(8080)))
    world.settle()
    assert not world.running("web")
    assert {task.error for task in world.tasks("web")} == {"port 8080 is already allocated"}
    world.put(Kind.SERVICE, None, "first")
    world.settle()
    assert world.running("web")


def test_a_node_has_an_address_in_each_network_of_its_tasks() -> None:
    world = World(nodes=2)
    world.network("a")
    world.create(spec(networks=["net-a"], constraints=["node.id==node1"]))
    world.settle()
    assert list(world.state.node_addresses) == ["node1"]
    mine = world.state.node_addresses["node1"].addresses["net-a"]
    assert mine not in addresses(world) + vips(world)
    world.put(Kind.SERVICE, None, "web")
    world.settle()
    assert world.state.node_addresses["node1"].addresses == {}


def test_networks_of_the_host_have_no_addresses_of_the_swarm() -> None:
    world = World()
    world.create(spec(networks=["host"]))
    world.settle()
    (task,) = world.running("web")
    assert [(place.network_id, place.addresses) for place in task.attached] == [("host", ())]
    assert vips(world) == []


def test_a_tunnel_number_may_be_wished() -> None:
    world = World()
    driver = Driver("overlay", {"com.docker.network.driver.overlay.vxlanid_list": "5000"})
    world.put(Kind.NETWORK, Network(id="n", spec=NetworkSpec(name="n", driver_configuration=driver)))
    world.think()
    assert world.state.network_statuses["n"].vni == 5000


def test_two_networks_never_share_addresses_or_a_tunnel_number() -> None:
    world = World()
    world.network("a")
    world.think()
    driver = Driver("overlay", {"com.docker.network.driver.overlay.vxlanid_list": "4096"})
    wish = IPAMOptions(configs=[IPAMConfig(subnet="10.0.0.128/25")])
    world.put(Kind.NETWORK, Network(id="b", spec=NetworkSpec(name="b", ipam_options=wish)))
    world.put(Kind.NETWORK, Network(id="c", spec=NetworkSpec(name="c", driver_configuration=driver)))
    world.think()
    statuses = world.state.network_statuses
    assert "Pool overlaps" in statuses["b"].error
    assert statuses["c"].error == "VXLAN network 4096 is another network's"
    world.put(Kind.NETWORK, None, "net-a")
    world.think()
    assert statuses["b"].error == "", "it has waited, and is served before who wishes its number"
