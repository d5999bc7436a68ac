"""Work that nobody waits for, with somebody who owns it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")
log = logging.getLogger(__name__)


class Background:
    """The parent of tasks that outlive the request they began in; their failures are logged here."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[*Ts], Coroutine[Any, Any, None]], *args: *Ts) -> asyncio.Task[None]:
        """Run `work(*args)`; whoever wants may wait for the task, which never raises but when cancelled."""
        task = asyncio.get_running_loop().create_task(self._supervised(work, *args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, *, cancel: bool = False) -> None:
        """Wait for everything that runs, or cancel it first."""
        while self._tasks:
            tasks = list(self._tasks)
            if cancel:
                for task in tasks:
                    task.cancel()
            await asyncio.wait(tasks)

    async def _supervised(self, work: Callable[[*Ts], Coroutine[Any, Any, None]], *args: *Ts) -> None:
        try:
            await work(*args)
        except Exception:
            log.exception("background work failed")
