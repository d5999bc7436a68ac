"""Services whose tasks are to end well."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace
from tests.swarm.world import World, spec

from lighterman.apitypes.service import (
    JobStatus,
    ReplicatedJob,
    ReplicatedService,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    ServiceStatus,
    UpdateConfig,
    Version,
)
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters
from lighterman.swarm.control import services, tasks, view
from lighterman.swarm.control.check import check
from lighterman.swarm.control.spec import complete
from lighterman.swarm.state import Kind, Task, TaskState


def job(total: int = 1, at_once: int | None = None, **more: Any) -> ServiceSpec:
    mode = ServiceMode(replicated_job=ReplicatedJob(total if at_once is None else at_once, total))
    return spec("job", mode=mode, **more)


def everywhere(**more: Any) -> ServiceSpec:
    return spec("job", mode=ServiceMode(global_job={}), **more)


def seen(world: World) -> Counter[str]:
    """How many tasks of the job are how far."""
    return Counter(world.state.seen(task).state.word for task in world.tasks("job"))


def completed(world: World, generation: int = 0) -> list[int]:
    """Slots that are done in an iteration."""
    return sorted(
        task.slot
        for task in world.tasks("job")
        if task.generation == generation and world.state.seen(task).state is TaskState.COMPLETE
    )


def counts(world: World) -> ServiceStatus:
    (found,) = services.list_(world.store, Filters({}), with_status=True)
    assert found.service_status is not None
    return found.service_status


def test_a_job_is_done_as_often_as_is_wished_and_then_rests() -> None:
    world = World(2)
    world.create(job(5))
    world.settle()
    assert completed(world) == [0, 1, 2, 3, 4]
    world.wait(3600)
    assert seen(world) == {"complete": 5}
    assert {task.desired for task in world.tasks("job")} == {TaskState.COMPLETE}


def test_no_more_run_at_a_time_than_is_wished() -> None:
    world = World(2)
    world.lasts = lambda task: True
    world.create(job(5, at_once=2))
    world.settle()
    assert seen(world) == {"running": 2}
    assert counts(world) == ServiceStatus(running_tasks=2, desired_tasks=2, completed_tasks=0)
    world.report(world.tasks("job")[0], TaskState.COMPLETE)
    world.settle()
    assert seen(world) == {"complete": 1, "running": 2}
    world.lasts = lambda task: False
    world.settle()
    assert completed(world) == [0, 1, 2, 3, 4]
    assert counts(world) == ServiceStatus(running_tasks=0, desired_tasks=2, completed_tasks=5)


def first_of_each_slot(world: World) -> set[str]:
    first: dict[int, Task] = {}
    for task in world.tasks("job"):
        first.setdefault(task.slot, task)
    return {task.id for task in first.values()}


def test_what_fails_is_done_again_in_its_slot_after_the_delay() -> None:
    world = World(1)
    world.create(job(2, restart_policy=RestartPolicy(condition="on-failure", delay=5_000_000_000)))
    world.fails = lambda task: task.id in first_of_each_slot(world)
    world.settle()
    assert seen(world)["failed"] == 2
    assert completed(world) == []
    world.wait(6)
    assert completed(world) == [0, 1]


@pytest.mark.parametrize(
    ("policy", "tries"),
    [
        (RestartPolicy(condition="none"), 1),
        (RestartPolicy(condition="on-failure", max_attempts=2, delay=0), 3),
        (RestartPolicy(condition="any", max_attempts=1, delay=0), 2),
    ],
)
def test_a_slot_is_tried_as_often_as_its_policy_wants_and_no_more(policy: RestartPolicy, tries: int) -> None:
    world = World(1)
    world.fails = lambda task: task.slot == 1
    world.create(job(3, restart_policy=policy))
    world.settle()
    world.wait(600)
    assert completed(world) == [0, 2]
    assert seen(world)["failed"] == tries


def test_a_job_that_is_changed_is_done_once_more() -> None:
    world = World(1)
    world.create(job(2))
    world.settle()
    world.update("job", job(2))
    world.settle()
    assert (completed(world, 0), completed(world, 1)) == ([0, 1], [0, 1])
    shown = view.service(world.state, world.state.services["job"])
    assert shown.job_status is not None
    assert (shown.job_status.job_iteration, shown.update_status) == (Version(1), None)
    assert counts(world).completed_tasks == 2
    found = tasks.list_(world.store, Filters({"service": ("job",)}))
    assert Counter(each.job_iteration.index for each in found if each.job_iteration) == {0: 2, 1: 2}


def test_what_runs_of_an_earlier_iteration_is_taken_away() -> None:
    world = World(1)
    world.lasts = lambda task: task.generation == 0
    world.create(job(2))
    world.settle()
    assert seen(world) == {"running": 2}
    world.update("job", job(2))
    world.settle()
    assert seen(world) == {"complete": 2}
    assert completed(world, 1) == [0, 1]


def test_what_a_lost_node_had_is_done_elsewhere() -> None:
    world = World(2)
    world.lasts = lambda task: True
    world.create(job(2))
    world.settle()
    assert {task.node_id for task in world.tasks("job")} == {"node1", "node2"}
    world.lose("node2")
    world.wait(60)
    world.lasts = lambda task: False
    world.wait(120)
    assert completed(world) == [0, 1]


def test_what_is_done_is_not_done_again_when_its_node_is_drained() -> None:
    world = World(2)
    world.create(job(2))
    world.settle()
    world.change_node("node2", availability="drain")
    world.wait(600)
    assert seen(world) == {"complete": 2}


def test_what_was_to_move_and_ends_well_before_is_not_done_again() -> None:
    world = World(2)
    world.lasts = lambda task: True
    world.create(job(2))
    world.settle()
    world.change_node("node2", availability="drain")
    world.think()
    (moving,) = (task for task in world.tasks("job") if task.node_id == "node2")
    world.report(moving, TaskState.COMPLETE)
    world.lasts = lambda task: False
    world.wait(60)
    assert completed(world) == [0, 1]


def test_a_global_job_is_done_once_on_each_node_also_on_one_that_comes_later() -> None:
    world = World(2)
    world.create(everywhere())
    world.settle()
    assert sorted(task.node_id for task in world.tasks("job")) == ["node1", "node2"]
    world.add_node("node3")
    world.settle()
    assert sorted(task.node_id for task in world.tasks("job")) == ["node1", "node2", "node3"]
    world.wait(600)
    assert seen(world) == {"complete": 3}
    assert counts(world) == ServiceStatus(running_tasks=0, desired_tasks=0, completed_tasks=3)


def test_a_global_job_that_was_interrupted_is_done_when_its_node_is_active_again() -> None:
    world = World(2)
    world.lasts = lambda task: True
    world.create(everywhere(restart_policy=RestartPolicy(condition="none")))
    world.settle()
    world.change_node("node2", availability="drain")
    world.settle()
    assert seen(world) == {"running": 1, "shutdown": 1}
    world.lasts = lambda task: False
    world.change_node("node2", availability="active")
    world.settle()
    assert seen(world) == {"complete": 2, "shutdown": 1}


def test_a_global_job_that_failed_for_good_is_left_alone() -> None:
    world = World(1)
    world.fails = lambda task: True
    world.create(everywhere(restart_policy=RestartPolicy(condition="none")))
    world.settle()
    world.wait(600)
    assert seen(world) == {"failed": 1}


def test_a_history_of_none_does_not_begin_a_job_anew() -> None:
    world = World(1)
    cluster = world.state.cluster
    assert cluster is not None
    none = replace(cluster.spec.orchestration, task_history_retention_limit=0)
    world.put(Kind.CLUSTER, replace(cluster, spec=replace(cluster.spec, orchestration=none)))
    world.create(job(2))
    world.settle()
    world.wait(600)
    assert completed(world) == [0, 1]
    assert len(world.tasks("job")) == 2


def test_a_network_has_addresses_for_a_job_of_any_length() -> None:
    world = World(1)
    net = world.network("net")
    world.think()
    world.create(job(400, at_once=20, networks=[net]))
    world.settle()
    assert len(completed(world)) == 400


def test_a_wish_of_a_job_is_completed_as_dockerd_does() -> None:
    assert complete(replace(job(), mode=ServiceMode(replicated_job=ReplicatedJob())), "").mode == ServiceMode(
        replicated_job=ReplicatedJob(1, 1)
    )
    wish = replace(job(), mode=ServiceMode(replicated_job=ReplicatedJob(max_concurrent=3)))
    assert complete(wish, "").mode == ServiceMode(replicated_job=ReplicatedJob(3, 3))
    both = ServiceMode(replicated=ReplicatedService(1), global_job={})
    with pytest.raises(InvalidParameter, match="must specify only one service mode"):
        complete(replace(job(), mode=both), "")


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (job(-1), "Maximum concurrent jobs must not be negative"),
        (job(-1, at_once=1), "Total completed jobs must not be negative"),
        (job(update_config=UpdateConfig(parallelism=1)), "Jobs may not have an update config"),
        (everywhere(update_config=UpdateConfig(parallelism=1)), "Jobs may not have an update config"),
    ],
)
def test_a_job_that_cannot_be_is_refused_in_dockerds_words(wish: ServiceSpec, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        check(complete(wish, ""))


@pytest.mark.parametrize(
    ("wish", "mode"),
    [(job(), "replicated-job"), (everywhere(), "global-job"), (spec("job", replicas=None), "global")],
)
def test_the_list_of_services_knows_modes(wish: ServiceSpec, mode: str) -> None:
    world = World(1)
    world.create(wish)
    for each in ("replicated", "global", "replicated-job", "global-job"):
        assert len(services.list_(world.store, Filters({"mode": (each,)}))) == (each == mode)


def test_the_first_execution_of_a_job_is_told() -> None:
    world = World(1)
    world.create(job())
    shown = view.service(world.state, world.state.services["job"])
    assert shown.job_status == JobStatus(Version(0), shown.updated_at)
