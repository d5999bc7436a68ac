"""Tasks: one container-to-be in one slot of a service, or on one node.

A task never changes what it is: a service that changes gets other tasks. Its state only goes forward. The
leader writes `Task`, up to the moment of assignment; from then on its node reports, which is kept apart in
`TaskObservation`. `Seen` is both as one.
"""

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from lighterman.apitypes.service import EndpointSpec, GenericResource, TaskSpec, TaskStatus
from lighterman.swarm.state.kinds import Stored


class TaskState(IntEnum):
    """How far a task is; a later one is greater. Numbers and words are those of SwarmKit."""

    NEW = 0
    PENDING = 64
    """It has its addresses, and waits for a node."""
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    """It has ended well."""
    SHUTDOWN = 640
    """It was asked to end."""
    FAILED = 704
    REJECTED = 768
    """It never began: the node could not, or was not suitable any more."""
    REMOVE = 800
    """Only wished for: the agent stops the task, and the leader deletes it."""
    ORPHANED = 832
    """Its node has been away for too long."""

    @property
    def word(self) -> str:
        """As the API has it: "running"."""
        return self.name.lower()


WORDS = {state.word: state for state in TaskState}
"""The API's word -> the state."""


class Template(Stored, frozen=True):
    """What tasks are to be: kept once for all tasks that have it. `id` is the hash of what it holds."""

    spec: TaskSpec
    """Networks by id."""
    endpoint: EndpointSpec | None = None


class Attached(Struct, frozen=True, omit_defaults=True):
    """A task's place in a network; addresses have their prefix length."""

    network_id: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Task(Stored, frozen=True):
    """The leader's half."""

    template_id: str
    service_id: str = ""
    service_name: str = ""
    slot: int = 0
    """From 1; 0 in a global service."""
    node_id: str = ""
    """"" until it is assigned; a task of a global service has it from the beginning."""
    desired: TaskState = TaskState.RUNNING
    state: TaskState = TaskState.NEW
    """Up to ASSIGNED; or REJECTED, ORPHANED when the leader says so, whatever the node reports."""
    state_ns: int = 0
    message: str = ""
    error: str = ""
    """Why it waits: "no suitable node (...)"."""
    attached: tuple[Attached, ...] = ()
    generic_resources: tuple[GenericResource, ...] = ()
    start_after_ns: int = 0
    """A task that is desired to be READY becomes RUNNING then, and not before"""
    start_after_task: str = ""
    """this one has stopped."""
    generation: int = 0
    """Of the update that made it; 0 when it was made otherwise."""
    restarts_ns: tuple[int, ...] = ()
    """When its slot was restarted before, with this template; only where attempts are limited."""
    addresses_wanted: tuple[str, ...] = ()
    """Only of an attachment: what a plain container asked for."""


class TaskObservation(Stored, frozen=True):
    """The node's half, written by the manager that it is connected with. `id` is the task's."""

    status: TaskStatus
    applied_ns: int = 0
    """When the manager heard of it, by the manager's clock; later reports of a state keep the first."""
    running_ns: int = 0
    """When the manager heard first that it runs; 0: it never did."""


def observe(
    before: TaskObservation | None, id: str, status: TaskStatus, now_ns: int
) -> TaskObservation | None:
    """What is to be kept of a node's report; None when it says nothing new: a task never goes back."""
    state = WORDS[status.state]
    if before is None:
        return TaskObservation(
            id=id, status=status, applied_ns=now_ns, running_ns=now_ns if state is TaskState.RUNNING else 0
        )
    known = WORDS[before.status.state]
    if state < known or status == before.status:
        return None
    return TaskObservation(
        id=id,
        created_ns=before.created_ns,
        status=status,
        applied_ns=before.applied_ns if state is known else now_ns,
        running_ns=before.running_ns or (now_ns if state is TaskState.RUNNING else 0),
    )


class Seen(NamedTuple):
    """What is known of a task's state, from both halves."""

    state: TaskState
    since_ns: int
    """By a manager's clock."""
