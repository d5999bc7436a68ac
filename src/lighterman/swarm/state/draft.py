"""Thinking ahead: the state as it would be after what is written here."""

from collections.abc import Iterator
from contextlib import contextmanager

from lighterman.swarm.state.kinds import Delete, Kind, Put, Stored, Write
from lighterman.swarm.state.state import State


class Draft:
    """Writes in the making. `state` shows them as if they were done, until the draft is closed."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._writes: dict[tuple[Kind, str], Write] = {}
        self._before: dict[tuple[Kind, str], tuple[Stored | None, int]] = {}
        self._news: set[tuple[Kind, str]] = set()

    @property
    def writes(self) -> list[Write]:
        """What is to be committed, in the order in which it was first thought of; one for each object."""
        return list(self._writes.values())

    def news(self) -> set[tuple[Kind, str]]:
        """What was written since somebody asked last."""
        found, self._news = self._news, set()
        return found

    def put(self, kind: Kind, value: Stored) -> None:
        """Write the object, on condition that it is then what it is now."""
        expect = self._remember(kind, value.id)
        self._writes[kind, value.id] = Put(kind, value, expect)
        self.state.set_row(kind, value.id, value, expect)

    def delete(self, kind: Kind, id: str) -> None:
        """Delete the object if it is there."""
        if self.state.get(kind, id) is None:
            return
        expect = self._remember(kind, id)
        if expect:
            self._writes[kind, id] = Delete(kind, id)
        else:
            del self._writes[kind, id]  # it was only ever a thought
        self.state.set_row(kind, id, None, 0)

    def _remember(self, kind: Kind, id: str) -> int:
        """The object's revision before the draft; 0 when it did not exist."""
        self._news.add((kind, id))
        if (kind, id) not in self._before:
            self._before[kind, id] = self.state.get(kind, id), self.state.revision_of(kind, id)
        return self._before[kind, id][1]

    def close(self) -> None:
        """Take everything back out of the state."""
        for (kind, id), (value, revision) in reversed(self._before.items()):
            self.state.set_row(kind, id, value, revision)


@contextmanager
def draft(state: State) -> Iterator[Draft]:
    """A draft that is taken back at the end of the block. Nobody else may look at the state meanwhile: the
    block must not await.
    """
    made = Draft(state)
    try:
        yield made
    finally:
        made.close()
