"""What a container is: one value of `Life`, and the one table along which it moves.

No socket, no clock and no container is known here. An event that does not fit raises `ImpossibleStep` and
changes nothing: a verb has let through what its plan had to refuse. Instants are ns since the epoch.
"""

from typing import TypeAlias

from msgspec import Struct


class Creating(Struct, frozen=True, tag=True):
    """Its row is written before its volumes and layer are made, so that a crash leaves no orphans."""


class Created(Struct, frozen=True, tag=True):
    """No process yet. `error` and `code` tell of a start that failed."""

    code: int = 0
    error: str = ""


class Running(Struct, frozen=True, tag=True):
    pid: int
    started_ns: int


class Paused(Struct, frozen=True, tag=True):
    """Running, but frozen by its cgroup."""

    pid: int
    started_ns: int
    for_now: bool = False
    """Only while the engine looks at its files: one that is killed meanwhile thaws it when it comes back."""


class Exited(Struct, frozen=True, tag=True):
    code: int
    oom_killed: bool
    started_ns: int
    finished_ns: int
    error: str = ""


class Restarting(Struct, frozen=True, tag=True):
    """It ended; its policy starts it again after a delay."""

    code: int
    oom_killed: bool
    started_ns: int
    finished_ns: int


class Removing(Struct, frozen=True, tag=True):
    """Half gone; a crash meanwhile is finished at the next start. `before` is what it was.

    `volumes` go with it; they are no longer among its mounts.
    """

    before: Created | Exited
    volumes: tuple[str, ...] = ()


Life: TypeAlias = Creating | Created | Running | Paused | Exited | Restarting | Removing
LIVING = (Running, Paused)
"""What has a process. A tuple: a union is made anew wherever it is asked for, and lists ask often."""


class Made(Struct, frozen=True):
    """Everything that a container consists of is there."""


class Started(Struct, frozen=True):
    pid: int
    at_ns: int


class StartRefused(Struct, frozen=True):
    """The runtime, the network or the kernel refused; `code` is 126, 127 or 128."""

    code: int
    error: str


class Froze(Struct, frozen=True):
    for_now: bool = False


class Thawed(Struct, frozen=True):
    pass


class Ended(Struct, frozen=True):
    """The process is gone; `again` when the policy will start it once more."""

    code: int
    oom_killed: bool
    at_ns: int
    again: bool = False
    error: str = ""


class GaveUp(Struct, frozen=True):
    """The next start that a policy had promised will not come."""


class Condemned(Struct, frozen=True):
    """Its removal has begun, and that of these volumes."""

    volumes: tuple[str, ...] = ()


Event: TypeAlias = Made | Started | StartRefused | Froze | Thawed | Ended | GaveUp | Condemned


class ImpossibleStep(Exception):
    """The table has no such move."""

    def __init__(self, life: Life, event: Event) -> None:
        super().__init__(f"{event} cannot happen to {life}")


def step(life: Life, event: Event) -> Life:
    """The life after `event`. Raises ImpossibleStep: a caller let through what it had to refuse."""
    match life, event:
        case Creating(), Made():
            return Created()
        case Created() | Exited() | Restarting(), Started(pid, at_ns):
            return Running(pid, at_ns)
        case Created(), StartRefused(code, error):
            return Created(code, error)
        case Exited() | Restarting(), StartRefused(code, error):
            return Exited(code, False, life.started_ns, life.finished_ns, error)
        case Running(pid, started_ns), Froze(for_now):
            return Paused(pid, started_ns, for_now)
        case Paused(pid, started_ns), Thawed():
            return Running(pid, started_ns)
        case Running() | Paused(), Ended(code, oom_killed, at_ns, again=True):
            return Restarting(code, oom_killed, life.started_ns, at_ns)
        case Running() | Paused(), Ended(code, oom_killed, at_ns):  # a frozen process can still be killed
            return Exited(code, oom_killed, life.started_ns, at_ns, event.error)
        case Restarting(code, oom_killed, started_ns, finished_ns), GaveUp():
            return Exited(code, oom_killed, started_ns, finished_ns)
        case Created() | Exited(), Condemned(volumes):
            return Removing(life, volumes)
        case Creating(), Condemned(volumes):
            return Removing(Created(), volumes)
    raise ImpossibleStep(life, event)


def exit_code(life: Life) -> int:
    """The code of the last end, or of a start that failed; 0 for a process that lives."""
    match life:
        case Created(code) | Exited(code) | Restarting(code):
            return code
        case Removing(before):
            return before.code
    return 0


def status(life: Life) -> str:
    """The API's word for `life`. Source: ContainerState.Status."""
    return type(life).__name__.lower() if not isinstance(life, Creating) else "created"
