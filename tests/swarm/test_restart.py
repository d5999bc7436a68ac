"""What comes after a task that ended, and after a node that is gone."""

import pytest
from msgspec.structs import replace
from tests.swarm.world import SECOND, World, spec

from lighterman.apitypes.service import RestartPolicy
from lighterman.apitypes.swarm import OrchestrationConfig, SwarmSpec
from lighterman.swarm.state import Kind, TaskState


def policy(condition: str = "any", **more: int) -> RestartPolicy:
    return RestartPolicy(condition=condition, **more)


def alive(world: World) -> list[TaskState]:
    return [task.desired for task in world.tasks("web") if task.desired <= TaskState.RUNNING]


def test_a_task_that_ends_is_replaced_in_its_slot_after_the_delay() -> None:
    world = World()
    world.create(spec(restart_policy=policy(delay=3 * SECOND)))
    world.settle()
    (old,) = world.running("web")
    world.report(old, TaskState.FAILED)
    world.settle()
    (new,) = (task for task in world.tasks("web") if task.id != old.id)
    assert (new.slot, new.desired, world.state.seen(new).state) == (1, TaskState.READY, TaskState.READY)
    world.wait(2.9)
    assert alive(world) == [TaskState.READY]
    world.wait(0.2)
    assert [task.id for task in world.running("web")] == [new.id]
    assert world.state.tasks[old.id].desired is TaskState.SHUTDOWN


def test_the_delay_is_five_seconds_where_none_is_said() -> None:
    world = World()
    world.create(spec())
    world.settle()
    world.report(world.running("web")[0], TaskState.FAILED)
    world.wait(4.9)
    assert not world.running("web")
    world.wait(0.2)
    assert world.slots("web") == [1]


@pytest.mark.parametrize(
    ("condition", "end", "again"),
    [
        ("any", TaskState.COMPLETE, True),
        ("any", TaskState.FAILED, True),
        ("on-failure", TaskState.COMPLETE, False),
        ("on-failure", TaskState.FAILED, True),
        ("on-failure", TaskState.REJECTED, True),
        ("none", TaskState.COMPLETE, False),
        ("none", TaskState.FAILED, False),
    ],
)
def test_the_condition_says_whether_there_is_another(condition: str, end: TaskState, again: bool) -> None:
    world = World()
    world.create(spec(restart_policy=policy(condition, delay=0)))
    world.settle()
    world.report(world.running("web")[0], end)
    world.settle()
    assert bool(world.running("web")) is again
    assert len(world.tasks("web")) == 1 + again, "a slot that rests stays taken"


def test_attempts_are_counted_for_each_slot() -> None:
    world = World()
    world.create(spec(replicas=2, restart_policy=policy(delay=0, max_attempts=2)))
    world.fails = lambda task: task.slot == 1
    world.wait(60)
    assert world.slots("web") == [2]
    ended = [task for task in world.tasks("web") if task.slot == 1]
    assert len(ended) == 3, "the first, and two attempts more"


def test_a_new_leader_remembers_the_attempts() -> None:
    world = World()
    world.create(spec(restart_policy=policy(delay=SECOND, max_attempts=2)))
    world.fails = lambda task: True
    world.wait(1.5)
    made = len(world.tasks("web"))
    assert made == 3
    world.agenda = type(world.agenda)(world.state, iter(f"new{n:022d}" for n in range(99)).__next__)
    world.wait(60)
    assert len(world.tasks("web")) == made


def test_attempts_count_within_the_window_only() -> None:
    world = World()
    wish = policy(delay=10 * SECOND, max_attempts=2, window=15 * SECOND)
    world.create(spec(restart_policy=wish))
    world.fails = lambda task: True
    world.wait(100)
    assert len({task.id for task in world.tasks("web")}) == 3
    assert alive(world), "never two within fifteen seconds: it goes on"


def test_another_template_forgets_the_attempts() -> None:
    world = World()
    world.create(spec(restart_policy=policy(delay=0, max_attempts=1)))
    world.fails = lambda task: world.image(task) == "busybox"
    world.wait(10)
    assert not world.running("web")
    world.update("web", spec(image="other", restart_policy=policy(delay=0, max_attempts=1)))
    world.wait(10)
    assert world.images("web") == ["other"]


