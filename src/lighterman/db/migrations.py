"""From the rows of an older engine to those of this one.

All rows of a file are of one version, `PRAGMA user_version`. A change of a room by which older rows would be
misread (a field renamed, its meaning or unit changed; a new field with a default needs nothing) adds a
`Migration` at the end of `MIGRATIONS`. What is pending is done in one transaction when the file is opened,
and the file as it was is kept beside it, so that the older engine can be started again.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lighterman.db.errors import BadRow
from lighterman.errdefs import System

FIRST_VERSION = 1
log = logging.getLogger(__name__)


class Migration(Struct, frozen=True):
    """One step: what becomes of each row of `table`."""

    table: str
    why: str
    change: Callable[[str, Any], Any]
    """(key, document as plain values) -> the new document; None removes the row."""


MIGRATIONS: tuple[Migration, ...] = ()
"""In the order in which they came; the file's version is `FIRST_VERSION` and one for each."""


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the rows of the file at `path` up to date; a new file has no tables yet.

    Raises: System: the file is of a newer engine, or of none of ours. BadRow. Then nothing is changed.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = FIRST_VERSION + len(migrations)
    if version > newest:
        raise System(
            f"{path} was written by a newer Lighterman (rows of version {version}, this one knows {newest}): "
            "start that one, or take a backup"
        )
    if version == 0 and _has_tables(connection):
        raise System(f"{path} was not written by Lighterman: name another --data-root")
    pending = migrations[version - FIRST_VERSION :] if version else ()
    if pending:
        kept = path.with_name(f"{path.name}.v{version}")
        kept.unlink(missing_ok=True)
        kept.touch(mode=0o600)
        connection.execute("VACUUM INTO ?", (str(kept),))
        log.info("op=migrate from=%d to=%d kept=%s", version, newest, kept)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in pending:
            _change_rows(connection, migration)
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master").fetchone())


def _change_rows(connection: sqlite3.Connection, migration: Migration) -> None:
    rows = connection.execute(f'SELECT key, doc FROM "{migration.table}"').fetchall()
    for key, doc in rows:
        try:
            changed = migration.change(key, msgspec.msgpack.decode(doc))
        except Exception as error:  # whatever the row lacks: it is told with its name, and nothing is changed
            raise BadRow(migration.table, key, f"{migration.why}: {error!r}") from error
        if changed is None:
            connection.execute(f'DELETE FROM "{migration.table}" WHERE key = ?', (key,))
        else:
            doc = msgspec.msgpack.encode(changed)
            connection.execute(f'REPLACE INTO "{migration.table}" VALUES (?, ?)', (key, doc))
