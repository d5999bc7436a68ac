"""A swarm that was restored from a backup: its state goes into a new etcd before any node may come in.

The restore has laid the state down beside the books (`WAITING_FILE`). A manager that starts there finds it,
lets its etcd begin from nothing, brings the state back and forgets the other managers, as with a forced new
cluster. The file goes when that is done: an engine that is killed on the way begins again.
"""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lighterman.swarm.store import Etcd, OutcomeUnknown
from lighterman.swarm.store import etcd_pb2 as pb

WAITING_FILE = "restored"
"""In the swarm's directory: a state that no etcd has yet."""
PART_BYTES, PART_KEYS = 1 << 20, 500
"""Of one transaction; etcd is started with limits of 4 MB and 1024."""
_TRIES, _RETRY_S = 150, 0.2
Pairs = Sequence[tuple[bytes, bytes]]
"""Keys and values as they are in etcd: the values sealed."""


def waiting(root: Path) -> Pairs | None:
    """The state that no etcd has yet; what an etcd has of it already goes. Blocks for the disk."""
    file = root / WAITING_FILE
    if not file.exists():
        return None
    shutil.rmtree(root / "etcd", ignore_errors=True)
    return msgspec.msgpack.decode(file.read_bytes(), type=list[tuple[bytes, bytes]])


async def bring_back(etcd: Etcd, pairs: Pairs) -> None:
    """Give an etcd that is new the state. Raises: NoLeader, Refused."""
    for part in parts(pairs):
        puts = [pb.Op(put=pb.PutRequest(key=key, value=value)) for key, value in part]
        for tried in range(_TRIES):
            try:
                await etcd.txn(pb.TxnRequest(success=puts))
                break
            except OutcomeUnknown:  # it has not elected itself yet; to put it twice does no harm
                if tried == _TRIES - 1:
                    raise
            await asyncio.sleep(_RETRY_S)


def parts(pairs: Pairs) -> Iterator[Pairs]:
    """The pairs in as many transactions as they need."""
    part, size = list[tuple[bytes, bytes]](), 0
    for key, value in pairs:
        if part and (size + len(value) > PART_BYTES or len(part) == PART_KEYS):
            yield part
            part, size = [], 0
        part.append((key, value))
        size += len(value)
    if part:
        yield part


def arrived(root: Path) -> None:
    """The state is etcd's from now on. Blocks for the disk."""
    (root / WAITING_FILE).unlink(missing_ok=True)
