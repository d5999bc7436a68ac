"""From old tasks to new ones."""

from typing import Any

import pytest
from tests.swarm.world import SECOND, World, spec

from lighterman.apitypes.service import Placement, RestartPolicy, ServiceSpec, UpdateConfig
from lighterman.swarm.state import TaskState

FAST = RestartPolicy(condition="any", delay=SECOND)


def wish(image: str, replicas: int | None = 4, **config: Any) -> ServiceSpec:
    """A service with an update's settings."""
    return spec(
        image=image,
        replicas=replicas,
        update_config=UpdateConfig(**{"parallelism": 1, **config}),
        rollback_config=UpdateConfig(parallelism=0),
        restart_policy=FAST,
    )


def updated(image: str = "new", nodes: int = 1, **config: Any) -> World:
    """Four tasks run; their service has just been given another image."""
    world = World(nodes)
    world.create(wish("old", **config))
    world.settle()
    world.now_ns += SECOND
    world.update("web", wish(image, **config))
    return world


def test_tasks_are_replaced_one_after_the_other() -> None:
    world = updated()
    seen = []
    for _ in range(20):
        world.think()
        seen.append(world.images("web"))
        if not world.work():
            break
    assert min(len(images) for images in seen) == 3, "one is stopped at a time"
    assert world.images("web") == ["new"] * 4
    assert world.update_state("web") == "updating"


def test_an_update_is_complete_when_its_last_task_was_watched() -> None:
    world = updated()
    world.settle()
    world.wait(4.9)
    assert world.update_state("web") == "updating"
    world.wait(0.2)
    assert world.update_state("web") == "completed"
    assert world.think() == []


def test_an_update_before_there_is_any_task_is_complete_at_once() -> None:
    world = World(1)
    world.create(wish("old"))
    world.update("web", wish("new"))
    world.think()
    assert world.images("web") == []
    world.settle()
    assert (world.images("web"), world.update_state("web")) == (["new"] * 4, "completed")


def test_the_delay_lies_between_two_tasks() -> None:
    world = updated(delay=10 * SECOND)
    world.settle()
    assert world.images("web").count("new") == 1
    world.wait(9.9)
    assert world.images("web").count("new") == 1
    world.wait(0.2)
    assert world.images("web").count("new") == 2


@pytest.mark.parametrize(("parallelism", "stopped"), [(1, 1), (3, 3), (0, 4), (9, 4)])
def test_parallelism_says_how_many_at_once(parallelism: int, stopped: int) -> None:
    world = updated(parallelism=parallelism)
    world.think()
    ending = [task for task in world.tasks("web") if task.desired is TaskState.SHUTDOWN]
    assert len(ending) == stopped


def test_stop_first_starts_the_new_task_when_the_old_has_stopped() -> None:
    world = updated(parallelism=1)
    world.think()
    (new,) = (task for task in world.tasks("web") if world.image(task) == "new")
    assert new.desired is TaskState.READY
    old = world.state.tasks[new.start_after_task]
    assert (old.slot, old.desired) == (new.slot, TaskState.SHUTDOWN)
    world.report(old, TaskState.SHUTDOWN)
    world.think()
    assert world.state.tasks[new.id].desired is TaskState.RUNNING


def test_stop_first_waits_a_minute_for_the_old_task_at_most() -> None:
    world = updated(parallelism=1)
    world.think()
    (new,) = (task for task in world.tasks("web") if world.image(task) == "new")
    world.work = lambda: False  # type: ignore[method-assign] # the node does not stop it
    world.wait(59)
    assert world.state.tasks[new.id].desired is TaskState.READY
    world.wait(2)
    assert world.state.tasks[new.id].desired is TaskState.RUNNING


def test_start_first_stops_the_old_task_when_the_new_runs() -> None:
    world = updated(order="start-first")
    for _ in range(20):
        world.think()
        assert len(world.running("web")) >= 4
        if not world.work():
            break
    assert world.images("web") == ["new"] * 4


def test_a_failure_pauses_the_update() -> None:
    world = updated(image="bad")
    world.fails = lambda task: world.image(task) == "bad"
    world.settle()
    status = world.state.service_statuses["web"].update
    assert status is not None
    assert status.state == "paused"
    assert status.message.startswith("update paused due to failure or early termination of task id")
    assert world.images("web") == ["old"] * 3


def test_a_paused_update_goes_no_further() -> None:
    world = updated(image="bad")
    world.fails = lambda task: world.image(task) == "bad"
    world.settle()
    world.fails = lambda task: False
    world.wait(100)
    assert world.images("web").count("old") == 3


