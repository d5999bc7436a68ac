"""The processes below a process, as the kernel knows them: no cgroup and no session tells a family."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The children of a process and theirs, the deepest first; empty when it is gone.

    Source: proc_pid_task(5), `children`. Who daemonizes itself is no descendant any more.
    """
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += (int(word) for word in task.read_text().split())
    return [below for child in found for below in (*descendants(child), child)]


def kill_descendants(pid: int) -> None:
    """SIGKILL to everything below a process, the deepest first, so that each is buried by its parent."""
    for each in descendants(pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
