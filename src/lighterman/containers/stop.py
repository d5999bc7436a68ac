"""Stopping: a signal, a while to heed it, and force."""

from contextlib import suppress

from lighterman.containers.ending import (
    KILL,
    deliver,
    ended_within,
    is_at_rest,
    kill_to_end,
    let_rest,
    stop_signal,
    stop_timeout_s,
)
from lighterman.containers.errors import NotRunning, StoppedAlready
from lighterman.containers.signals import is_known, parse_signal
from lighterman.containers.state import Containers


async def stop(cs: Containers, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
    """Send the stop signal; after `timeout_s` SIGKILL (None: as container or engine have it, -1: never).
    A number that is no signal here is SIGKILL: nothing else would end it.

    Raises: NoSuchContainer, StoppedAlready (304), InvalidParameter. Source: ContainerStop.
    """
    asked = parse_signal(signal) if signal else None
    container = cs.find(ref)
    async with cs.locked(container.id) as container:
        if is_at_rest(container):
            raise StoppedAlready
        container = await let_rest(cs, container)
        gone = cs.live(container.id).next_exit if container.runs else None
        if gone is not None:
            with suppress(NotRunning):  # it ended just now, and `exited` is about to take the lock
                number = asked or stop_signal(container)
                await deliver(cs, container, number if is_known(number) else KILL, thaw=True)
    patience_s = stop_timeout_s(container, timeout_s, cs.settings.stop_timeout_s)
    if gone is not None and not await ended_within(gone, patience_s):
        await kill_to_end(cs, container.id)
    cs.publish(container, "stop")
