"""What the verbs need of `swarm.store.Store`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lighterman.apitypes.swarm import ManagerStatus
from lighterman.swarm.state import Key, State, Write


class Changes(Protocol):
    async def next(self) -> frozenset[Key]:
        """Wait for something; the keys of what is different since the last time."""
        ...


class Store(Protocol):
    @property
    def state(self) -> State: ...

    @property
    def managers(self) -> Mapping[str, object]:
        """The managers that are there, by node id."""
        ...

    def manager_status(self, node_id: str) -> ManagerStatus | None: ...

    def changes(self) -> AbstractContextManager[Changes]:
        """A subscription for as long as the block lasts."""
        ...

    async def commit(self, writes: Sequence[Write], *, fenced: bool = False) -> int:
        """Do all or none. Raises: NameTaken, OutOfSequence, NoLeader."""
        ...
