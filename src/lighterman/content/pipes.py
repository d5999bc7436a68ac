"""Bytes on their way between a client and a worker: a pipe whose slower end slows the other one.

`written` gives what a job writes to its last open file; `fed` gives a job what a client sends. The worker
dies with the caller in both.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from lighterman.content.jobs import PRELUDE_LENGTH_BYTES, Job, R
from lighterman.content.workers import Workers
from lighterman.lib.effects import to_end, together

PIPE_BYTES = 1 << 20
"""The most that an ordinary process may ask for (pipe-max-size)."""


async def written(workers: Workers, job: Job[R], fds: Sequence[int]) -> AsyncGenerator[bytes, None]:
    """What `job` writes to a pipe that it gets behind `fds`, piece by piece.

    Closing the generator ends the job. Raises: JobFailed, behind what was written before.
    """
    ours, theirs = _pipe()
    os.set_blocking(ours, False)
    running = asyncio.ensure_future(workers.run(job, [*fds, theirs]))
    # while it is open here, the job's end of it is not the end of what comes
    running.add_done_callback(lambda _: os.close(theirs))
    try:
        while piece := await _read(ours):
            yield piece
        await running
    finally:
        running.cancel()
        await to_end(_ended(running))
        os.close(ours)


async def read_prelude(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The prelude of what a job writes as the first piece, then all that follows it."""
    async with aclosing(pieces):
        head = b""
        async for piece in pieces:
            head += piece
            end = PRELUDE_LENGTH_BYTES + int.from_bytes(head[:PRELUDE_LENGTH_BYTES], "big")
            if len(head) >= max(end, PRELUDE_LENGTH_BYTES):
                break
        yield head[PRELUDE_LENGTH_BYTES:end]
        if rest := head[end:]:
            yield rest
        async for piece in pieces:
            yield piece


async def _ended(running: "asyncio.Future[R]") -> None:
    await asyncio.wait([running])


async def _read(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, PIPE_BYTES)
        except BlockingIOError:
            await _ready(fd, loop.add_reader, loop.remove_reader)


async def fed(workers: Workers, job: Job[R], fds: Sequence[int], stream: AsyncIterator[bytes]) -> R:
    """The answer of `job`, which reads `stream` from a pipe that it gets behind `fds`.

    Raises: JobFailed, and what the stream raises.
    """
    theirs, ours = _pipe()
    os.set_blocking(ours, False)
    pipe = _Pipe(ours)
    try:
        running = _ended_with(workers.run(job, [*fds, theirs]), theirs)
        answer, _ = await together(running, pipe.feed(stream))
        return answer
    finally:
        pipe.close()


async def _ended_with(work: Coroutine[Any, Any, R], fd: int) -> R:
    """The answer of `work`; then `fd` is closed, so that nobody waits for a reader who is gone."""
    try:
        return await work
    finally:
        os.close(fd)


class _Pipe:
    """The end of a pipe that is written to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def feed(self, stream: AsyncIterator[bytes]) -> None:
        """Pass everything on, then close. A worker that wants no more says why in its answer."""
        with suppress(BrokenPipeError):
            async for chunk in stream:
                await self._write(memoryview(chunk))
        self.close()

    async def _write(self, piece: memoryview) -> None:
        loop = asyncio.get_running_loop()
        while piece:
            try:
                piece = piece[os.write(self._fd, piece) :]
            except BlockingIOError:
                await _ready(self._fd, loop.add_writer, loop.remove_writer)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _pipe() -> tuple[int, int]:
    """Both ends of a new pipe, as large as may be."""
    ends = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):  # users have a limit for all their pipes together
        fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


async def _ready(fd: int, add: Callable[..., None], remove: Callable[[int], object]) -> None:
    """Wait until the loop's `add` and `remove` of a watcher tell that `fd` is ready."""
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(fd, _settle, ready)
    try:
        await ready
    finally:
        remove(fd)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
