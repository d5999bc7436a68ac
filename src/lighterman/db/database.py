"""The file and its one writer."""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lighterman.db.migrations import MIGRATIONS, Migration, migrate
from lighterman.errdefs import System
from lighterman.lib.effects import to_end

TABLES = (
    "containers",
    "images",
    "references",
    "layers",
    "blobs",
    "networks",
    "volumes",
    "execs",
    "events",
    "plugins",
    "facts",
    "build_steps",
    "build_caches",
    "swarm_tasks",
    "leases",
)
"""Each holds `(key TEXT PRIMARY KEY, doc BLOB)`. `facts` holds single values, such as the engine's id."""

_ROOM_PAGES = 256
"""Of 4 KiB: a full disk stops no removal of a few hundred containers."""


class Put(Struct, frozen=True):
    """Insert or replace a row."""

    table: str
    key: str
    doc: bytes


class Delete(Struct, frozen=True):
    """Remove the rows whose key is `key`, or with `up_to` all whose key is not greater."""

    table: str
    key: str
    up_to: bool = False


Change = Put | Delete


class _Job(Struct, frozen=True):
    changes: Sequence[Change]
    durable: bool
    done: asyncio.Future[None] | None


class Database:
    """`state.db`: WAL, one writer thread, whole transactions.

    A durable write (`synchronous=FULL`, about 0.2 ms) is for what a client was told exists or is gone;
    the rest may lose its last moments in a power cut, never in a crash of the engine.
    """

    def __init__(self, path: Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Raises: System: the file is no database, or of a newer engine. BadRow: it cannot be migrated."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        path.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
        _for_root_alone(path)  # environments of containers are in it
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path, migrations)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise System(f"{path} cannot be used: {error}") from error
            raise
        self._writer = threading.Thread(target=self._write_all, name="db-writer", daemon=True)
        self._writer.start()

    def _prepare(self, path: Path, migrations: Sequence[Migration]) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        migrate(self._connection, path, migrations)
        for table in TABLES:
            self._connection.execute(
                f'CREATE TABLE IF NOT EXISTS "{table}" '
                "(key TEXT PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID"
            )
        self._keep_room()

    def rows(self, table: str) -> list[tuple[str, bytes]]:
        """All rows in the order of their keys. For the start of a room only: it blocks."""
        return self._connection.execute(f'SELECT key, doc FROM "{table}" ORDER BY key').fetchall()

    async def write(self, *changes: Change, durable: bool = True) -> None:
        """Write `changes` as one transaction.

        It cannot be called back: a cancellation that comes meanwhile strikes at the next await, when memory
        knows of it. Raises: System (disk full, for one); then nothing is written.
        """
        done = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(changes, durable, done))
        await to_end(_settled(done))

    def write_soon(self, *changes: Change) -> None:
        """Queue `changes` as one transaction that nobody waits for and a power cut may lose."""
        self._jobs.put(_Job(changes, False, None))

    def close(self) -> None:
        """Write what is queued, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._connection.close()

    def _keep_room(self) -> None:
        """Have free pages in the file and in its log, so that on a full disk containers can be removed."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free < _ROOM_PAGES // 2:
            self._connection.execute("INSERT INTO facts VALUES ('room', zeroblob(?))", (_ROOM_PAGES << 12,))
            self._connection.execute("DELETE FROM facts WHERE key = 'room'")
        self._connection.execute(f"PRAGMA wal_autocheckpoint={_ROOM_PAGES // 2}")
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            error: Exception | None = None
            try:
                self._transact(job)
            except sqlite3.Error as failure:
                error = System(f"state.db cannot be written: {failure}")
                error.__cause__ = failure
            if job.done is not None:
                job.done.get_loop().call_soon_threadsafe(_settle, job.done, error)

    def _transact(self, job: _Job) -> None:
        self._connection.execute(f"PRAGMA synchronous={'FULL' if job.durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for change in job.changes:
                match change:
                    case Put(table, key, doc):
                        self._connection.execute(f'REPLACE INTO "{table}" VALUES (?, ?)', (key, doc))
                    case Delete(table, key, up_to):
                        compare = "<=" if up_to else "="
                        self._connection.execute(f'DELETE FROM "{table}" WHERE key {compare} ?', (key,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _for_root_alone(path: Path) -> None:
    """Have the file, and let nobody else read it; its log gets the same mode from SQLite."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(FileNotFoundError):
            file.chmod(0o600)


async def _settled(done: asyncio.Future[None]) -> None:
    await done


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
