"""What a node keeps on its disk: its membership, and its keys.

`node.json` says who it is and whom it may turn to; it is there exactly if the engine is in a swarm, and
written last. `keys.json` holds what nobody else may have. A manager that locks seals it with the unlock
key, so that a stolen disk tells nothing: the store's values are sealed by a data key that lies only there.
"""

import json
import os
import secrets
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lighterman.apitypes.swarm import RaftConfig
from lighterman.swarm.errors import SwarmLocked, WrongUnlockKey
from lighterman.swarm.facade import MEMBERSHIP_FILE
from lighterman.swarm.session import Peer
from lighterman.swarm.store.keyring import DataKey

KEYS_FILE = "keys.json"
_NONCE_BYTES = 12


class Membership(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This engine as a node."""

    node_id: str
    cluster_id: str
    root: str
    """The root certificates that it trusts, PEM."""
    listen: str
    """host:port."""
    advertise: str
    """host:port where others find it."""
    local: str
    data_path: str = ""
    peer_port: int = 7946
    """Of etcd, between managers: as far from the usual one as the port of `listen` is from its own."""
    managers: tuple[Peer, ...] = ()
    """Whom it knew last."""
    raft: RaftConfig = RaftConfig(10000, 0, 500, 10, 1)
    """The swarm's settings of the consensus; etcd is started with them."""


class Keys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What only this node has; all but the first two only if it is a manager."""

    certificate: str
    """Its leaf, perhaps with an intermediate behind it."""
    key: str
    data_keys: tuple[DataKey, ...] = ()
    peer_certificate: str = ""
    peer_key: str = ""
    peer_root: str = ""


class _Sealed(msgspec.Struct, frozen=True):
    sealed: bytes


class Books:
    """The two files of a swarm's directory. Everything blocks for the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def membership(self) -> Membership:
        return msgspec.json.decode((self.root / MEMBERSHIP_FILE).read_bytes(), type=Membership)

    def write_membership(self, membership: Membership) -> None:
        _write(self.root / MEMBERSHIP_FILE, msgspec.json.encode(membership))

    def keys(self, unlock_key: bytes = b"") -> Keys:
        """Raises: SwarmLocked without a key where one is needed, WrongUnlockKey with a wrong one."""
        stored = (self.root / KEYS_FILE).read_bytes()
        if "sealed" not in json.loads(stored):
            return msgspec.json.decode(stored, type=Keys)
        if not unlock_key:
            raise SwarmLocked
        sealed = msgspec.json.decode(stored, type=_Sealed).sealed
        try:
            opened = AESGCM(unlock_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except InvalidTag:
            raise WrongUnlockKey from None
        return msgspec.json.decode(opened, type=Keys)

    def write_keys(self, keys: Keys, unlock_key: bytes = b"") -> None:
        """Sealed if there is an unlock key."""
        document = msgspec.json.encode(keys)
        if unlock_key:
            nonce = secrets.token_bytes(_NONCE_BYTES)
            document = msgspec.json.encode(_Sealed(nonce + AESGCM(unlock_key).encrypt(nonce, document, None)))
        _write(self.root / KEYS_FILE, document)


def write_private(path: Path, text: str) -> None:
    """A file that only root reads, from its first moment on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _write(path: Path, document: bytes) -> None:
    """Whole or not at all, and durable: a certificate that is lost is a node that is lost."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(document)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
