"""The leader's loop: what is decided is written down, and what was overtaken is decided anew."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace
from tests.swarm.world import Memory, World, spec

from lighterman.swarm.orchestrate import lead
from lighterman.swarm.state import Key, Kind, Service, State, Write, template_of


class Told:
    """A subscription of the store."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.some = asyncio.Event()
        self.idle = asyncio.Event()

    async def next(self) -> frozenset[Key]:
        if not self.some.is_set():
            self.idle.set()
        await self.some.wait()
        self.some.clear()
        found, self.keys = frozenset(self.keys), set()
        return found


class Shared(Memory):
    """The store of a manager: it tells of each change, and somebody may be faster once."""

    def __init__(self, state: State, revision: int) -> None:
        super().__init__()
        self.state, self.revision = state, revision
        self.told = Told()
        self.commits: list[Sequence[Write]] = []
        self.overtaking: Service | None = None
        self.quiet = asyncio.Event()

    @contextmanager
    def changes(self) -> Iterator[Told]:
        yield self.told

    def tell(self, *keys: Key) -> None:
        self.told.keys.update(keys)
        self.told.some.set()

    async def commit(self, writes: Sequence[Write], *, fenced: bool = False) -> int:
        assert fenced
        if self.overtaking is not None:
            faster, self.overtaking = self.overtaking, None
            self.put(Kind.SERVICE, faster)
            self.tell((Kind.SERVICE, faster.id))
        revision = self.write(writes)
        self.commits.append(writes)
        self.tell(*((write.kind, write.id) for write in writes))
        if len(self.state.tasks_of_service("web")) == 3:
            self.quiet.set()
        return revision


def swarm() -> tuple[World, Shared]:
    world = World()
    return world, Shared(world.state, world.store.revision)


def web(replicas: int) -> Service:
    wish = spec(replicas=replicas)
    return Service(id="web", spec=wish, template_id=template_of(wish).id)


async def test_a_wish_becomes_tasks() -> None:
    _, store = swarm()
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(lead(store))
        store.put(Kind.SERVICE, web(3))
        store.tell((Kind.SERVICE, "web"))
        await store.quiet.wait()
        leading.cancel()
    assert [task.slot for task in store.state.tasks_of_service("web")] == [1, 2, 3]


async def test_what_the_leader_has_written_itself_is_not_thought_of_again() -> None:
    _, store = swarm()
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(lead(store))
        store.put(Kind.SERVICE, web(3))
        store.tell((Kind.SERVICE, "web"))
        await store.quiet.wait()
        store.told.idle.clear()
        await store.told.idle.wait()
        leading.cancel()
    assert len([writes for writes in store.commits if any(w.kind is Kind.TASK for w in writes)]) == 1


async def test_a_decision_that_was_overtaken_is_made_anew() -> None:
    _, store = swarm()
    before = web(1)
    store.put(Kind.SERVICE, before)
    failing = replace(before, previous=before.spec, generation=1, rollback=True)
    store.put(Kind.SERVICE, failing)
    store.overtaking = replace(web(3), generation=2)
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(lead(store))
        await store.quiet.wait()
        leading.cancel()
    assert store.state.services["web"].generation == 2
    assert len(store.state.tasks_of_service("web")) == 3
