"""What a node does next about a task, and what the task is then: the table of SwarmKit's agent. Pure.

A task comes as assigned and goes forward only: accepted, preparing, ready, starting, running, and then one of
the ends. Three states are work (`Act`): preparing, starting and running, that is waiting for the end. The
others are steps that need none (`Move`), and they wait until more is desired than they are. What fails before
the start is rejected, what fails later has failed. Whoever is desired to be shut down is shut down from
wherever it is.

Source: Do of SwarmKit's agent/exec/controller.go.
"""

from enum import Enum

from msgspec import Struct

from lighterman.swarm.state import TaskState


class Act(Enum):
    """Work for the controller of a task; `state` and `message` tell what is reached by it."""

    PREPARE = (TaskState.READY, "prepared")
    START = (TaskState.RUNNING, "started")
    WAIT = (TaskState.COMPLETE, "finished")
    SHUT_DOWN = (TaskState.SHUTDOWN, "shutdown")

    @property
    def state(self) -> TaskState:
        return self.value[0]

    @property
    def message(self) -> str:
        return self.value[1]


class Move(Struct, frozen=True):
    """A step that needs no work."""

    state: TaskState
    message: str


_ACTS = {
    TaskState.PREPARING: Act.PREPARE,
    TaskState.STARTING: Act.START,
    TaskState.RUNNING: Act.WAIT,
}
_ACCEPTED = Move(TaskState.ACCEPTED, "accepted")
_MOVES = {
    TaskState.NEW: _ACCEPTED,
    TaskState.PENDING: _ACCEPTED,
    TaskState.ASSIGNED: _ACCEPTED,
    TaskState.ACCEPTED: Move(TaskState.PREPARING, "preparing"),
    TaskState.READY: Move(TaskState.STARTING, "starting"),
}


def next_step(state: TaskState, desired: TaskState) -> Act | Move | None:
    """What is to be done; None: nothing before more is desired."""
    if desired >= TaskState.SHUTDOWN:
        return Act.SHUT_DOWN if state < TaskState.COMPLETE else None
    if state > desired:
        return None
    if state in _ACTS:  # work goes on past what is desired: who prepares becomes ready
        return _ACTS[state]
    return _MOVES.get(state) if state < desired else None


def failed(state: TaskState) -> TaskState:
    """What a task becomes that fails in `state`."""
    return TaskState.REJECTED if state < TaskState.STARTING else TaskState.FAILED
