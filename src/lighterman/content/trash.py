"""The trash: what was removed is gone for everybody at once, and its bytes go in the background."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import islice

from lighterman.content.blobs import Content
from lighterman.content.jobs import EmptyDirectory
from lighterman.content.workers import Workers
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread

DELAY_S = 1.0
"""Removed trees are unlinked together, and not while somebody waits for the next container."""
SHORT_OF_BYTES = 256 << 20
"""With less on the disk what was removed is wanted back at once."""
FEW_ENTRIES = 256
"""So many are removed in a thread: what a container leaves is not worth the start of a worker process."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Trash:
    """Empties what `Content.discard` fills."""

    def __init__(
        self,
        content: Content,
        workers: Workers,
        background: Background,
        unused: Callable[[], Awaitable[None]],
    ) -> None:
        """`unused` returns when nobody has anything of it open or mounted any more."""
        self._content = content
        self._workers = workers
        self._background = background
        self._unused = unused
        self._emptying: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        content.on_discard = self._filled

    def empty(self) -> None:
        """See to it that it is emptied soon."""
        if self._emptying is None or self._emptying.done():
            self._emptying = self._background.start(self._empty)

    def close(self) -> None:
        """Leave what is there to the next start."""
        self._content.on_discard = lambda: None
        if self._emptying is not None:
            self._emptying.cancel()

    def _filled(self) -> None:
        self._loop.call_soon_threadsafe(self.empty)

    async def _empty(self) -> None:
        trash = self._content.root / "trash"
        if not _is_short(os.statvfs(trash)):
            await asyncio.sleep(DELAY_S)
        await self._unused()
        while any(trash.iterdir()):
            fd = os.open(trash, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if not await in_thread(emptied, fd, FEW_ENTRIES):
                    await self._workers.run(EmptyDirectory(), [fd])
            finally:
                os.close(fd)


def _is_short(disk: os.statvfs_result) -> bool:
    return disk.f_bavail * disk.f_frsize < SHORT_OF_BYTES


def emptied(directory: int, entries_max: int) -> bool:
    """Remove what an open directory holds, and whether that was all: it stops where there is more than
    `entries_max` files and directories. No link is followed. Blocking. Raises: OSError.
    """
    return _remove_entries(directory, entries_max) >= 0


def _remove_entries(directory: int, entries_max: int) -> int:
    """How many more could have been removed; negative: there are more than that."""
    with os.scandir(directory) as found:
        entries = list(islice(found, entries_max + 1))
    left = entries_max - len(entries)
    for entry in entries if left >= 0 else ():
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=directory)
            continue
        fd = os.open(entry.name, _DIRECTORY, dir_fd=directory)
        try:
            left = _remove_entries(fd, left)
        finally:
            os.close(fd)
        if left < 0:
            break
        os.rmdir(entry.name, dir_fd=directory)
    return left
