"""Rows survive, transactions are whole."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from lighterman.db import BadRow, Database, Migration, Put, Rows
from lighterman.errdefs import System
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


def test_nobody_else_reads_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch(mode=0o644)  # as engines before left it
    db = Database(path)
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == dict.fromkeys(
        ("state.db", "state.db-wal", "state.db-shm"), 0o600
    )
    db.close()


async def test_a_failing_transaction_writes_nothing(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    with pytest.raises(System, match=r"state\.db cannot be written: "):
        await db.write(Put("facts", "a", b"x"), Put("no such table", "b", b"x"))
    await db.write(Put("facts", "c", b"x"))
    assert [key for key, _ in db.rows("facts")] == ["c"]
    db.close()


async def test_a_cancelled_write_is_done_before_the_cancellation_strikes(tmp_path: Path) -> None:
    db, memory = Database(tmp_path / "state.db"), list[str]()

    async def change() -> None:
        await db.write(Put("facts", "a", b"1"))
        memory.append("a")
        await asyncio.Event().wait()

    task = asyncio.create_task(change())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory == [key for key, _ in db.rows("facts")] == ["a"]
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
    with pytest.raises(System, match=r"written by a newer Lighterman \(rows of version 99, this one knows"):
        Database(path)


def test_a_file_that_is_none_of_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all, but long enough" * 100)
    with pytest.raises(System, match=r"state\.db cannot be used: file is not a database"):
        Database(path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(System, match="was not written by Lighterman"):
        Database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_bad_row_is_named(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.write(BOATS.put("good", Boat("Anna", [])), Put("facts", "bad", b"\xc1"))
    with pytest.raises(BadRow, match=r"the row 'bad' of facts in state\.db cannot be read: "):
        BOATS.load(db)
    db.close()


class OldBoat(msgspec.Struct):
    title: str
    crew: int


OLD_BOATS: Rows[OldBoat] = Rows("facts", OldBoat)
RENAMED = Migration(
    "facts", "boats have names", lambda _, boat: {"name": boat["title"], "crew": boat["crew"]}
)
MANNED = Migration(
    "facts",
    "crews have names",
    lambda _, boat: boat | {"crew": ["?"] * boat["crew"]} if boat["crew"] else None,
)


async def of_old(path: Path) -> None:
    old = Database(path, migrations=())
    await old.write(OLD_BOATS.put("a", OldBoat("Anna", 2)), OLD_BOATS.put("b", OldBoat("Berta", 0)))
    old.close()


async def test_rows_of_an_older_engine_are_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await of_old(path)
    db = Database(path, migrations=(RENAMED, MANNED))
    assert BOATS.load(db) == {"a": Boat("Anna", ["?", "?"])}
    db.close()
    Database(path, migrations=(RENAMED, MANNED)).close()  # once is enough
    assert (tmp_path / "state.db.v1").stat().st_mode & 0o777 == 0o600
    kept = Database(tmp_path / "state.db.v1", migrations=())
    assert OLD_BOATS.load(kept) == {"a": OldBoat("Anna", 2), "b": OldBoat("Berta", 0)}
    kept.close()


async def test_each_step_is_done_once(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await of_old(path)
    Database(path, migrations=(RENAMED,)).close()
    db = Database(path, migrations=(RENAMED, MANNED))
    assert BOATS.load(db) == {"a": Boat("Anna", ["?", "?"])}
    db.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await of_old(path)
    broken = Migration("facts", "boats fly", lambda _, boat: boat["wings"])
    with pytest.raises(BadRow, match=r"the row 'a' of facts .*: boats fly: KeyError"):
        Database(path, migrations=(RENAMED, broken))
    again = Database(path, migrations=())
    assert OLD_BOATS.load(again) == {"a": OldBoat("Anna", 2), "b": OldBoat("Berta", 0)}
    again.close()


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
