"""The daemon with clocks round the steps of a start; run by `benchmarks.start_path` alone."""

import functools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from lighterman.__main__ import main
from lighterman.containers.state import Containers
from lighterman.networks import Networks
from lighterman.runtime import Runtime
from lighterman.snapshots import Snapshots

STEPS: tuple[tuple[type, str, str], ...] = (
    (Snapshots, "mount", "mount the root (overlay)"),
    (Networks, "connect", "connect the network (netns, veth, nft)"),
    (Runtime, "run", "run (zygote, monitor, crun, report)"),
    (Containers, "record", "record (SQLite)"),
)

OUT = os.open(os.environ["LIGHTERMAN_CLOCKED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)


def clocked(call: Callable[..., Awaitable[Any]], step: str) -> Callable[..., Awaitable[Any]]:
    """`call`, with a line for the time that each took."""

    @functools.wraps(call)
    async def timed(*args: Any, **more: Any) -> Any:
        began = time.perf_counter()
        try:
            return await call(*args, **more)
        finally:
            taken = {"step": step, "ms": (time.perf_counter() - began) * 1000}
            os.write(OUT, json.dumps(taken).encode() + b"\n")

    return timed


for owner, name, step in STEPS:
    setattr(owner, name, clocked(getattr(owner, name), step))
main(sys.argv[1:])
