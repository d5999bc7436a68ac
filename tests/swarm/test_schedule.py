"""Which node a task goes to, and what a task says that goes to none."""

from collections import Counter
from typing import Any

import pytest
from tests.swarm.world import GIGABYTE, SECOND, World, nodes_of, spec

from lighterman.apitypes.container import DriverConfig, Mount, VolumeOptions
from lighterman.apitypes.service import (
    ContainerSpec,
    DiscreteGenericResource,
    EndpointSpec,
    GenericResource,
    NamedGenericResource,
    Placement,
    PlacementPreference,
    Platform,
    PortConfig,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SpreadOver,
    TaskSpec,
)
from lighterman.apitypes.swarm import NodeDescription, PluginDescription
from lighterman.swarm.orchestrate.constraints import matches, parse
from lighterman.swarm.state import Kind, NodeStatus, TaskState


def reserving(**resources: Any) -> ResourceRequirements:
    return ResourceRequirements(reservations=Resources(**resources))


def errors(world: World, service: str = "web") -> set[str]:
    return {task.error for task in world.tasks(service) if task.state is TaskState.PENDING}


def describe(world: World, node: str, description: NodeDescription) -> None:
    world.put(Kind.NODE_STATUS, NodeStatus(id=node, description=description, addr="10.0.0.1"))


def gpus(*names: str) -> NodeDescription:
    return NodeDescription(
        resources=Resources(
            nano_cpus=SECOND,
            memory_bytes=GIGABYTE,
            generic_resources=[
                GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value=name))
                for name in names
            ],
        )
    )


def test_tasks_go_where_their_service_has_fewest() -> None:
    world = World(nodes=3)
    world.create(spec(replicas=6))
    world.settle()
    assert Counter(nodes_of(world.running("web"))) == {"node1": 2, "node2": 2, "node3": 2}


def test_among_equals_the_node_with_fewest_tasks_comes_first() -> None:
    world = World(nodes=2)
    world.create(spec("one", constraints=["node.id==node1"]))
    world.create(spec("two"))
    world.settle()
    assert list(nodes_of(world.running("two"))) == ["node2"]


def test_a_node_where_the_service_failed_five_times_comes_last() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=6, restart_policy=RestartPolicy(condition="any", delay=SECOND)))
    world.fails = lambda task: task.node_id == "node1"
    world.settle()
    world.wait(10)
    assert Counter(nodes_of(world.running("web"))) == {"node2": 6}


def test_reservations_are_counted_until_the_task_has_ended() -> None:
    world = World()
    world.create(spec(replicas=3, resources=reserving(nano_cpus=2 * SECOND)))
    world.settle()
    assert len(world.running("web")) == 2
    assert errors(world) == {"no suitable node (insufficient resources on 1 node)"}
    world.update("web", spec(replicas=1, resources=reserving(nano_cpus=2 * SECOND)))
    world.create(spec("other", resources=reserving(nano_cpus=2 * SECOND)))
    world.think()
    assert errors(world, "other"), "what is told to stop still has it"
    world.settle()
    assert len(world.running("other")) == 1


def test_a_node_that_comes_takes_what_waits() -> None:
    world = World()
    world.create(spec(resources=reserving(memory_bytes=16 * GIGABYTE)))
    world.settle()
    assert errors(world) == {"no suitable node (insufficient resources on 1 node)"}
    world.add_node("large", memory=32 * GIGABYTE)
    world.settle()
    assert list(nodes_of(world.running("web"))) == ["large"]


def test_reasons_are_told_with_the_most_frequent_first() -> None:
    world = World(nodes=4)
    world.change_node("node1", availability="drain")
    for node in ("node2", "node3"):
        world.change_node(node, labels={"disk": "hdd"})
    world.change_node("node4", labels={"disk": "ssd"})
    world.create(spec(constraints=["node.labels.disk==ssd"], resources=reserving(memory_bytes=9 * GIGABYTE)))
    world.settle()
    assert errors(world) == {
        "no suitable node (insufficient resources on 3 nodes; 1 node not available for new tasks)"
    }


def test_a_task_of_a_global_service_says_what_its_node_lacks() -> None:
    world = World()
    world.create(spec(replicas=None, resources=reserving(nano_cpus=9 * SECOND)))
    world.settle()
    assert errors(world) == {"insufficient resources on 1 node"}


def test_ports_of_the_host_are_one_tasks_only() -> None:
    world = World(nodes=2)
    port = PortConfig(target_port=80, published_port=8080, publish_mode="host")
    world.create(spec(replicas=3, endpoint_spec=EndpointSpec(ports=[port])))
    world.settle()
    assert sorted(nodes_of(world.running("web"))) == ["node1", "node2"]
    assert errors(world) == {"no suitable node (host-mode port already in use on 2 nodes)"}


def test_a_node_gets_no_more_replicas_than_is_said() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=5, placement=Placement(max_replicas=2)))
    world.settle()
    assert Counter(nodes_of(world.running("web"))) == {"node1": 2, "node2": 2}
    assert errors(world) == {"no suitable node (max replicas per node limit exceed)"}


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (Platform(architecture="amd64", os="linux"), True),
        (Platform(architecture="x86_64"), True),
        (Platform(os="windows"), False),
        (Platform(architecture="arm64", os="linux"), False),
    ],
)
def test_platforms_are_compared_by_their_usual_names(wish: Platform, fits: bool) -> None:
    world = World()
    described = NodeDescription(platform=Platform(architecture="x86_64", os="linux"))
    describe(world, "node1", described)
    world.create(spec(placement=Placement(platforms=[wish])))
    world.settle()
    assert bool(world.running("web")) is fits
    assert fits or errors(world) == {"no suitable node (unsupported platform on 1 node)"}


