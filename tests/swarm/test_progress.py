"""The table of what a node does about a task, against the rules of SwarmKit's agent."""

import pytest

from lighterman.swarm.agent.progress import Act, Move, failed, next_step
from lighterman.swarm.state import TaskState as T


@pytest.mark.parametrize(
    ("state", "desired", "step"),
    [
        (T.ASSIGNED, T.RUNNING, Move(T.ACCEPTED, "accepted")),
        (T.ACCEPTED, T.RUNNING, Move(T.PREPARING, "preparing")),
        (T.PREPARING, T.RUNNING, Act.PREPARE),
        (T.READY, T.RUNNING, Move(T.STARTING, "starting")),
        (T.STARTING, T.RUNNING, Act.START),
        (T.RUNNING, T.RUNNING, Act.WAIT),
        (T.RUNNING, T.COMPLETE, Act.WAIT),
    ],
)
def test_a_task_goes_forward_step_by_step(state: T, desired: T, step: Act | Move) -> None:
    assert next_step(state, desired) == step


@pytest.mark.parametrize("state", [T.READY, T.STARTING, T.RUNNING, T.COMPLETE, T.FAILED, T.REJECTED])
def test_a_task_that_is_to_be_ready_goes_no_further(state: T) -> None:
    assert next_step(state, T.READY) is None


@pytest.mark.parametrize("desired", [T.SHUTDOWN, T.REMOVE])
@pytest.mark.parametrize("state", [T.ASSIGNED, T.ACCEPTED, T.PREPARING, T.READY, T.STARTING, T.RUNNING])
def test_a_task_that_is_not_wanted_any_more_is_shut_down_from_wherever_it_is(state: T, desired: T) -> None:
    assert next_step(state, desired) is Act.SHUT_DOWN


@pytest.mark.parametrize("state", [T.COMPLETE, T.SHUTDOWN, T.FAILED, T.REJECTED])
@pytest.mark.parametrize("desired", [T.READY, T.RUNNING, T.COMPLETE, T.SHUTDOWN, T.REMOVE])
def test_what_is_over_stays_so(state: T, desired: T) -> None:
    assert next_step(state, desired) is None


def test_no_step_leads_back() -> None:
    for state in T:
        for desired in T:
            step = next_step(state, desired)
            assert step is None or step.state > state


def test_failures_before_the_start_are_rejections() -> None:
    assert {state: failed(state) for state in (T.ASSIGNED, T.PREPARING, T.READY)} == dict.fromkeys(
        (T.ASSIGNED, T.PREPARING, T.READY), T.REJECTED
    )
    assert failed(T.STARTING) is failed(T.RUNNING) is T.FAILED
