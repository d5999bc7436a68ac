"""A swarm that has just begun, and a backup of it."""

import datetime as dt
import hashlib
from pathlib import Path

import msgspec

from lighterman.apitypes.swarm import SwarmSpec
from lighterman.swarm.backup import About, Backup
from lighterman.swarm.node.addresses import Place
from lighterman.swarm.node.birth import Born, new_swarm
from lighterman.swarm.node.books import Books
from lighterman.swarm.state import State
from lighterman.swarm.store import Keyring
from lighterman.swarm.store.transaction import planned

NOW = dt.datetime.now(dt.UTC)
BORN = new_swarm(
    Place("0.0.0.0:2377", "10.0.0.1:2377", "10.0.0.1", ""),
    SwarmSpec(name="default"),
    ("10.0.0.0/8",),
    24,
    4789,
    "active",
)


def pairs_of(born: Born) -> list[tuple[bytes, bytes]]:
    ring = Keyring(born.keys.data_keys)
    made = planned(born.writes, state=State(), keyring=ring, lease=0, term=None)
    return [(op.put.key, op.put.value) for op in made.request.success]


def books_at(root: Path, born: Born, unlock_key: bytes = b"") -> Books:
    books = Books(root)
    books.write_keys(born.keys, unlock_key)
    books.write_membership(born.membership)
    return books


def made_of(born: Born, root: Path, unlock_key: bytes = b"") -> Backup:
    """A backup as `take` makes it."""
    books_at(root, born, unlock_key)
    document, keys = (root / "node.json").read_bytes(), (root / "keys.json").read_bytes()
    state = msgspec.msgpack.encode(pairs_of(born))
    parts = {"node.json": document, "keys.json": keys, "state": state}
    about = About(
        format=1,
        made="2026-11-24T12:00:00+00:00",
        engine="26.11.0",
        cluster_id=born.membership.cluster_id,
        node_id=born.membership.node_id,
        revision=7,
        digests={name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
    )
    return Backup(about, document, keys, state)
