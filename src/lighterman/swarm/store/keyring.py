"""Values in etcd are ciphertext: whoever copies its files or a snapshot has names of keys and nothing else.

Every value is sealed with AES-256-GCM under the cluster's data key, bound to its key's name so that no
value can be put in another's place. The data keys form a *ring*: one seals, each opens what it has sealed.
The ring itself is never in etcd: managers hand it to each other, and keep it in a file of theirs; how a key
comes into it is in `node.data_keys`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from lighterman.errdefs import System

_VERSION = 1
_ID_BYTES = 4
_NONCE_BYTES = 12


class DataKey(Struct, frozen=True):
    """One key of the ring; `id` are 4 bytes in hex."""

    id: str
    key: bytes


def new_data_key() -> DataKey:
    """A key by chance."""
    return DataKey(secrets.token_hex(_ID_BYTES), secrets.token_bytes(32))


class UnknownKey(System):
    """A value is sealed with a key that this manager does not have: it is of another cluster, or the key was
    made while the manager was away.
    """


class Keyring:
    """The data keys in the order of their coming; the last of them seals, until another is chosen."""

    def __init__(self, keys: tuple[DataKey, ...]) -> None:
        self.keys = keys
        self._ciphers: dict[str, Any] = {each.id: AESGCM(each.key) for each in keys}
        self._seals = keys[-1].id
        # Derived from the first: names must be found again whatever key seals.
        self._names = hashlib.sha256(b"names" + keys[0].key).digest()

    def adopt(self, keys: Iterable[DataKey]) -> bool:
        """Open what these have sealed, too; whether any of them is new."""
        new = {each.id: each for each in keys if each.id not in self._ciphers}
        self.keys += tuple(new.values())
        self._ciphers |= {id: AESGCM(each.key) for id, each in new.items()}
        return bool(new)

    def use(self, id: str) -> None:
        """Seal with this key of the ring from now on; "" is the first."""
        self._seals = id or self.keys[0].id

    def seal(self, name: bytes, value: bytes) -> bytes:
        """`value` as it is stored under the key `name`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = bytes([_VERSION]) + bytes.fromhex(self._seals)
        sealed: bytes = self._ciphers[self._seals].encrypt(nonce, value, head + name)
        return head + nonce + sealed

    def open(self, name: bytes, sealed: bytes) -> bytes:
        """The value. Raises: UnknownKey; System: changed by somebody."""
        head, rest = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
        cipher = self._ciphers.get(head[1:].hex())
        if head[:1] != bytes([_VERSION]) or cipher is None:
            raise UnknownKey(f"the swarm's store holds {name.decode(errors='replace')} under an unknown key")
        try:
            opened: bytes = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + name)
        except InvalidTag:
            raise System(f"the swarm's store holds a forged {name.decode(errors='replace')}") from None
        return opened

    def is_current(self, sealed: bytes) -> bool:
        """Whether the value is sealed with the key that seals now."""
        return sealed[1 : 1 + _ID_BYTES].hex() == self._seals

    def name_key(self, name: str) -> str:
        """What stands for a name in keys: names of secrets are nobody's business either."""
        return hmac.new(self._names, name.encode(), hashlib.sha256).hexdigest()[:32]