def test_a_volume_driver_has_to_be_there() -> None:
    world = World()
    mount = Mount(
        type="volume", target="/v", volume_options=VolumeOptions(driver_config=DriverConfig(name="nfs"))
    )
    plugins = [PluginDescription(type="Volume", name="local")]
    described = NodeDescription()
    engine = type(described.engine)(plugins=plugins)
    describe(world, "node1", NodeDescription(engine=engine))
    wish = spec()
    task = TaskSpec(container_spec=ContainerSpec(image="busybox", mounts=[mount]))
    world.create(type(wish)(name="web", mode=wish.mode, task_template=task))
    world.settle()
    assert errors(world) == {"no suitable node (missing plugin on 1 node)"}
    engine = type(described.engine)(plugins=[*plugins, PluginDescription(type="Volume", name="nfs:latest")])
    describe(world, "node1", NodeDescription(engine=engine))
    world.settle()
    assert world.running("web")


def test_named_resources_are_given_by_name_and_to_one_task_each() -> None:
    world = World()
    describe(world, "node1", gpus("a", "b"))
    one = GenericResource(discrete_resource_spec=DiscreteGenericResource(kind="gpu", value=1))
    wish = ResourceRequirements(reservations=Resources(generic_resources=[one]))
    world.create(spec(replicas=3, resources=wish))
    world.settle()
    given = [
        resource.named_resource_spec.value
        for task in world.running("web")
        for resource in task.generic_resources
        if resource.named_resource_spec
    ]
    assert sorted(given) == ["a", "b"]
    assert errors(world) == {"no suitable node (insufficient resources on 1 node)"}


def test_tasks_are_spread_over_the_values_of_a_label() -> None:
    world = World(nodes=4)
    for node, zone in (("node1", "a"), ("node2", "a"), ("node3", "a"), ("node4", "b")):
        world.change_node(node, labels={"zone": zone})
    spread = PlacementPreference(spread=SpreadOver("node.labels.zone"))
    world.create(spec(replicas=6, placement=Placement(preferences=[spread])))
    world.settle()
    count = Counter(nodes_of(world.running("web")))
    assert count == {"node1": 1, "node2": 1, "node3": 1, "node4": 3}


def test_a_branch_without_room_leaves_its_share_to_the_others() -> None:
    world = World(nodes=2)
    world.change_node("node1", labels={"zone": "a"})
    world.change_node("node2", labels={"zone": "b"})
    spread = PlacementPreference(spread=SpreadOver("node.labels.zone"))
    placement = Placement(preferences=[spread])
    world.create(spec("fat", constraints=["node.id==node1"], resources=reserving(nano_cpus=4 * SECOND)))
    world.settle()
    world.create(spec(replicas=4, placement=placement, resources=reserving(nano_cpus=SECOND)))
    world.settle()
    assert Counter(nodes_of(world.running("web"))) == {"node2": 4}


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("node.id == node1", True),
        ("node.id != node1", False),
        ("node.hostname==NODE1", True),
        ("node.role==manager", True),
        ("node.ip==10.0.0.1", True),
        ("node.ip==10.0.0.0/24", True),
        ("node.ip!=10.0.0.0/24", False),
        ("node.ip==10.1.0.0/24", False),
        ("node.ip==nonsense", False),
        ("node.labels.disk==ssd", True),
        ("node.labels.Disk==ssd", False),
        ("node.labels.none!=ssd", True),
        ("engine.labels.x==y", False),
        ("engine.labels.x!=y", True),
        ("node.unknown==x", False),
        ("node.unknown!=x", False),
    ],
)
def test_a_constraint_compares_what_a_node_has(text: str, matching: bool) -> None:
    world = World()
    world.change_node("node1", labels={"disk": "ssd"})
    assert matches(parse([text]), world.state, "node1") is matching


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("foo", "constraint expected one operator from ==, !="),
        ("==x", "key '' is invalid"),
        ("node.id==", "value '' is invalid"),
        ("1a==x", "key '1a' is invalid"),
        ("node.id==a=b", "value 'a=b' is invalid"),
    ],
)
def test_a_constraint_that_is_none_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="^" + problem.replace("(", r"\(") + "$"):
        parse([text])


def messages(world: World) -> set[str]:
    return {task.message for task in world.tasks("web")}


def test_a_task_that_waits_names_each_constraint_that_is_not_met() -> None:
    world = World(3)
    world.change_node("node2", labels={"disk": "ssd"})
    wishes = ["node.role==worker", "node.labels.disk==ssd", "node.labels.disk!=hdd", "node.labels.zone==a"]
    world.create(spec(constraints=wishes))
    world.settle()
    assert messages(world) == {
        "node.role==worker is met by 2 of 3 nodes; node.labels.disk==ssd is met by 1 of 3 nodes; "
        "node.labels.zone==a is met by 0 of 3 nodes"
    }
    world.change_node("node2", labels={"disk": "ssd", "zone": "a"})
    world.settle()
    assert [task.node_id for task in world.running("web")] == ["node2"]
    assert messages(world) == {"scheduler assigned task to node"}


def test_a_task_that_waits_names_what_is_short() -> None:
    world = World(2)
    wish = ResourceRequirements(reservations=Resources(nano_cpus=9 * SECOND, memory_bytes=16 * GIGABYTE))
    world.create(spec(resources=wish))
    world.settle()
    assert messages(world) == {
        "9 CPUs are more than any node has free; 16384 MiB are more than any node has free"
    }


def test_a_task_that_waits_for_a_node_to_be_ready_waits_to_be_scheduled() -> None:
    world = World(1)
    world.change_node("node1", availability="pause")
    world.create(spec())
    world.settle()
    assert messages(world) == {"pending task scheduling"}
    assert errors(world) == {"no suitable node (1 node not available for new tasks)"}
