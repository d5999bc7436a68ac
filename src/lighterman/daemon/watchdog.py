"""Who holds up the event loop? In debug mode a thread knocks, and tells what it saw when nobody answered."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import FrameSummary

LIMIT_S = 0.020
PAUSE_S = 0.010
log = logging.getLogger(__name__)


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """While the block lasts, log each stall of `loop` over 20 ms with the stack that caused it.

    Call it in the loop's own thread. A stall shorter than 30 ms can fall between two knocks.
    """
    ended = threading.Event()
    watcher = threading.Thread(
        target=_knock, args=(loop, threading.get_ident(), ended), name="watchdog", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _knock(loop: asyncio.AbstractEventLoop, thread_id: int, ended: threading.Event) -> None:
    while not ended.wait(PAUSE_S):
        answered, asked = threading.Event(), time.perf_counter()
        loop.call_soon_threadsafe(answered.set)
        if answered.wait(LIMIT_S):
            continue
        stack = _stack_in_loop(thread_id)
        while not answered.wait(LIMIT_S) and not ended.is_set():
            pass
        if stack:
            stalled_ms = (time.perf_counter() - asked) * 1000
            log.warning("the event loop stood still for %.0f ms\n%s", stalled_ms, "".join(stack).rstrip())


def _stack_in_loop(thread_id: int) -> list[str]:
    """What runs in the loop; nothing when the loop only waits for a processor."""
    frames: list[FrameSummary] = []
    for frame, line in traceback.walk_stack(sys._current_frames().get(thread_id)):
        if frame.f_code is asyncio.Runner.run.__code__:
            break
        frames.append(FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name))
    return traceback.format_list(frames[::-1])
