"""Waiting for what another program does, with an end and without blind pauses."""

import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLate(AssertionError):
    """What was waited for did not come in time."""


def until(
    ready: Callable[[], T | None],
    *,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    timeout_s: float = 60,
) -> T:
    """The first true answer of `ready`, which is asked every 10 ms; the death of `process` ends it at once.

    Only for facts that no event tells (a socket that another program opens, a kernel's state).

    Raises: TooLate, with `what`.
    """
    deadline = time.monotonic() + timeout_s
    poll, pidfd = select.poll(), os.pidfd_open(process.pid) if process else -1
    if process:
        poll.register(pidfd, select.POLLIN)
    try:
        while time.monotonic() < deadline:
            if answer := ready():
                return answer
            if poll.poll(10):
                raise TooLate(f"{what}: the process ended first")
        raise TooLate(f"{what}: not within {timeout_s} s")
    finally:
        if process:
            os.close(pidfd)
