"""The leader's loop: wait for a change, think, write it down."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lighterman.swarm.identity import new_id
from lighterman.swarm.orchestrate.agenda import Agenda
from lighterman.swarm.state import Key, Put, State, Write

GATHER_S = 0.02
"""Changes that come within it are thought of together: a hundred reports are one round."""
WRITES_AT_ONCE = 400
"""In one transaction; etcd is started with a limit of 1024 operations."""
log = logging.getLogger(__name__)


class Changes(Protocol):
    """A subscription of the store."""

    async def next(self) -> frozenset[Key]: ...


class Store(Protocol):
    """What the loop needs of `swarm.store.Store`."""

    state: State

    def changes(self) -> AbstractContextManager[Changes]: ...

    async def commit(self, writes: Sequence[Write], *, fenced: bool = False) -> int: ...


class Clock:
    """The time of day, which goes on evenly while one leads, however the host's clock is set."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return self._offset_ns + time.monotonic_ns()


async def lead(store: Store) -> None:
    """Decide for the swarm, until cancelled or fenced.

    Raises: Fenced when another manager leads; NoLeader when nothing can be written down.
    """
    from lighterman.swarm.store import OutOfSequence

    with store.changes() as changes:
        agenda = Agenda(store.state, new_id)
        own: dict[Key, int] = {}
        clock = Clock()
        while True:
            writes = agenda.think(clock.now_ns())
            own.clear()
            try:
                for begin in range(0, len(writes), WRITES_AT_ONCE):
                    some = writes[begin : begin + WRITES_AT_ONCE]
                    revision = await store.commit(some, fenced=True)
                    own |= {(each.kind, each.id): revision if isinstance(each, Put) else 0 for each in some}
            except OutOfSequence as error:  # somebody wished something else meanwhile: think again
                log.debug("%s: %s %s", error, error.kind, error.id)
                agenda.note((write.kind, write.id) for write in writes)
                await asyncio.sleep(GATHER_S)
            await _news(store.state, changes, agenda, own, clock)


async def _news(state: State, changes: Changes, agenda: Agenda, own: Mapping[Key, int], clock: Clock) -> None:
    """Wait until there is something to think of; what was written here itself (`own`) is nothing new."""
    wake_ns = agenda.wake_ns()
    wait_s = None if wake_ns is None else max(wake_ns - clock.now_ns(), 0) / 1e9
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            changed = await changes.next()
            agenda.note(key for key in changed if own.get(key) != state.revision_of(*key))
            await asyncio.sleep(GATHER_S)
