"""How a process is brought to its end: the signal that is sent, and the wait for `exited` to have seen it."""

import asyncio
from contextlib import suppress

from lighterman.containers.errors import NotRunning
from lighterman.containers.life import Created, Exited, GaveUp, Paused, Restarting, Thawed
from lighterman.containers.merge import given
from lighterman.containers.signals import parse_signal
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import System
from lighterman.runtime import ProcessGone

KILL, TERM = 9, 15
KILLED_IN_S = 10.0


def stop_signal(container: Container) -> int:
    """The signal that asks the container to end."""
    return parse_signal(given(container.config.stop_signal) or "TERM")


def stop_timeout_s(container: Container, asked_s: int | None, default_s: int) -> float | None:
    """Seconds between that signal and SIGKILL; None is for ever. Source: StopTimeout, -1 waits."""
    own_s = given(container.config.stop_timeout)
    timeout_s = next(each for each in (asked_s, own_s, default_s) if each is not None)
    return None if timeout_s < 0 else float(timeout_s)


async def let_rest(cs: Containers, container: Container) -> Container:
    """Keep its policy from starting it again (with the lock held); a start to come is called off."""
    if isinstance(container.life, Restarting):
        cs.live(container.id).called_off.set()
        return await cs.record(container, GaveUp(), stopped_by_user=True)
    if container.stopped_by_user or container.host_config.restart_policy.name in ("", "no"):
        return container
    return await cs.record(container, stopped_by_user=True)


async def deliver(cs: Containers, container: Container, signal: int, *, thaw: bool) -> None:
    """Send `signal` to the container's process (with the lock held); `thaw` lets a frozen one hear it.

    Raises: NotRunning.
    """
    if not container.runs:
        raise NotRunning(container.id)
    try:
        cs.runtime.signal(container.id, signal)
    except ProcessGone:
        raise NotRunning(container.id) from None
    cs.publish(container, "kill", signal=str(signal))
    if thaw and isinstance(container.life, Paused):
        await cs.runtime.unpause(container.id)
        container = await cs.record(container, Thawed())
        cs.publish(container, "unpause")


async def kill_to_end(cs: Containers, ref: str) -> None:
    """End the container's process by force and wait until its end is recorded; none is no failure.

    Raises: NoSuchContainer, System.
    """
    async with cs.locked(ref) as container:
        container = await let_rest(cs, container)
        if not container.runs:
            return
        gone = cs.live(container.id).next_exit
        with suppress(NotRunning):  # it ended just now, and `exited` is about to take the lock
            await deliver(cs, container, KILL, thaw=True)
    if not await ended_within(gone, KILLED_IN_S):
        raise System(f"container {container.id}: the process does not end, although it was killed")


async def ended_within(gone: "asyncio.Future[int]", timeout_s: float | None) -> bool:
    """Whether the run that `gone` stands for has ended, been recorded and been taken down in time."""
    done, _ = await asyncio.wait([gone], timeout=timeout_s)
    return bool(done)


def is_at_rest(container: Container) -> bool:
    """Whether there is no process and none to come."""
    return isinstance(container.life, Created | Exited)
