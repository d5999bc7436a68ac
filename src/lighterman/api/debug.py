"""What goes on inside the engine: GET /debug/..., served only in debug mode, and a dump on SIGUSR1.

dockerd has Go's profiles and variables there; here it is what Python can tell: numbers of this process, and
the stack of every task and thread. Nothing of requests' bodies or of containers' environments is in it.
"""

import asyncio
import gc
import io
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from lighterman.api.request import PLAIN_TEXT, Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.errdefs import NotFound

log = logging.getLogger(__name__)


async def variables(request: Request, rooms: Rooms) -> Answer:
    """Numbers of the process."""
    _check(rooms)
    return reply(
        {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "open_files": len(os.listdir("/proc/self/fd")),
            "resident_bytes": _resident_bytes(),
            "objects": len(gc.get_objects()),
            "collections": [each["collections"] for each in gc.get_stats()],
            "containers": len(rooms.containers),
            "images": len(rooms.images),
            "events_listeners": rooms.events.listeners,
        }
    )


async def stacks(request: Request, rooms: Rooms) -> Answer:
    """The stack of each task and each thread."""
    _check(rooms)
    return Reply(200, all_stacks().encode(), PLAIN_TEXT)


def _check(rooms: Rooms) -> None:
    if not rooms.engine.debug:
        raise NotFound("page not found")


def all_stacks() -> str:
    """What every task and every thread is doing. Call it on the event loop."""
    out = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        out.write(f"task {task.get_name()}\n")
        task.print_stack(file=out)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        out.write(f"thread {names.get(ident, ident)}\n")
        traceback.print_stack(frame, file=out)
    return out.getvalue()


def dump_stacks(directory: Path) -> None:
    """Write them to a file in `directory` that only root reads, and say where it is."""
    path = directory / f"stacks-{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w") as file:
        file.write(all_stacks())
    log.info("op=dump-stacks file=%s", path)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
