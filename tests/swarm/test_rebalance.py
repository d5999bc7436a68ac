"""Services that wish it come back to nodes that have returned."""

from collections import Counter

import pytest
from tests.swarm.world import SECOND, World, spec

from lighterman.apitypes.service import Placement, PlacementPreference, ServiceSpec, SpreadOver, UpdateConfig
from lighterman.errdefs import InvalidParameter
from lighterman.swarm.control.check import check
from lighterman.swarm.control.spec import complete
from lighterman.swarm.state import TaskState

WISH = {"lighterman.rebalance": "true"}


def spread(world: World) -> Counter[str]:
    """How many run where."""
    return Counter(task.node_id for task in world.running("web"))


def lost_and_regained(world: World, id: str) -> None:
    world.lose(id)
    world.wait(60)
    assert id not in spread(world)
    world.regain(id)
    world.settle()


def test_tasks_go_back_to_a_node_that_has_returned() -> None:
    world = World(2)
    world.create(spec(replicas=4, labels=WISH))
    world.settle()
    lost_and_regained(world, "node2")
    world.wait(60)
    assert spread(world) == {"node1": 2, "node2": 2}
    assert world.slots("web") == [1, 2, 3, 4]


def test_without_the_label_nothing_that_runs_is_moved() -> None:
    world = World(2)
    world.create(spec(replicas=4))
    world.settle()
    lost_and_regained(world, "node2")
    world.wait(60)
    assert spread(world) == {"node1": 4}


def test_a_new_node_gets_its_part_and_then_everything_rests() -> None:
    world = World(2)
    world.create(spec(replicas=7, labels=WISH))
    world.settle()
    world.add_node("node3")
    world.wait(60)
    assert sorted(spread(world).values()) == [2, 2, 3]
    known = [task.id for task in world.tasks("web")]
    world.wait(3600)
    assert [task.id for task in world.tasks("web")] == known


def test_one_task_is_moved_at_a_time_and_the_next_after_the_delay_of_updates() -> None:
    world = World(1)
    world.create(spec(replicas=6, labels=WISH, update_config=UpdateConfig(parallelism=1, delay=10 * SECOND)))
    world.settle()
    world.wait(20)
    world.add_node("node2")
    world.settle()
    assert spread(world) == {"node1": 5, "node2": 1}
    world.wait(9)
    assert spread(world) == {"node1": 5, "node2": 1}
    world.wait(2)
    assert spread(world) == {"node1": 4, "node2": 2}
    world.wait(60)
    assert spread(world) == {"node1": 3, "node2": 3}


def test_a_slot_is_stopped_before_it_starts_elsewhere() -> None:
    world = World(1)
    world.create(spec(replicas=2, labels=WISH))
    world.settle()
    world.add_node("node2")
    world.think()
    (moved,) = (task for task in world.tasks("web") if task.desired is TaskState.READY)
    (old,) = (task for task in world.tasks("web") if task.desired is TaskState.SHUTDOWN)
    assert (moved.slot, moved.start_after_task, moved.node_id) == (old.slot, old.id, "node2")


@pytest.mark.parametrize("change", [{"availability": "pause"}, {"labels": {"disk": "hdd"}}])
def test_nothing_is_moved_to_a_node_that_does_not_suit(change: dict[str, object]) -> None:
    world = World(1)
    world.add_node("node2", labels={"disk": "ssd"})
    world.change_node("node1", labels={"disk": "ssd"})
    world.create(spec(replicas=4, labels=WISH, constraints=["node.labels.disk==ssd"]))
    world.settle()
    world.lose("node2")
    world.wait(60)
    world.change_node("node2", **change)
    world.regain("node2")
    world.wait(60)
    assert spread(world) == {"node1": 4}


def test_what_fails_everywhere_is_not_moved_about() -> None:
    world = World(1)
    world.fails = lambda task: task.slot == 2
    world.create(spec(replicas=4, labels=WISH))
    world.settle()
    world.add_node("node2")
    world.wait(30)
    assert "node2" not in {task.node_id for task in world.tasks("web") if task.slot != 2}


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (spec(labels={"lighterman.rebalance": "yes"}), 'must be "true" or "false"'),
        (spec(replicas=None, labels=WISH), "for replicated services"),
        (
            spec(
                labels=WISH,
                placement=Placement(preferences=[PlacementPreference(SpreadOver("node.labels.dc"))]),
            ),
            "without placement preferences",
        ),
    ],
)
def test_where_it_would_not_act_it_is_refused(wish: ServiceSpec, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        check(complete(wish, ""))
