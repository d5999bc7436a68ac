"""Getting layers: each once, however many images want it at the same time.

A *wish* is a layer by its chain id and how to unpack it; a *fetch* is the one worker job that serves all who
wish for it; a *lease* is one operation's hold on its fetches and on the layers that they become. Nothing of
a layer is visible before `publish`; what nobody has published goes to the trash with the last lease.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from msgspec import Struct

from lighterman.content import Content, Step
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import EngineError
from lighterman.images.limits import Limits, slots
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread, to_end
from lighterman.snapshots import NewLayer

AT_A_TIME = max(3, min(os.cpu_count() or 1, 6))
"""Layers of archives that are unpacked side by side; two cores are no slower with three workers than with two
(measured)."""

WAITING = "Waiting"
"""The action of a Step that is told when others are fetched first."""

OnStep = Callable[[Step], None]
Unpack = Callable[[int, OnStep], Awaitable[Unpacked]]
"""Fill the open ingest directory. Raises: EngineError."""


class Wish(Struct, frozen=True):
    """A layer that is not here. `id` is what progress messages call it."""

    id: str
    chain_id: str
    parent: str
    size: int
    """Compressed bytes: the largest goes first."""
    unpack: Unpack
    download: bool = True
    """It comes from a registry: only so many do at a time."""


class _User(Struct, eq=False):
    """One operation that waits for a fetch."""

    wish: Wish
    on_step: OnStep


@dataclass
class _Fetch:
    """One job, and those who wait for it: the first of them gives it the way to the bytes."""

    users: list[_User]
    task: "asyncio.Task[NewLayer]" = field(init=False)

    def tell(self, step: Step) -> None:
        """Let all who wait know."""
        for user in self.users:
            user.on_step(step)


class Layers:
    """The fetches that are under way."""

    def __init__(self, content: Content, store: Store) -> None:
        self.content = content
        self.store = store
        self.limit(Limits())
        self._fetches: dict[str, _Fetch] = {}
        self._unpacks = asyncio.Semaphore(AT_A_TIME)
        self._publishing = asyncio.Lock()

    def limit(self, limits: Limits) -> None:
        """From now on; what waits or runs already keeps to the limits before."""
        self.limits = limits
        self._downloads = slots(limits.downloads)

    @asynccontextmanager
    async def lease(self, chain: Sequence[str]) -> AsyncIterator["Lease"]:
        """A hold on the layers of `chain`, those that are here and those that will be."""
        lease = Lease(self)
        try:
            with self.store.lease(chain):
                yield lease
        finally:
            await to_end(self._release(lease))
            # what was published for an image that did not come about
            await to_end(self._collect(chain))

    def join(self, user: _User) -> _Fetch:
        """The fetch of a wish, begun if nobody had; with one more user."""
        chain_id = user.wish.chain_id
        fetch = self._fetches.get(chain_id)
        if fetch is None or (fetch.task.done() and fetch.task.exception() is not None):
            # its parents are the leases: with the last of them it is cancelled
            fetch = self._fetches[chain_id] = _Fetch([user])
            fetch.task = asyncio.ensure_future(self._run(fetch))
        else:
            fetch.users.append(user)
        return fetch

    async def publish(self, layers: Sequence[NewLayer]) -> None:
        """Make layers visible. One at a time: two images may bring the same."""
        async with self._publishing:
            await self.store.snapshots.publish(layers)

    async def _run(self, fetch: _Fetch) -> NewLayer:
        free = self._downloads if fetch.users[0].wish.download else self._unpacks
        if free.locked():
            fetch.tell(Step(WAITING, 0, 0))
        async with free:
            while True:
                user = fetch.users[0]
                try:
                    return await self._attempt(user.wish, fetch)
                except EngineError:
                    # whose credentials it went by may have gone, and those with him; another has his own
                    if user in fetch.users:
                        raise

    async def _attempt(self, wish: Wish, fetch: _Fetch) -> NewLayer:
        ingest = await in_thread(self.content.new_ingest)
        try:
            fd = os.open(ingest, os.O_RDONLY | os.O_DIRECTORY)
            try:
                unpacked = await wish.unpack(fd, fetch.tell)
            finally:
                os.close(fd)
        except BaseException:
            await to_end(in_thread(self.content.discard, ingest))
            raise
        return NewLayer(wish.chain_id, wish.parent, ingest, unpacked)

    async def _release(self, lease: "Lease") -> None:
        for chain_id, fetch in lease.fetches.items():
            fetch.users[:] = [user for user in fetch.users if user is not lease.users[chain_id]]
            if fetch.users:
                continue
            if self._fetches.get(chain_id) is fetch:
                del self._fetches[chain_id]
            fetch.task.cancel()
            await asyncio.wait([fetch.task])
            if not fetch.task.cancelled() and fetch.task.exception() is None:
                # published, it has moved away
                await in_thread(self.content.discard, fetch.task.result().ingest)

    async def _collect(self, chain: Sequence[str]) -> None:
        await self.store.collect(chain)


class Lease:
    """One operation's hold."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self.fetches: dict[str, _Fetch] = {}
        self.users: dict[str, _User] = {}

    async def get(
        self, wishes: Sequence[Wish], on_step: Callable[[Wish, Step], None], on_done: Callable[[Wish], None]
    ) -> list[NewLayer]:
        """The layers, unpacked and verified, in the order of the wishes. Raises: the first failure."""
        for wish in sorted(wishes, key=lambda wish: -wish.size):
            if wish.chain_id not in self.fetches:
                user = self.users[wish.chain_id] = _User(wish, partial(on_step, wish))
                self.fetches[wish.chain_id] = self._layers.join(user)
        waiting = {self.fetches[wish.chain_id].task: wish for wish in wishes}
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                on_done(waiting.pop(task))
        return [self.fetches[wish.chain_id].task.result() for wish in wishes]

    async def publish(self, layers: Sequence[NewLayer]) -> None:
        """Make layers durable and visible, the lower ones first. Raises: System."""
        await self._layers.publish(layers)
