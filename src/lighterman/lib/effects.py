"""Effects that begin, end or are undone: what cancellation may and may not do here.

Three words. An *effect* is one small call that changes the world; an *undo* is the idempotent call that
takes it back; a *point of no return* is the record written last. Cancellation falls between effects,
never inside one: `in_thread` and `to_end` see to that. `rollback` runs the undo steps of a failed body,
`together` runs effects side by side and raises the first error itself, so that a 404 stays a 404.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple, overload

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


@overload
async def together(a: Coroutine[Any, Any, T1], b: Coroutine[Any, Any, T2], /) -> tuple[T1, T2]: ...
@overload
async def together(
    a: Coroutine[Any, Any, T1], b: Coroutine[Any, Any, T2], c: Coroutine[Any, Any, T3], /
) -> tuple[T1, T2, T3]: ...
async def together(*works: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """The results of `works`, run side by side. The first error cancels the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return tuple(task.result() for task in tasks)
