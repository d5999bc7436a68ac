"""How starts and runs end, as values and as kinds of failure."""

from enum import Enum

from msgspec import Struct

from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System


class Running(Struct, frozen=True):
    """A process that lives: its pid on the host and when it was started."""

    pid: int
    started_ns: int


class Exit(Struct, frozen=True):
    """A process that ended. `code` is the shell's: 128 + signal for a signal."""

    code: int
    oom_killed: bool
    at_ns: int
    error: str = ""
    """Why `code` is a guess (137), when the true one could not be had."""


class Lost(Enum):
    """The only member says: nothing of this run is left but its directory (a start cut off, a reboot)."""

    LOST = "lost"


class Recovered(Struct, frozen=True):
    """What `Runtime.recover` found of one run; `exec_id` is None for a container's own process.

    `Running` was adopted: its end is told by the callbacks. `Exit` is told here only.
    """

    id: str
    exec_id: str | None
    state: Running | Exit | Lost


class StartFailed(EngineError):
    """The process could not be started; nothing of it is left. The text is dockerd's.

    Raised as one of its two kinds: `NotStartable` and `StartBroke`.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        """What Docker shows as State.ExitCode: 127 not found, 126 not executable, 128 for the rest."""


class NotStartable(StartFailed, InvalidParameter):
    """The image, the command or a wish is wrong: no such file, not executable, not known to the kernel."""


class StartBroke(StartFailed, System):
    """The host or the OCI runtime failed."""


class ProcessGone(NotFound):
    """The process has ended, or there never was one."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no running process for {id}")
