"""Waiting for the end of a run, or of a container."""

import asyncio
from collections.abc import Awaitable

from lighterman.apitypes.container import ContainerWaitResponse
from lighterman.containers.ending import is_at_rest
from lighterman.containers.life import exit_code
from lighterman.containers.state import Containers


def wait(cs: Containers, ref: str, condition: str = "") -> Awaitable[ContainerWaitResponse]:
    """Watch from now on; the answer comes when awaited: "not-running", "next-exit" or "removed".

    Raises at once: NoSuchContainer. An unknown condition is "not-running". Source: ContainerWait.
    """
    container = cs.find(ref)
    live = cs.live(container.id)
    if condition == "removed":
        return _answer(live.removed)
    if condition == "next-exit" or not is_at_rest(container):
        return _answer(live.next_exit)
    now: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    now.set_result(exit_code(container.life))
    return _answer(now)


async def _answer(code: "asyncio.Future[int]") -> ContainerWaitResponse:
    # many may wait for one end: a client that hangs up cancels its own wait only
    return ContainerWaitResponse(error=None, status_code=await asyncio.shield(code))
