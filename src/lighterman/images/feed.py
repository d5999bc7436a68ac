"""A client's upload, given to a worker as it comes."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from lighterman.content import Layer as Unpacked
from lighterman.content import OpenFile, SpoolArchive, UnpackLayer, Workers
from lighterman.images.layers import OnStep
from lighterman.lib.effects import together


async def unpack_upload(
    workers: Workers, ingest: Path, stream: AsyncIterator[bytes], on_step: OnStep | None = None
) -> Unpacked:
    """Unpack the tar that a client sends into a fresh ingest directory. Raises: JobFailed."""
    with _Pipe(ingest) as pipe:
        job = UnpackLayer(OpenFile())
        unpacked, _ = await together(workers.run(job, pipe.fds, on_step), pipe.feed(stream))
        return unpacked


async def spool_upload(
    workers: Workers, ingest: Path, stream: AsyncIterator[bytes], on_step: OnStep | None = None
) -> None:
    """Write the files of the archive that a client sends to an ingest directory. Raises: JobFailed."""
    with _Pipe(ingest) as pipe:
        await together(workers.run(SpoolArchive(), pipe.fds, on_step), pipe.feed(stream))


class _Pipe:
    """The way from the connection to a worker; a worker that reads slowly slows the client."""

    def __init__(self, ingest: Path) -> None:
        self._directory = os.open(ingest, os.O_RDONLY | os.O_DIRECTORY)
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.fds = [self._directory, self._theirs.fileno()]

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()
        os.close(self._directory)

    async def feed(self, stream: AsyncIterator[bytes]) -> None:
        """Pass everything on. A worker that wants no more says why in its answer."""
        loop = asyncio.get_running_loop()
        async for chunk in stream:
            try:
                await loop.sock_sendall(self._ours, chunk)
            except (BrokenPipeError, ConnectionResetError):
                return
        self._ours.shutdown(socket.SHUT_WR)
