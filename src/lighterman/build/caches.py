"""Directories that outlive builds: `RUN --mount=type=cache`.

```
build/caches/<digest of id>/<number>   number 0 but for those who want one of their own at the same time
```
What a cache is called and when it was used is a row; a directory without a row is thrown away with the next
prune.
"""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec import Struct, structs

from lighterman.content import Content, CountUsage, JobFailed, Workers
from lighterman.db import Database, Rows
from lighterman.errdefs import System
from lighterman.lib.dockerfile import RunMount
from lighterman.lib.effects import in_thread


class CacheDirectory(Struct, frozen=True):
    """What is remembered of a cache."""

    id: str
    """As the Dockerfile calls it."""
    created_ns: int
    used_ns: int
    uses: int = 0


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

    def __iter__(self) -> Iterator[tuple[str, CacheDirectory]]:
        return iter(list(self._rows.items()))

    def in_use(self, key: str) -> bool:
        """Whether a step has it mounted."""
        return self._users[key] > 0

    @asynccontextmanager
    async def held(self, mount: RunMount, target: str) -> AsyncIterator[Path]:
        """The directory of a cache, made if it is new. Raises: System."""
        name = mount.id or target
        digest = hashlib.sha256(name.encode()).hexdigest()
        if mount.sharing == "locked":
            lock = self._locks.setdefault(digest, asyncio.Lock())
            async with lock, self._used(f"{digest}/0", name, mount) as path:
                yield path
            return
        number = 0
        while mount.sharing == "private" and self._users[f"{digest}/{number}"]:
            number += 1
        async with self._used(f"{digest}/{number}", name, mount) as path:
            yield path

    @asynccontextmanager
    async def _used(self, key: str, name: str, mount: RunMount) -> AsyncIterator[Path]:
        self._users[key] += 1
        try:
            now_ns = time.time_ns()
            known = self._rows.get(key) or CacheDirectory(name, now_ns, now_ns)
            self._rows[key] = row = structs.replace(known, used_ns=now_ns, uses=known.uses + 1)
            self._db.write_soon(_ROWS.put(key, row))
            try:
                await in_thread(_make, self._root / key, mount)
            except OSError as error:
                raise System(f"cannot make the cache {name}: {error}") from error
            yield self._root / key
        finally:
            self._users[key] -= 1

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


def _make(path: Path, mount: RunMount) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:  # from before, or by another step just now
        return
    os.chown(path, mount.uid or 0, mount.gid or 0)
    os.chmod(path, 0o755 if mount.mode is None else mount.mode)
