"""Hearing that a container's memory ran out, while it runs: its first process may well live on.

The end of a run tells by itself whether somebody was killed for memory in it (`exited.py`).
"""

import asyncio
import os
from contextlib import suppress

from lighterman.containers.state import Container, Containers
from lighterman.errdefs import NotFound
from lighterman.lib.effects import in_thread
from lighterman.linux.cgroup import Cgroup
from lighterman.runtime import ProcessGone

COUNTED_IN_S = 0.05


async def hear_oom(cs: Containers, container_id: str) -> None:
    """Tell each time that memory ran out, until the run ends; what came before this engine too."""
    container, gone = cs.find(container_id), cs.live(container_id).next_exit
    try:
        cgroup = cs.runtime.cgroup(container_id)
        fd = await in_thread(cgroup.watch_oom)
    except (ProcessGone, OSError):  # it has ended already, or there are no limits of memory here
        return
    rang, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(fd, _hear, fd, rang)
    gone.add_done_callback(lambda _: rang.set())
    try:
        if cgroup.oom_kills() and not container.oom_killed:
            await _tell(cs, container)
        await _follow(cs, container, cgroup, rang, gone)
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _hear(fd: int, rang: asyncio.Event) -> None:
    with suppress(BlockingIOError):
        os.read(fd, 4096)
    rang.set()


async def _follow(
    cs: Containers, container: Container, cgroup: Cgroup, rang: asyncio.Event, gone: "asyncio.Future[int]"
) -> None:
    counted = cgroup.oom_kills()
    while True:
        await rang.wait()
        rang.clear()
        if gone.done():
            return
        kills = await _kills_beyond(cgroup, counted)
        if kills > counted or container.host_config.oom_kill_disable:  # then all wait, and nobody is killed
            await _tell(cs, container)
        counted = kills


async def _kills_beyond(cgroup: Cgroup, counted: int) -> int:
    """How many were killed by now.

    v1 rings when memory runs out, just before it counts who is killed for it, and tells no more; v2 rings for
    other news of memory too. So it is asked once again a moment later.
    """
    if (kills := cgroup.oom_kills()) > counted:
        return kills
    await asyncio.sleep(COUNTED_IN_S)
    return cgroup.oom_kills()


async def _tell(cs: Containers, container: Container) -> None:
    """The event, and State.OOMKilled; a run that has ended meanwhile has told it itself."""
    with suppress(NotFound):
        async with cs.locked(container.id) as now:
            if now.runs and now.started_ns == container.started_ns:
                cs.publish(await cs.record(now, oom_killed=True), "oom")
