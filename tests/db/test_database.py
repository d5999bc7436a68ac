"""Rows survive, transactions are whole."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from lighterman.db import Database, Put, Rows
from lighterman.linux.mount import mount, umount


class Boat(msgspec.Struct):
    name: str
    crew: list[str]


BOATS: Rows[Boat] = Rows("facts", Boat)


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.write(BOATS.put("a", Boat("Anna", ["Jo"])), BOATS.put("b", Boat("Berta", [])))
    await db.write(BOATS.delete("b"), durable=False)
    db.close()

    again = Database(tmp_path / "state.db")
    assert BOATS.load(again) == {"a": Boat("Anna", ["Jo"])}
    again.close()


async def test_a_failing_transaction_writes_nothing(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    with pytest.raises(sqlite3.Error):
        await db.write(Put("facts", "a", b"x"), Put("no such table", "b", b"x"))
    await db.write(Put("facts", "c", b"x"))
    assert [key for key, _ in db.rows("facts")] == ["c"]
    db.close()


async def test_delete_up_to_removes_all_smaller_keys(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.write(*(Put("facts", f"{n:03d}", b"") for n in range(5)))
    await db.write(BOATS.delete("002", up_to=True))
    assert [key for key, _ in db.rows("facts")] == ["003", "004"]
    db.close()


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(sqlite3.DatabaseError, match="newer"):
        Database(path)


@pytest.mark.engine
async def test_a_full_disk_stops_no_removal(tmp_path: Path) -> None:
    mount("tmpfs", str(tmp_path), "tmpfs", options="size=8m")
    try:
        db = Database(tmp_path / "state.db")
        await db.write(*(Put("facts", f"{n:03d}", b"x" * 2000) for n in range(100)))
        with (tmp_path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        for n in range(100):
            await db.write(BOATS.delete(f"{n:03d}"))
        assert db.rows("facts") == []
        db.close()
    finally:
        umount(str(tmp_path), detach=True)
