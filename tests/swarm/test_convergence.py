"""Whatever happens in whatever order: no slot runs twice, and in the end everything is as wished."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.swarm.world import SECOND, World, spec

from lighterman.apitypes.service import (
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from lighterman.swarm.orchestrate.agenda import Agenda
from lighterman.swarm.state import Task, TaskState

NODES = ("node1", "node2", "node3")
replicas = st.integers(0, 6)
nodes = st.sampled_from(NODES)
CALM = st.one_of(
    st.tuples(st.just("scale"), replicas),
    st.tuples(st.just("image"), st.sampled_from(("a", "b", "bad"))),
    st.tuples(st.just("availability"), nodes, st.sampled_from(("active", "pause", "drain"))),
    st.tuples(st.just("fail"), st.integers(0, 5)),
    st.tuples(st.just("work"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from((0.5, 3.0, 8.0))),
    st.tuples(st.just("rollback"), st.just(0)),
    st.tuples(st.just("leader"), st.just(0)),
)
ROUGH = st.one_of(CALM, st.tuples(st.just("lose"), nodes), st.tuples(st.just("regain"), nodes))


class Life:
    """A service of a swarm to which things happen."""

    def __init__(self, action: str, labels: dict[str, str] | None = None) -> None:
        self.world, self.labels = World(nodes=3), labels or {}
        self.world.fails = lambda task: self.world.image(task) == "bad"
        self.replicas, self.image, self.action = 2, "a", action
        self._ids = (f"later{number:020d}" for number in itertools.count())
        self.world.create(self._wish())
        self.world.settle()

    def _wish(self) -> ServiceSpec:
        return spec(
            image=self.image,
            replicas=self.replicas,
            labels=self.labels,
            restart_policy=RestartPolicy(condition="any", delay=SECOND),
            update_config=UpdateConfig(
                parallelism=2, delay=SECOND // 2, monitor=SECOND, failure_action=self.action
            ),
        )

    def happens(self, what: str, *how: object) -> None:
        world = self.world
        match what, how:
            case "scale", (int(count),):
                self.replicas = count
                world.update("web", self._wish())
            case "image", (str(image),):
                self.image = image
                world.update("web", self._wish())
            case "availability", (str(node), str(availability)):
                world.change_node(node, availability=availability)
            case "fail", (int(number),):
                running = world.running("web")
                if number < len(running):
                    world.report(running[number], TaskState.FAILED)
            case "work", _:
                world.work()
            case "wait", (float(seconds),):
                world.wait(seconds)
            case "lose", (str(node),):
                world.lose(node)
            case "regain", (str(node),):
                world.regain(node)
            case "rollback", _:
                world.roll_back("web")
            case "leader", _:
                world.agenda = Agenda(world.state, lambda: next(self._ids))
        world.think()

    def really_running(self) -> Counter[int]:
        """Slots, and how many of their tasks a node has running."""
        seen = self.world.state.seen
        return Counter(task.slot for task in self.world.tasks("web") if seen(task).state is TaskState.RUNNING)

    def calms_down(self) -> None:
        """All is well from now on, and the service is wished to be good."""
        for node in NODES:
            self.world.regain(node)
            self.world.change_node(node, availability="active")
        self.image = "good"
        self.world.update("web", self._wish())
        self.world.wait(120)

    def is_as_wished(self) -> bool:
        slots = self.world.slots("web")
        return (
            len(set(slots)) == len(slots) == self.replicas
            and self.world.images("web") == ["good"] * self.replicas
            and self.really_running() == Counter(slots)
            and self.world.think() == []
        )


@pytest.mark.parametrize("action", ["pause", "continue", "rollback"])
@given(events=st.lists(CALM, max_size=12))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_no_slot_runs_twice(action: str, events: list[tuple[object, ...]]) -> None:
    life = Life(action)
    for what, *how in events:
        life.happens(str(what), *how)
        assert max(life.really_running().values(), default=0) <= 1
    life.calms_down()
    assert max(life.really_running().values(), default=0) <= 1


@pytest.mark.parametrize("action", ["pause", "continue", "rollback"])
@given(events=st.lists(ROUGH, max_size=12))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_everything_is_as_wished_in_the_end(action: str, events: list[tuple[object, ...]]) -> None:
    life = Life(action)
    for what, *how in events:
        life.happens(str(what), *how)
    life.calms_down()
    assert life.is_as_wished()


@given(events=st.lists(ROUGH, max_size=12))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_service_that_wishes_it_is_even_in_the_end(events: list[tuple[object, ...]]) -> None:
    life = Life("pause", {"lighterman.rebalance": "true"})
    for what, *how in events:
        life.happens(str(what), *how)
    life.calms_down()
    assert life.is_as_wished()
    copies = Counter({node: 0 for node in NODES}) + Counter(t.node_id for t in life.world.running("web"))
    assert max(copies.values(), default=0) - min((copies[node] for node in NODES), default=0) <= 1


TOTAL, AT_ONCE = 5, 2
JOB_EVENTS = st.one_of(
    st.tuples(st.just("availability"), nodes, st.sampled_from(("active", "pause", "drain"))),
    st.tuples(st.just("end"), st.integers(0, 4), st.sampled_from((TaskState.COMPLETE, TaskState.FAILED))),
    st.tuples(st.just("work"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from((0.5, 3.0, 8.0))),
    st.tuples(st.just("again"), st.just(0)),
    st.tuples(st.just("leader"), st.just(0)),
)


class Job:
    """A job of a swarm to which things happen; its tasks run until one says that they end."""

    def __init__(self) -> None:
        self.world = World(nodes=3)
        self.world.lasts = lambda task: True
        self._ids = (f"later{number:020d}" for number in itertools.count())
        self.world.create(self._wish())
        self.world.settle()

    def _wish(self) -> ServiceSpec:
        mode = ServiceMode(replicated_job=ReplicatedJob(AT_ONCE, TOTAL))
        return spec("web", mode=mode, restart_policy=RestartPolicy(condition="on-failure", delay=SECOND))

    def happens(self, what: str, *how: object) -> None:
        world = self.world
        match what, how:
            case "availability", (str(node), str(availability)):
                world.change_node(node, availability=availability)
            case "end", (int(number), TaskState() as state):
                running = [task for task in world.tasks("web") if self.runs(task)]
                if number < len(running):
                    world.report(running[number], state)
            case "work", _:
                world.work()
            case "wait", (float(seconds),):
                world.wait(seconds)
            case "again", _:
                world.update("web", self._wish())
            case "leader", _:
                world.agenda = Agenda(world.state, lambda: next(self._ids))
        world.think()

    def runs(self, task: Task) -> bool:
        return self.world.state.seen(task).state is TaskState.RUNNING

    def done(self) -> Counter[int]:
        """Slots of the last iteration, and how often each was done."""
        generation = self.world.state.services["web"].generation
        return Counter(
            task.slot
            for task in self.world.tasks("web")
            if task.generation == generation and self.world.state.seen(task).state is TaskState.COMPLETE
        )


@given(events=st.lists(JOB_EVENTS, max_size=16))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_job_is_done_once_in_each_slot_and_no_more_at_a_time_than_is_wished(
    events: list[tuple[object, ...]],
) -> None:
    job = Job()
    for what, *how in events:
        job.happens(str(what), *how)
        generation = job.world.state.services["web"].generation
        mine = [task for task in job.world.tasks("web") if task.generation == generation]
        wished = [task for task in mine if task.desired <= TaskState.COMPLETE]
        going_on = [task for task in wished if job.world.state.seen(task).state < TaskState.COMPLETE]
        assert len(going_on) <= AT_ONCE
        assert max(Counter(task.slot for task in mine if job.runs(task)).values(), default=0) <= 1
    job.world.lasts = lambda task: False
    for node in NODES:
        job.world.change_node(node, availability="active")
    job.world.wait(120)
    assert job.done() == {slot: 1 for slot in range(TOTAL)}
    assert job.world.think() == []
