"""Which writable layers are mounted, and for whom.

A layer is mounted for the one who *wants* it (the container that runs) and for *visitors* who look into it
meanwhile; when the last of them has gone it is taken away. Its end is told at once, and takes its time behind
everybody's back: it writes out all that is dirty. Never are two mounts of one upper made at a time: that is
allowed, and wrong.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux.userns import IdMap
from lighterman.snapshots import overlay

Make = Callable[[str, bool, IdMap | None], None]
"""Of a key: whether it is volatile, and by which map owners are shown."""


class Mounts:
    """The mounts of the layers below `root`. `make` mounts one of them; it blocks, and may raise."""

    def __init__(self, root: Path, make: Make, background: Background) -> None:
        self._root = root
        self._make = make
        self._background = background
        self.mounted = {point.parent.name for point in overlay.mount_points(root)}
        self._wanted = set(self.mounted)
        self._visits: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def mount(self, key: str, *, volatile: bool, id_map: IdMap | None = None) -> Path:
        """Where the layer is mounted now, until `unmount`. Idempotent."""
        async with self._lock(key):
            path = await self._need(key, volatile=volatile, id_map=id_map)
            self._wanted.add(key)
            return path

    async def unmount(self, key: str) -> None:
        """Nobody wants it any more: it goes with its last visitor. Idempotent."""
        self._wanted.discard(key)
        await self._end_if_unused(key)

    @asynccontextmanager
    async def visited(self, key: str, id_map: IdMap | None = None) -> AsyncIterator[Path]:
        """Where the layer is mounted while the block lasts, whoever mounts and unmounts it meanwhile."""
        self._visits[key] += 1
        try:
            async with self._lock(key):
                path = await self._need(key, volatile=False, id_map=id_map)
            yield path
        finally:
            self._visits[key] -= 1
            await to_end(self._end_if_unused(key))

    async def forget(self, key: str) -> None:
        """Take it away from visitors too. Idempotent."""
        self._wanted.discard(key)
        async with self._lock(key):
            await self._end(key)
        self._locks.pop(key, None)

    async def forget_to_end(self, key: str) -> None:
        """The same, and wait for the end of the file system itself: nothing changes its layer any more."""
        await self.forget(key)
        if ending := self._ending.get(key):
            await asyncio.wait([ending])

    async def ended(self) -> None:
        """Wait for the ends of all that was taken away."""
        while ending := list(self._ending.values()):
            await asyncio.wait(ending)

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _need(self, key: str, *, volatile: bool, id_map: IdMap | None) -> Path:
        if key not in self.mounted:
            if ending := self._ending.get(key):
                await ending
            await in_thread(self._make, key, volatile, id_map)
            self.mounted.add(key)
        return self._root / key / "merged"

    async def _end_if_unused(self, key: str) -> None:
        async with self._lock(key):
            if key not in self._wanted and not self._visits[key]:
                del self._visits[key]
                await self._end(key)

    async def _end(self, key: str) -> None:
        if key not in self.mounted:
            return
        trees = await in_thread(overlay.detach_all, self._root / key / "merged")
        self.mounted.discard(key)
        if trees:
            self._ending[key] = self._background.start(self._let_go, key, trees)

    async def _let_go(self, key: str, trees: list[int]) -> None:
        await in_thread(overlay.close_all, trees)
        with suppress(OSError):  # the layer may be in the trash by now
            overlay.forget_volatile(self._root / key / "work")
        self._ending.pop(key, None)
