"""Directories that outlive builds: `RUN --mount=type=cache`.

```
build/caches/<digest of id>/<number>   number 0 but for those who want one of their own at the same time
```
A cache that begins with files of a stage or an image is another one for each content that it may begin with.
What a cache is called and when it was used is a row; a directory without a row is thrown away with the next
prune.
"""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec import Struct, structs

from lighterman.content import Content, CountUsage, JobFailed, Workers
from lighterman.db import Database, Rows
from lighterman.errdefs import System
from lighterman.lib.dockerfile import RunMount
from lighterman.lib.effects import in_thread, to_end


class CacheDirectory(Struct, frozen=True):
    """What is remembered of a cache."""

    id: str
    """As the Dockerfile calls it."""
    created_ns: int
    used_ns: int
    uses: int = 0


class Beginning(Struct, frozen=True):
    """The files that a new cache begins with."""

    digest: str
    put: Callable[[Path], Awaitable[None]]
    """Puts them into a new directory. Raises: InvalidParameter, System."""


_ROWS: Rows[CacheDirectory] = Rows("build_caches", CacheDirectory)


class Caches:
    """The cache mounts of this engine."""

    def __init__(self, db: Database, content: Content, workers: Workers) -> None:
        self._db = db
        self._content = content
        self._workers = workers
        self._root = content.root / "build" / "caches"
        self._rows = _ROWS.load(db)
        self._users: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}
        self._making: dict[str, asyncio.Lock] = {}

    def __iter__(self) -> Iterator[tuple[str, CacheDirectory]]:
        return iter(list(self._rows.items()))

    def in_use(self, key: str) -> bool:
        """Whether a step has it mounted."""
        return self._users[key] > 0

    @asynccontextmanager
    async def held(
        self, mount: RunMount, target: str, beginning: Beginning | None = None
    ) -> AsyncIterator[Path]:
        """The directory of a cache, made if it is new. Raises: System, and what `beginning` raises."""
        name = mount.id or target
        told = f"{name}\0{beginning.digest}" if beginning else name
        digest = hashlib.sha256(told.encode()).hexdigest()
        if mount.sharing == "locked":
            lock = self._locks.setdefault(digest, asyncio.Lock())
            async with lock, self._used(f"{digest}/0", name, mount, beginning) as path:
                yield path
            return
        number = 0
        while mount.sharing == "private" and self._users[f"{digest}/{number}"]:
            number += 1
        async with self._used(f"{digest}/{number}", name, mount, beginning) as path:
            yield path

    @asynccontextmanager
    async def _used(
        self, key: str, name: str, mount: RunMount, beginning: Beginning | None
    ) -> AsyncIterator[Path]:
        self._users[key] += 1
        try:
            now_ns = time.time_ns()
            known = self._rows.get(key) or CacheDirectory(name, now_ns, now_ns)
            self._rows[key] = row = structs.replace(known, used_ns=now_ns, uses=known.uses + 1)
            self._db.write_soon(_ROWS.put(key, row))
            async with self._making.setdefault(key, asyncio.Lock()):
                try:
                    await self._need(self._root / key, mount, beginning)
                except OSError as error:
                    raise System(f"cannot make the cache {name}: {error}") from error
            yield self._root / key
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                self._making.pop(key, None)

    async def _need(self, path: Path, mount: RunMount, beginning: Beginning | None) -> None:
        if await in_thread(path.exists):
            return
        ingest = await in_thread(self._content.new_ingest)
        try:
            await in_thread((ingest / "cache").mkdir)
            if beginning:
                await beginning.put(ingest / "cache")
            await in_thread(_own, ingest / "cache", mount, beginning)
            await in_thread(lambda: path.parent.mkdir(mode=0o700, parents=True, exist_ok=True))
            await in_thread(os.rename, ingest / "cache", path)
        finally:
            await to_end(in_thread(self._content.discard, ingest))

    async def size(self, key: str) -> int:
        """Bytes of its files; 0 when it is not there."""
        try:
            fd = await in_thread(os.open, self._root / key, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return 0
        try:
            return (await self._workers.run(CountUsage(), [fd])).size_bytes
        except JobFailed as error:
            raise System(f"cannot count the cache {key}: {error}") from error
        finally:
            os.close(fd)

    async def remove(self, key: str) -> None:
        """Throw a cache away. Idempotent."""
        await in_thread(self._discard, self._root / key)
        if self._rows.pop(key, None) is not None:
            await self._db.write(_ROWS.delete(key))

    def _discard(self, path: Path) -> None:
        self._content.discard(path)
        for above in (path.parent, self._root, self._root.parent):
            with suppress(OSError):  # others are in it, or it is gone already
                above.rmdir()


def _own(path: Path, mount: RunMount, beginning: Beginning | None) -> None:
    """Give a new cache its owner and mode; one with files has those of their directory, if none is wished."""
    as_it_is = -1 if beginning else 0
    os.chown(
        path,
        as_it_is if mount.uid is None else mount.uid,
        as_it_is if mount.gid is None else mount.gid,
    )
    if mount.mode is not None or not beginning:
        os.chmod(path, 0o755 if mount.mode is None else mount.mode)
