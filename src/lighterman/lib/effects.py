"""Effects that begin, end or are undone: what cancellation may and may not do here.

Three words. An *effect* is one small call that changes the world; an *undo* is the idempotent call that
takes it back; a *point of no return* is the record written last. Cancellation falls between effects,
never inside one: `in_thread` and `to_end` see to that. `rollback` runs the undo steps of a failed body,
`together` runs effects side by side and raises the first error itself, so that a 404 stays a 404. `Group` is
a TaskGroup that loses no cancellation.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, overload

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
Ts = TypeVarTuple("Ts")
log = logging.getLogger(__name__)


async def to_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end; a cancellation that came meanwhile strikes at the next await."""
    task, me, cancelled = asyncio.ensure_future(work), asyncio.current_task(), False
    assert me is not None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        me.uncancel()  # keeps the count right for timeout() and TaskGroup
        me.cancel()
    return task.result()


async def in_thread(call: Callable[[*Ts], T], *args: *Ts) -> T:
    """The result of `call(*args)`, run in a thread: it does not begin, is done, or has failed."""
    await asyncio.sleep(0)  # a pending cancellation strikes here, before the effect begins
    return await to_end(asyncio.to_thread(call, *args))


@asynccontextmanager
async def rollback() -> AsyncIterator[AsyncExitStack]:
    """Run the pushed undo steps, last first, if the body fails; forget them if it succeeds."""
    undo = AsyncExitStack()
    try:
        yield undo
    except BaseException:
        try:
            await to_end(undo.aclose())
        except Exception:  # the first error is the one to tell; reconcile at start finishes the undo
            log.exception("undo failed")
        raise


if sys.version_info >= (3, 13):
    Group = asyncio.TaskGroup
else:

    class Group(asyncio.TaskGroup):
        """Tasks that end with their block; a cancellation that comes while they fail is not forgotten.

        TaskGroup raises the errors of its tasks and drops the cancellation that has met them: whoever handles
        the errors and goes on would never end. Here it strikes at the next await, as in CPython 3.13
        (gh-116720), and the group takes its own cancellation of the parent back in any case.
        """

        _parent_cancel_requested: bool  # of TaskGroup

        async def __aenter__(self) -> Self:
            me = asyncio.current_task()
            self._cancels_before = me.cancelling() if me is not None else 0
            return await super().__aenter__()

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            taken_back = self._parent_cancel_requested
            try:
                await super().__aexit__(kind, error, trace)
            except BaseExceptionGroup:
                me = asyncio.current_task()
                assert me is not None
                if self._parent_cancel_requested and not taken_back:
                    me.uncancel()
                if me.cancelling() > self._cancels_before:
                    me.uncancel()  # keeps the count right
                    me.cancel()
                raise


@overload
async def together(a: Coroutine[Any, Any, T1], b: Coroutine[Any, Any, T2], /) -> tuple[T1, T2]: ...
@overload
async def together(
    a: Coroutine[Any, Any, T1], b: Coroutine[Any, Any, T2], c: Coroutine[Any, Any, T3], /
) -> tuple[T1, T2, T3]: ...
async def together(*works: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """The results of `works`, run side by side. The first error cancels the others and is raised itself."""
    try:
        async with Group() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return tuple(task.result() for task in tasks)
