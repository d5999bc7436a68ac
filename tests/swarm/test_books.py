"""What lies on a node's disk, sealed or not, and the values of the store."""

from pathlib import Path
from typing import cast

import pytest

from lighterman.containers import Containers
from lighterman.errdefs import System
from lighterman.swarm.errors import SwarmLocked, WrongUnlockKey
from lighterman.swarm.facade import Engine, sweep
from lighterman.swarm.node.books import Books, Keys, Membership
from lighterman.swarm.store.keyring import Keyring, UnknownKey, new_data_key

MEMBERSHIP = Membership(
    node_id="n", cluster_id="c", root="r", listen="0.0.0.0:2377", advertise="10.0.0.1:2377", local="10.0.0.1"
)
KEYS = Keys(certificate="cert", key="private", data_keys=(new_data_key(),))


def test_books_are_read_as_they_were_written(tmp_path: Path) -> None:
    books = Books(tmp_path / "swarm")
    books.write_keys(KEYS)
    books.write_membership(MEMBERSHIP)
    assert (books.membership(), books.keys()) == (MEMBERSHIP, KEYS)
    assert all(path.stat().st_mode & 0o077 == 0 for path in books.root.iterdir())


def test_sealed_keys_are_opened_by_their_key_alone(tmp_path: Path) -> None:
    books, key = Books(tmp_path), b"k" * 32
    books.write_keys(KEYS, key)
    assert b"private" not in (tmp_path / "keys.json").read_bytes()
    assert books.keys(key) == KEYS
    with pytest.raises(SwarmLocked):
        books.keys()
    with pytest.raises(WrongUnlockKey):
        books.keys(b"x" * 32)


def test_what_is_left_of_a_swarm_is_swept_out(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "root", tmp_path / "exec", cast(Containers, None), "1")
    sweep(engine)
    Books(engine.root).write_membership(MEMBERSHIP)
    (engine.root / "etcd" / "member").mkdir(parents=True)
    engine.exec_root.mkdir()
    (engine.exec_root / "node.key").write_text("private")
    sweep(engine)
    assert [*engine.root.iterdir(), *engine.exec_root.iterdir()] == []


def test_a_value_is_opened_in_its_own_place_only() -> None:
    ring = Keyring((new_data_key(),))
    sealed = ring.seal(b"/s/secret/a", b"value")
    assert b"value" not in sealed
    assert ring.open(b"/s/secret/a", sealed) == b"value"
    with pytest.raises(System, match="forged"):
        ring.open(b"/s/secret/b", sealed)
    with pytest.raises(System, match="forged"):
        ring.open(b"/s/secret/a", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(System, match="unknown key"):
        Keyring((new_data_key(),)).open(b"/s/secret/a", sealed)


def test_a_ring_opens_what_its_older_keys_have_sealed() -> None:
    old, new = new_data_key(), new_data_key()
    before, after = Keyring((old,)), Keyring((old, new))
    sealed = before.seal(b"k", b"v")
    assert after.open(b"k", sealed) == b"v"
    assert not after.is_current(sealed)
    assert after.is_current(after.seal(b"k", b"v"))
    assert before.name_key("web") == after.name_key("web") != after.name_key("db")


def test_a_ring_adopts_a_key_before_it_seals_with_it() -> None:
    old, new = new_data_key(), new_data_key()
    ring = Keyring((old,))
    assert ring.adopt([old, new])
    assert not ring.adopt([new])
    assert Keyring((old,)).open(b"k", ring.seal(b"k", b"v")) == b"v"
    ring.use(new.id)
    with pytest.raises(UnknownKey):
        Keyring((old,)).open(b"k", ring.seal(b"k", b"v"))
    ring.use("")
    assert Keyring((old,)).open(b"k", ring.seal(b"k", b"v")) == b"v"