def test_a_task_that_fails_while_it_waits_keeps_to_the_delay() -> None:
    world = World()
    world.create(spec(restart_policy=policy(delay=5 * SECOND)))
    world.think()
    (first,) = world.tasks("web")
    world.report(first, TaskState.REJECTED)
    world.think()
    second = next(task for task in world.tasks("web") if task.id != first.id)
    world.report(second, TaskState.REJECTED)
    world.think()
    assert len(world.tasks("web")) == 2, "no image: one try in five seconds, not a thousand"
    world.wait(5.1)
    assert len(world.tasks("web")) == 3


def test_a_node_that_is_gone_for_ten_seconds_is_down_and_its_tasks_go_elsewhere() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=2, restart_policy=policy(delay=0)))
    world.settle()
    world.lose("node2")
    world.wait(9)
    assert world.state.node_state("node2") == "unknown"
    assert len(world.running("web")) == 2
    world.wait(2)
    assert world.state.node_state("node2") == "down"
    assert [task.node_id for task in world.running("web")] == ["node1", "node1"]


def test_a_node_that_comes_back_in_time_keeps_its_tasks() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=2))
    world.settle()
    before = {task.id for task in world.running("web")}
    world.lose("node2")
    world.wait(5)
    world.regain("node2")
    world.wait(60)
    assert {task.id for task in world.running("web")} == before


def test_a_node_that_comes_back_late_stops_what_was_moved() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=2, restart_policy=policy(delay=0)))
    world.settle()
    world.lose("node2")
    world.wait(30)
    world.regain("node2")
    world.settle()
    assert world.state.node_state("node2") == "ready"
    assert len(world.running("web")) == 2
    assert not [
        task
        for task in world.tasks("web")
        if task.desired is TaskState.SHUTDOWN and world.state.seen(task).state is TaskState.RUNNING
    ]


def test_tasks_of_a_node_that_stays_away_for_a_day_are_given_up() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=None))
    world.settle()
    world.lose("node2")
    world.wait(24 * 3600 + 60)
    (task,) = (task for task in world.tasks("web") if task.node_id == "node2")
    assert world.state.seen(task).state is TaskState.ORPHANED


def test_tasks_of_a_node_that_was_removed_are_given_up_at_once() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=2, restart_policy=policy(delay=0)))
    world.settle()
    world.lose("node2")
    world.put(Kind.NODE, None, "node2")
    world.settle()
    assert [task.node_id for task in world.running("web")] == ["node1", "node1"]
    assert "node2" not in world.state.node_statuses


def test_a_slot_keeps_as_many_tasks_as_the_swarm_says() -> None:
    world = World()
    cluster = world.state.cluster
    assert cluster is not None
    limited = SwarmSpec(name="default", orchestration=OrchestrationConfig(3))
    world.put(Kind.CLUSTER, replace(cluster, spec=limited))
    world.create(spec(restart_policy=policy(delay=SECOND)))
    world.fails = lambda task: True
    world.wait(20)
    assert len(world.tasks("web")) == 3


def test_a_task_is_rejected_when_its_node_does_not_suit_any_more() -> None:
    world = World(nodes=2)
    world.change_node("node1", labels={"disk": "ssd"})
    world.create(spec(constraints=["node.labels.disk==ssd"], restart_policy=policy(delay=0)))
    world.settle()
    (task,) = world.running("web")
    world.change_node("node1", labels={})
    world.change_node("node2", labels={"disk": "ssd"})
    world.settle()
    assert [task.node_id for task in world.running("web")] == ["node2"]
    assert world.state.tasks[task.id].error == "assigned node no longer meets constraints"


def test_a_clock_that_is_set_back_makes_nobody_wait_for_longer_than_his_delay() -> None:
    world = World()
    world.create(spec(restart_policy=policy(delay=5 * SECOND)))
    world.settle()
    world.report(world.running("web")[0], TaskState.FAILED)
    world.think()
    world.now_ns -= 3600 * SECOND
    world.agenda = type(world.agenda)(world.state, iter(f"new{n:022d}" for n in range(99)).__next__)
    world.wait(6)
    assert len(world.running("web")) == 1
