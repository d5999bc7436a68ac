"""The file as it is at the moment, for who only looks: an engine may go on writing."""

import sqlite3
from pathlib import Path
from typing import Protocol
from urllib.parse import quote


class Readable(Protocol):
    """What rows can be read from."""

    def rows(self, table: str) -> list[tuple[str, bytes]]:
        """All rows in the order of their keys."""


class Reading:
    """`state.db`, never changed. Blocking; to be closed."""

    def __init__(self, path: Path) -> None:
        """Raises: FileNotFoundError, sqlite3.Error."""
        if not path.exists():
            raise FileNotFoundError(path)
        self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        self._connection.execute("BEGIN")  # everything that is read is of one moment

    def rows(self, table: str) -> list[tuple[str, bytes]]:
        """All rows in the order of their keys."""
        return self._connection.execute(f'SELECT key, doc FROM "{table}" ORDER BY key').fetchall()

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        try:
            found = self._connection.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [text for (text,) in found if text != "ok"]

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
