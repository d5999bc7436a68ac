"""A stall of the event loop is told with the line that caused it."""

import asyncio
import time

import pytest

from lighterman.daemon.watchdog import watched


def stall() -> None:
    time.sleep(0.1)  # what must never be done on the loop


async def test_a_stall_is_told_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    with watched(asyncio.get_running_loop()):
        stall()
        await asyncio.sleep(0)
    assert "the event loop stood still for" in caplog.text
    assert "in stall" in caplog.text