def test_a_task_that_ran_longer_than_the_monitor_has_not_failed() -> None:
    world = updated(delay=20 * SECOND, monitor=5 * SECOND)
    world.settle()
    (new,) = (task for task in world.running("web") if world.image(task) == "new")
    world.wait(6)
    world.report(new, TaskState.FAILED)
    world.wait(120)
    assert world.update_state("web") == "completed"


def test_failures_below_the_ratio_are_borne() -> None:
    world = updated(image="bad", max_failure_ratio=0.5, parallelism=0)
    world.fails = lambda task: world.image(task) == "bad" and task.slot == 1 and bool(task.generation)
    world.wait(30)
    assert world.update_state("web") == "completed"


def test_failures_above_the_ratio_are_not() -> None:
    world = updated(image="bad", max_failure_ratio=0.25, parallelism=0)
    world.fails = lambda task: world.image(task) == "bad" and task.slot in (1, 2)
    world.settle()
    assert world.update_state("web") == "paused"


def test_failures_do_not_matter_where_they_are_not_to() -> None:
    world = updated(image="bad", failure_action="continue")
    world.fails = lambda task: world.image(task) == "bad" and bool(task.generation)
    world.wait(60)
    assert world.images("web") == ["bad"] * 4
    assert world.update_state("web") == "completed"


def test_a_failure_goes_back_to_what_was_before() -> None:
    world = updated(image="bad", failure_action="rollback")
    world.fails = lambda task: world.image(task) == "bad"
    world.settle()
    assert world.update_state("web") == "rollback_started"
    service = world.state.services["web"]
    assert service.rollback_reason.startswith("update rolled back due to failure")
    assert service.previous is None
    world.wait(6)
    assert world.images("web") == ["old"] * 4
    assert world.update_state("web") == "rollback_completed"


def test_a_rollback_is_never_rolled_back() -> None:
    world = updated(image="bad", failure_action="rollback")
    world.fails = lambda task: bool(task.generation)
    world.wait(30)
    assert world.update_state("web") == "rollback_paused"


def test_a_new_leader_goes_on_with_the_update() -> None:
    world = updated(delay=10 * SECOND)
    world.wait(15)
    assert world.images("web").count("new") == 2
    world.agenda = type(world.agenda)(world.state, iter(f"new{n:022d}" for n in range(99)).__next__)
    world.settle()
    assert world.images("web").count("new") == 2
    world.wait(60)
    assert world.update_state("web") == "completed"


def test_a_newer_update_takes_over() -> None:
    world = updated(delay=10 * SECOND)
    world.settle()
    world.update("web", wish("newer", delay=0))
    world.wait(6)
    assert world.images("web") == ["newer"] * 4
    assert world.update_state("web") == "completed"


def test_a_scale_alone_is_no_update() -> None:
    world = World()
    world.create(wish("old", replicas=2))
    world.settle()
    before = {task.id for task in world.running("web")}
    world.update("web", wish("old", replicas=3))
    world.settle()
    assert before < {task.id for task in world.running("web")}
    assert world.update_state("web") == ""


def test_a_placement_that_still_fits_moves_nothing() -> None:
    world = World()
    world.change_node("node1", labels={"disk": "ssd"})
    world.create(spec())
    world.settle()
    (before,) = world.running("web")
    world.update("web", spec(constraints=["node.labels.disk==ssd"]))
    world.settle()
    assert [task.id for task in world.running("web")] == [before.id]


def test_a_placement_that_does_not_fit_moves_the_task() -> None:
    world = World(nodes=2)
    world.create(spec())
    world.settle()
    (before,) = world.running("web")
    other = {"node1": "node2", "node2": "node1"}[before.node_id]
    world.update("web", spec(placement=Placement(constraints=[f"node.id=={other}"])))
    world.settle()
    assert [task.node_id for task in world.running("web")] == [other]


def test_force_replaces_tasks_that_are_the_same() -> None:
    world = World()
    world.create(spec())
    world.settle()
    (before,) = world.running("web")
    world.update("web", spec(force_update=1))
    world.settle()
    (after,) = world.running("web")
    assert after.id != before.id


def test_a_global_service_is_updated_node_by_node() -> None:
    world = World(nodes=3)
    world.create(wish("old", replicas=None))
    world.settle()
    world.update("web", wish("new", replicas=None, delay=10 * SECOND))
    world.settle()
    assert world.images("web").count("new") == 1
    world.wait(60)
    assert world.images("web") == ["new"] * 3
    assert world.update_state("web") == "completed"


def test_tasks_that_rest_are_updated_too() -> None:
    world = World()
    once = RestartPolicy(condition="none")
    world.create(spec(image="old", restart_policy=once))
    world.settle()
    world.report(world.running("web")[0], TaskState.COMPLETE)
    world.settle()
    world.update("web", spec(image="new", restart_policy=once))
    world.settle()
    assert world.images("web") == ["new"]
