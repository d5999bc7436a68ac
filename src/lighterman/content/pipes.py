"""Bytes on their way between a client and a worker: a pipe whose slower end slows the other one.

`written` gives what a job writes to its last open file; `fed` gives a job what a client sends. The worker
dies with the caller in both.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress

from lighterman.content.jobs import PRELUDE_LENGTH_BYTES, Job, R
from lighterman.content.workers import Workers
from lighterman.lib.effects import to_end, together

PIPE_BYTES = 1 << 20
"""The most that an ordinary process may ask for (pipe-max-size)."""


async def written(workers: Workers, job: Job[R], fds: Sequence[int]) -> AsyncGenerator[bytes, None]:
    """What `job` writes to a pipe that it gets behind `fds`, piece by piece.

    Closing the generator ends the job. Raises: JobFailed, behind what was written before.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    with suppress(OSError):  # users have a limit for all their pipes together
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
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
            readable = loop.create_future()
        loop.add_reader(fd, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(fd)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def fed(workers: Workers, job: Job[R], fds: Sequence[int], stream: AsyncIterator[bytes]) -> R:
    """The answer of `job`, which reads `stream` from an open file that it gets behind `fds`.

    Raises: JobFailed, and what the stream raises.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        answer, _ = await together(workers.run(job, [*fds, theirs.fileno()]), _feed(ours, stream))
        return answer


async def _feed(sock: socket.socket, stream: AsyncIterator[bytes]) -> None:
    """Pass everything on. A worker that wants no more says why in its answer."""
    loop = asyncio.get_running_loop()
    async for chunk in stream:
        try:
            await loop.sock_sendall(sock, chunk)
        except (BrokenPipeError, ConnectionResetError):
            return
    sock.shutdown(socket.SHUT_WR)
