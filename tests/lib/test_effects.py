"""Cancellation falls between effects; a failed body is undone; the first error is the one told."""

import asyncio
import threading
from functools import partial

import pytest

from lighterman.errdefs import NotFound
from lighterman.lib.effects import Group, in_thread, rollback, to_end, together


async def test_a_failed_body_is_undone_last_step_first() -> None:
    undone: list[int] = []
    with pytest.raises(NotFound):
        async with rollback() as undo:
            undo.callback(undone.append, 1)
            undo.callback(undone.append, 2)
            raise NotFound("gone")
    assert undone == [2, 1]


async def test_a_body_that_succeeds_is_not_undone() -> None:
    undone: list[int] = []
    async with rollback() as undo:
        undo.callback(undone.append, 1)
    assert undone == []


async def test_the_error_of_an_undo_does_not_hide_the_first_error() -> None:
    def fails() -> None:
        raise OSError("undo failed too")

    with pytest.raises(NotFound):
        async with rollback() as undo:
            undo.callback(fails)
            raise NotFound("gone")


async def test_together_raises_the_first_error_itself_and_cancels_the_rest() -> None:
    cancelled = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fails() -> None:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        await together(waits(), fails())
    assert cancelled.is_set()


async def test_a_thread_that_began_is_waited_for_before_cancellation_strikes() -> None:
    begun, go_on = threading.Event(), threading.Event()
    finished: list[bool] = []

    def effect() -> None:
        begun.set()
        go_on.wait(5)
        finished.append(True)

    task = asyncio.create_task(in_thread(effect))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    go_on.set()
    await asyncio.wait([task])
    assert finished == [True]


async def test_a_cancellation_that_meets_an_error_of_the_group_strikes_after_it() -> None:
    """Whoever goes on after errors ends nevertheless."""
    failed, go_on = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        await failed.wait()
        raise NotFound("gone")

    async def goes_on_after_errors() -> None:
        try:
            async with Group() as group:
                group.create_task(fails())
                await to_end(go_on.wait())
                await asyncio.Event().wait()
        except* NotFound:
            pass
        await asyncio.sleep(0)

    task = asyncio.create_task(goes_on_after_errors())
    await asyncio.sleep(0)
    failed.set()
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_group_that_fails_leaves_nobody_cancelled() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise NotFound("gone")

    for body in (asyncio.Event().wait, partial(asyncio.sleep, 0)):
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                group.create_task(fails())
                await body()
        me = asyncio.current_task()
        assert me is not None
        assert me.cancelling() == 0
        await asyncio.sleep(0)
