"""A swarm in one file, and out of it again."""

import asyncio
import datetime as dt
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from tests.swarm.born import BORN, NOW, books_at, made_of, pairs_of
from tests.swarm.test_store import etcd_at

from lighterman.errdefs import Conflict, InvalidParameter, Unavailable
from lighterman.swarm import backup
from lighterman.swarm.backup import Backup, is_kept
from lighterman.swarm.ca import certificates
from lighterman.swarm.errors import NotInSwarm
from lighterman.swarm.node import restored
from lighterman.swarm.node.books import Books
from lighterman.swarm.store import Etcd


async def give(config_socket: Path, pairs: restored.Pairs) -> None:
    etcd = Etcd(config_socket)
    try:
        await restored.bring_back(etcd, pairs)
    finally:
        await etcd.close()


@pytest.mark.skipif(shutil.which("etcd") is None, reason="there is no etcd here")
def test_what_one_etcd_knew_another_knows_after_a_backup(tmp_path: Path) -> None:
    pairs = pairs_of(BORN)
    signs_of_life = [(b"/m/leader", b"x"), (b"/s/sess/n", b"x")]

    async def taken() -> Backup:
        books_at(tmp_path / "swarm", BORN)
        async with etcd_at(tmp_path / "one") as config:
            await give(config.socket, [*pairs, *signs_of_life])
            return await backup.take(tmp_path / "swarm", config.socket, "26.11.0", NOW)

    made = asyncio.run(taken())
    assert sorted(made.pairs()) == sorted(pairs)
    file = tmp_path / "swarm.tar"
    backup.write(made, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert backup.read(file) == made

    backup.restore(made, tmp_path / "other", NOW)
    waiting = restored.waiting(tmp_path / "other")
    assert waiting is not None

    async def found() -> list[tuple[bytes, bytes]]:
        async with etcd_at(tmp_path / "two") as config:
            await give(config.socket, waiting)
            etcd = Etcd(config.socket)
            _, everything = await etcd.everything()
            await etcd.close()
            return [(kv.key, kv.value) for kv in everything]

    assert sorted(asyncio.run(found())) == sorted(pairs)
    restored.arrived(tmp_path / "other")
    assert restored.waiting(tmp_path / "other") is None


def test_a_restored_node_knows_no_other_manager_and_has_a_young_certificate(tmp_path: Path) -> None:
    made = made_of(BORN, tmp_path / "before")
    backup.restore(made, tmp_path / "after", NOW + dt.timedelta(days=200))
    books = Books(tmp_path / "after")
    assert books.membership().managers == ()
    assert books.membership().node_id == BORN.membership.node_id
    begin, end = certificates.valid_between(books.keys().certificate)
    assert begin < NOW + dt.timedelta(days=200) < end
    assert certificates.identity_of_pem(books.keys().certificate) == certificates.identity_of_pem(
        BORN.keys.certificate
    )
    assert books.keys().data_keys == BORN.keys.data_keys
    assert all(path.stat().st_mode & 0o077 == 0 for path in books.root.iterdir())


def test_what_is_sealed_stays_sealed_on_its_way(tmp_path: Path) -> None:
    made = made_of(BORN, tmp_path / "before", b"k" * 32)
    backup.restore(made, tmp_path / "after", NOW)
    assert (tmp_path / "after" / "keys.json").read_bytes() == made.keys
    assert Books(tmp_path / "after").keys(b"k" * 32) == BORN.keys


def test_a_swarm_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    made = made_of(BORN, tmp_path / "swarm")
    with pytest.raises(Conflict, match="holds a swarm already"):
        backup.restore(made, tmp_path / "swarm", NOW)


def test_a_restore_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    made = made_of(BORN, tmp_path / "before")
    backup.restore(made, tmp_path / "after", NOW)
    (tmp_path / "after" / "etcd" / "member").mkdir(parents=True)
    assert restored.waiting(tmp_path / "after") == made.pairs()
    assert not (tmp_path / "after" / "etcd").exists()


def test_what_is_no_whole_backup_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "swarm.tar"
    file.write_bytes(b"no tar")
    with pytest.raises(InvalidParameter, match="is no backup of a swarm"):
        backup.read(file)
    with tarfile.open(file, "w"):
        pass
    with pytest.raises(InvalidParameter, match="is no backup of a swarm"):
        backup.read(file)
    made = made_of(BORN, tmp_path / "before")
    backup.write(Backup(made.about, made.membership, made.keys, made.state + b"x"), file)
    with pytest.raises(InvalidParameter, match="is damaged: its state"):
        backup.read(file)


async def test_a_node_without_a_manager_has_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(NotInSwarm):
        await backup.take(tmp_path, tmp_path / "client:0", "1", NOW)
    books_at(tmp_path, BORN)
    with pytest.raises(Unavailable, match="no manager runs here"):
        await backup.take(tmp_path, tmp_path / "client:0", "1", NOW)


def test_a_state_of_any_size_is_put_in_parts_that_etcd_takes() -> None:
    pairs = [(b"%d" % number, b"x" * 400_000) for number in range(7)]
    assert [len(part) for part in restored.parts(pairs)] == [2, 2, 2, 1]
    assert [len(part) for part in restored.parts([(b"k", b"v")] * 1001)] == [500, 500, 1]
    assert list(restored.parts([])) == []


def test_signs_of_life_are_no_part_of_a_backup() -> None:
    assert [is_kept(key) for key in (b"/s/svc/a", b"/n/svc/a", b"/s/sess/a", b"/m/leader", b"/m/mgr/a")] == [
        True,
        True,
        False,
        False,
        False,
    ]
