"""How the swarm comes to another data key: when managers begin to lock, and when their unlock key is rotated.

What was sealed before may be opened by whoever has an old copy of a manager's disk. So a new key is made;
it is on the disks of more than half of the managers before anything is sealed with it, as with everything
that must not be lost; the object that has the new unlock key names it; then the leader seals everything
anew. The key itself never comes into the store. A manager that was away meets a value that it cannot open,
and asks the others for their keys.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lighterman.errdefs import System, Unavailable
from lighterman.swarm.state import Kind, Put, Write
from lighterman.swarm.store import DataKey, OutOfSequence, Store, new_data_key

if TYPE_CHECKING:
    from lighterman.swarm.node.manager import Manager

_WRITES_AT_ONCE = 100
_RETRY_S = 0.5
log = logging.getLogger(__name__)


class TooFewKeepers(Unavailable):
    """A key that is lost would be everything lost."""

    def __init__(self, kept: int, managers: int) -> None:
        super().__init__(
            f"rpc error: code = Unavailable desc = only {kept} of {managers} managers can keep the new data "
            "key: the lock stays as it is"
        )


async def spread(manager: "Manager") -> str:
    """A new data key that more than half of the managers keep; its id. Raises: TooFewKeepers, NoLeader."""
    voters = sum(not member.is_learner for member in await manager.etcd.members())
    others = [record.addr for id, record in manager.store.managers.items() if id != manager.node_id]
    key = new_data_key()
    await manager.keep_keys((key,))
    manager.store.keyring.adopt((key,))
    kept = 1 + sum(await asyncio.gather(*(_keeps(manager, addr, key) for addr in others)))
    if kept <= voters // 2:
        raise TooFewKeepers(kept, voters)
    log.info("op=make-data-key key=%s managers=%d", key.id, kept)
    return key.id


async def _keeps(manager: "Manager", addr: str, key: DataKey) -> bool:
    try:
        await manager.give_keys(addr, (key,))
    except System as error:
        log.warning("op=make-data-key key=%s manager=%s: %s", key.id, addr, error)
        return False
    return True


async def reseal(store: Store) -> None:
    """Seal everything with the data key that is to be used, whenever that is another one, for ever."""
    with store.changes() as changes:
        while True:
            while (authority := store.state.authority) and authority.data_key != authority.resealed:
                try:
                    await _reseal_all(store)
                except OutOfSequence:
                    await asyncio.sleep(_RETRY_S)
            while not any(kind is Kind.AUTHORITY for kind, _ in await changes.next()):
                pass


async def _reseal_all(store: Store) -> None:
    """Raises: OutOfSequence when something is changed meanwhile, NoLeader, Refused."""
    left = await store.sealed_otherwise()
    for at in range(0, len(left), _WRITES_AT_ONCE):
        writes: list[Write] = [
            Put(kind, value, revision)
            for kind, id, revision in left[at : at + _WRITES_AT_ONCE]
            if (value := store.state.get(kind, id)) is not None
        ]
        await store.commit(writes, fenced=True)
    authority = store.state.authority
    if authority is not None:
        done = replace(authority, resealed=authority.data_key, updated_ns=time.time_ns())
        revision = store.state.revision_of(Kind.AUTHORITY, authority.id)
        await store.etcd.compact(await store.commit([Put(Kind.AUTHORITY, done, revision)], fenced=True))
        log.info("op=reseal key=%s objects=%d outcome=ok", authority.data_key, len(left))
