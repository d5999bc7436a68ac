"""What the verbs need of `swarm.store.Store`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lighterman.apitypes.swarm import ManagerStatus
from lighterman.swarm.state import State, Write


class Store(Protocol):
    @property
    def state(self) -> State: ...

    @property
    def managers(self) -> Mapping[str, object]:
        """The managers that are there, by node id."""
        ...

    def manager_status(self, node_id: str) -> ManagerStatus | None: ...

    async def commit(self, writes: Sequence[Write], *, fenced: bool = False) -> int:
        """Do all or none. Raises: NameTaken, OutOfSequence, NoLeader."""
        ...
