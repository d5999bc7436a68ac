"""Cancellation falls between effects; a failed body is undone; the first error is the one told."""

import asyncio
import threading

import pytest

from lighterman.errdefs import NotFound
from lighterman.lib.effects import in_thread, rollback, together


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
