"""Calls that may never come back: who waits waits for a while, and what comes too late is undone."""

import asyncio
import threading

import pytest
from tests.support.waiting import until

from lighterman.volumes.patience import patiently


async def test_a_result_and_a_failure_come_back() -> None:
    assert await patiently(lambda: 7, patience_s=10) == 7
    with pytest.raises(ZeroDivisionError):
        await patiently(lambda: 1 / 0, patience_s=10)


@pytest.mark.parametrize("how", ["late", "cancelled"])
async def test_what_comes_when_nobody_waits_any_more_is_undone(how: str) -> None:
    begun, go, undone = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        go.wait()

    waiting = asyncio.create_task(patiently(call, patience_s=0.01 if how == "late" else 60, undo=undone.set))
    await asyncio.to_thread(begun.wait)
    if how == "cancelled":
        waiting.cancel()
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await waiting
    assert not undone.is_set()
    go.set()
    await asyncio.to_thread(until, undone.is_set, what="the undo")


async def test_a_failure_that_comes_too_late_is_nobodys() -> None:
    go, ended, undone = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        go.wait()
        ended.set()
        raise OSError("gone")

    with pytest.raises(TimeoutError):
        await patiently(call, patience_s=0.01, undo=undone.set)
    go.set()
    await asyncio.to_thread(ended.wait)
    assert not undone.is_set()
