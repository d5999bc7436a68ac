"""Layers of an archive that are unpacked while the rest of it still arrives.

What the archive is made of is said at its end, as a rule; so whatever looks like a layer is unpacked at once,
into an ingest directory of its own. A wish for that layer takes the result over; what nobody wished for, and
what turned out to be no layer, goes to the trash.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lighterman.content import Content, OpenFile, Step, UnpackLayer, Workers
from lighterman.content import Layer as Unpacked
from lighterman.images.archive import Spool
from lighterman.images.layers import AT_A_TIME, OnStep
from lighterman.lib.effects import in_thread, to_end
from lighterman.registry import LAYERS_MAX


@dataclass(eq=False)
class _Begun:
    """A member on its way to be a layer."""

    ingest: Path
    listeners: list[OnStep] = field(default_factory=list)
    task: "asyncio.Task[Unpacked]" = field(init=False)

    def tell(self, step: Step) -> None:
        """Let who waits for it know."""
        for listener in self.listeners:
            listener(step)


class Early:
    """The layers of one archive that are begun before they are wished for."""

    def __init__(self, content: Content, workers: Workers, spool: Spool) -> None:
        self._content = content
        self._workers = workers
        self._spool = spool
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._begun: dict[str, _Begun] = {}
        self._dropped: list[_Begun] = []

    def arrived(self, member: str) -> None:
        """Begin with a member that is in its file now; of two with one name the later counts."""
        if before := self._begun.pop(member, None):
            before.task.cancel()
            self._dropped.append(before)
        if len(self._begun) < LAYERS_MAX:
            begun = self._begun[member] = _Begun(self._content.new_ingest())
            # its parent is `early_layers`, which sees its end
            begun.task = asyncio.ensure_future(self._unpack(member, begun))

    async def take(self, member: str, directory: int, on_step: OnStep) -> Unpacked | None:
        """Move what became of a member to an open ingest directory; None: it was not begun.

        Raises: JobFailed.
        """
        begun = self._begun.pop(member, None)
        if begun is None:
            return None
        self._dropped.append(begun)
        begun.listeners.append(on_step)
        unpacked = await asyncio.shield(begun.task)
        await in_thread(_move, begun.ingest, directory)
        return unpacked

    async def end(self) -> None:
        """Stop and throw away what nobody took."""
        left = [*self._begun.values(), *self._dropped]
        for begun in left:
            begun.task.cancel()
        if left:
            await asyncio.wait([begun.task for begun in left])
        for begun in left:
            await in_thread(self._content.discard, begun.ingest)

    async def _unpack(self, member: str, begun: _Begun) -> Unpacked:
        async with self._slots:
            directory = os.open(begun.ingest, os.O_RDONLY | os.O_DIRECTORY)
            file = os.open(self._spool.path(member), os.O_RDONLY)
            try:
                job = UnpackLayer(OpenFile(), size=os.fstat(file).st_size)
                return await self._workers.run(job, [directory, file], begun.tell)
            finally:
                os.close(file)
                os.close(directory)


def _move(ingest: Path, directory: int) -> None:
    for name in ("blob", "diff"):
        os.rename(ingest / name, name, dst_dir_fd=directory)


@asynccontextmanager
async def early_layers(content: Content, workers: Workers, spool: Spool) -> AsyncIterator[Early]:
    """Begun layers for the length of a block."""
    early = Early(content, workers, spool)
    try:
        yield early
    finally:
        await to_end(early.end())
