"""Calls that may never come back: the server of a file system is gone.

Each has a thread of its own, so it holds up nobody but those who wait for it, and these not for ever. What
comes about after all, when nobody waits any more, is undone.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


async def patiently(
    call: Callable[[], T], *, patience_s: float, undo: Callable[[], None] = lambda: None
) -> T:
    """The result of `call()`, made in a thread of its own. Raises: TimeoutError, and what it raises."""
    waiting = _Call(call, undo)
    threading.Thread(target=waiting.run, name="volumes", daemon=True).start()
    try:
        async with asyncio.timeout(patience_s):
            return await asyncio.shield(waiting.answer)
    except (TimeoutError, asyncio.CancelledError):
        waiting.give_up()
        raise


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T], undo: Callable[[], None]) -> None:
        self._call = call
        self._undo = undo
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        self._lock = threading.Lock()
        self._given_up = self._done = False

    def run(self) -> None:
        """In the thread."""
        failure: BaseException | None = None
        try:
            result = self._call()
        except BaseException as error:
            failure = error
        with self._lock:
            self._done = True
            wanted = not self._given_up
        if wanted and failure is None:
            self._tell(self.answer.set_result, result)
        elif wanted and failure is not None:
            self._tell(self.answer.set_exception, failure)
        elif failure is None:
            self._undo()

    def give_up(self) -> None:
        """Nobody waits any more: it is undone, now or as soon as it has come about."""
        with self._lock:
            self._given_up, late = True, not self._done
        if not late:  # it was done in the same moment
            self.answer.cancel()
            threading.Thread(target=self._undo, daemon=True).start()

    def _tell(self, settle: Callable[..., None], value: object) -> None:
        def settle_if_wanted() -> None:
            if not self.answer.done():
                settle(value)

        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            self._loop.call_soon_threadsafe(settle_if_wanted)
