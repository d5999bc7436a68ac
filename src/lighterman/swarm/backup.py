"""A swarm in one file: what its managers remember, and the books of one of them.

The state is taken as etcd's clients see it, all keys at one revision from a majority, and sealed as it is: a
file of etcd's own would need etcdctl, and an etcd of its age, to become a cluster again. Signs of life (who
leads, which managers and sessions are there) go with their leases and are left out.

A restore lays the books down where the engine looks for them, and the state beside them; what the engine
makes of it is in `node.restored`.
"""

import datetime as dt
import hashlib
import io
import os
import shutil
import socket
import tarfile
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lighterman.errdefs import Conflict, InvalidParameter, Unavailable
from lighterman.lib.effects import in_thread
from lighterman.swarm.ca import certificates
from lighterman.swarm.errors import NotInSwarm, SwarmLocked
from lighterman.swarm.facade import MEMBERSHIP_FILE
from lighterman.swarm.node import issue
from lighterman.swarm.node.books import KEYS_FILE, Books, Keys, Membership
from lighterman.swarm.node.restored import WAITING_FILE, Pairs
from lighterman.swarm.state import Change, Kind, State
from lighterman.swarm.state.state import TYPES
from lighterman.swarm.store import Etcd, Keyring, Refused
from lighterman.swarm.store import keys as names

FORMAT = 1
ABOUT_FILE, STATE_FILE = "backup.json", "state"
_TRIES = 10


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of itself."""

    format: int
    made: str
    engine: str
    cluster_id: str
    node_id: str
    revision: int
    """Of etcd, when all this was true."""
    digests: dict[str, str]
    """SHA-256 of each other part, by its name."""


class Backup(Struct, frozen=True):
    """The parts, as bytes."""

    about: About
    membership: bytes
    keys: bytes
    """Sealed with the unlock key, where the swarm locks its managers."""
    state: bytes

    def pairs(self) -> Pairs:
        return msgspec.msgpack.decode(self.state, type=list[tuple[bytes, bytes]])


# Out


async def take(root: Path, etcd_socket: Path, version: str, now: dt.datetime) -> Backup:
    """A backup of the manager whose swarm's directory is `root` and whose etcd is behind the socket.

    Raises: NotInSwarm, Unavailable when no manager runs here, NoLeader, Refused.
    """
    if not (root / MEMBERSHIP_FILE).exists():
        raise NotInSwarm
    if not _is_listening(etcd_socket):
        raise Unavailable(
            "no manager runs here: the node is a worker, it is locked, or its engine is stopped"
        )
    etcd = Etcd(etcd_socket)
    try:
        keys, revision, pairs = await _read(root / KEYS_FILE, etcd)
    finally:
        await etcd.close()
    state, document = msgspec.msgpack.encode(pairs), (root / MEMBERSHIP_FILE).read_bytes()
    membership = msgspec.json.decode(document, type=Membership)
    parts = {MEMBERSHIP_FILE: document, KEYS_FILE: keys, STATE_FILE: state}
    about = About(
        format=FORMAT,
        made=now.isoformat(timespec="seconds"),
        engine=version,
        cluster_id=membership.cluster_id,
        node_id=membership.node_id,
        revision=revision,
        digests={name: _digest(content) for name, content in parts.items()},
    )
    return Backup(about, document, keys, state)


async def _read(keys_file: Path, etcd: Etcd) -> tuple[bytes, int, Pairs]:
    """The keys, and the state that they open: they are read before and after it, so that none is missing."""
    for _ in range(_TRIES):
        keys = await in_thread(keys_file.read_bytes)
        try:
            revision, found = await etcd.everything()
        except Refused as error:
            if "compacted" not in str(error):
                raise
            continue  # there are so many writes that the pages of one revision cannot all be read
        if await in_thread(keys_file.read_bytes) == keys:
            return keys, revision, [(kv.key, kv.value) for kv in found if is_kept(kv.key)]
    raise Unavailable("the swarm changes too fast to be read")


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def is_kept(key: bytes) -> bool:
    """Whether a key is more than a sign of life."""
    place = names.parse_object_key(key)
    return key.startswith(names.NAMES) or (place is not None and place[0] not in names.LEASED)


def write(backup: Backup, file: Path) -> None:
    """One tar that only root reads, whole or not at all. Raises: OSError."""
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w") as tar:
                for name, content in (
                    (ABOUT_FILE, msgspec.json.encode(backup.about)),
                    (MEMBERSHIP_FILE, backup.membership),
                    (KEYS_FILE, backup.keys),
                    (STATE_FILE, backup.state),
                ):
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(content), 0o600
                    tar.addfile(entry, io.BytesIO(content))
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


# In


def read(file: Path) -> Backup:
    """Raises: InvalidParameter for what is no whole backup, OSError."""
    parts = dict[str, bytes]()
    try:
        with tarfile.open(file, mode="r:") as tar:
            for entry in tar:
                if (content := tar.extractfile(entry)) is not None:
                    parts[entry.name] = content.read()
        about = msgspec.json.decode(parts.get(ABOUT_FILE, b""), type=About)
    except (tarfile.TarError, msgspec.MsgspecError) as error:
        raise InvalidParameter(f"{file} is no backup of a swarm: {error}") from None
    if about.format != FORMAT:
        raise InvalidParameter(f"{file} is of a newer engine ({about.engine})")
    for name in (MEMBERSHIP_FILE, KEYS_FILE, STATE_FILE):
        if _digest(parts.get(name, b"")) != about.digests.get(name):
            raise InvalidParameter(f"{file} is damaged: its {name} is not what was written")
    return Backup(about, parts[MEMBERSHIP_FILE], parts[KEYS_FILE], parts[STATE_FILE])


def restore(backup: Backup, root: Path, now: dt.datetime) -> None:
    """Lay a swarm down where there is none; an engine that starts there goes on with it.

    The membership is last: with it the engine is in a swarm. Raises: Conflict.
    """
    if (root / MEMBERSHIP_FILE).exists():
        raise Conflict(
            f'{root} holds a swarm already: leave it first with "docker swarm leave --force", or remove the '
            "directory"
        )
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700, parents=True)
    membership = msgspec.json.decode(backup.membership, type=Membership)
    for name, content in ((WAITING_FILE, backup.state), (KEYS_FILE, backup.keys)):
        _write(root / name, content)
    books = Books(root)
    try:
        keys = books.keys()
    except SwarmLocked:
        pass  # the engine's to open; certificates in there are as they were
    else:
        books.write_keys(young(keys, _state_of(backup.pairs(), keys), now))
    books.write_membership(replace(membership, managers=()))


def young(keys: Keys, state: State, now: dt.datetime) -> Keys:
    """The keys with a certificate that begins now: backups lie longer than certificates are good."""
    request, key = certificates.new_request()
    identity = certificates.identity_of_pem(keys.certificate)
    return replace(keys, certificate=issue.signed(state, request, identity, now), key=key)


def _state_of(pairs: Pairs, keys: Keys) -> State:
    """What signs certificates. Raises: System: the keys do not belong to the state."""
    keyring, state = Keyring(keys.data_keys), State()
    for key, sealed in pairs:
        place = names.parse_object_key(key)
        if place is not None and place[0] in (Kind.CLUSTER, Kind.AUTHORITY):
            value = msgspec.msgpack.decode(keyring.open(key, sealed), type=TYPES[place[0]])
            state.apply(Change(*place, value, 1))
    return state


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
