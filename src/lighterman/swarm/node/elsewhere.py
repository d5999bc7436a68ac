"""Containers of tasks on other nodes, as a manager's API reaches them: ours. dockerd knows its own node only.

A container is found by its whole name, which is its task's (`web.1.<task id>`), or by twelve and more
characters of its id; not by the task's id, since that is the task to clients.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lighterman.apitypes.container import ContainerInspectResponse
from lighterman.apitypes.exec import (
    ExecCreateBody,
    ExecCreateResponse,
    ExecInspectResponse,
    ExecStartBody,
)
from lighterman.lib.background import Background
from lighterman.runtime import Client
from lighterman.swarm.call import Ask, Inspection, Size, carry
from lighterman.swarm.control.tasks import name_of
from lighterman.swarm.node.calls import Calls, asked
from lighterman.swarm.state import State, TaskState

if TYPE_CHECKING:
    from lighterman.swarm.store import Store

SHORTEST_ID = 12
_KNOWN_EXECS = 1000
_encode = msgspec.json.encode
T = TypeVar("T")


def placed(state: State, ref: str) -> tuple[str, str] | None:
    """The node that has the container, and the container's name there."""
    for task in state.tasks.values():
        if not task.node_id or task.state < TaskState.ASSIGNED:
            continue
        observed = state.observations.get(task.id)
        container = observed.status.container_status if observed is not None else None
        id = container.container_id if container is not None else ""
        if name_of(task) == ref.removeprefix("/") or (len(ref) >= SHORTEST_ID and id.startswith(ref)):
            return task.node_id, name_of(task)
    return None


class Elsewhere:
    """Each verb gives None for what is on no other node."""

    def __init__(self, store: "Store", calls: Calls) -> None:
        self._store = store
        self._calls = calls
        self._execs: dict[str, str] = {}  # exec id -> node id
        self._streams = Background()

    async def close(self) -> None:
        """End the streams that go through here."""
        await self._streams.close(cancel=True)

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspectResponse | None:
        return await self._of_container("inspect", ref, _encode(Inspection(size)), ContainerInspectResponse)

    async def exec_create(self, ref: str, body: ExecCreateBody) -> ExecCreateResponse | None:
        place = self._place(ref)
        made = await self._of_container("exec_create", ref, _encode(body), ExecCreateResponse)
        if made is not None and place is not None:
            self._execs[made.id] = place[0]
            for old in list(self._execs)[:-_KNOWN_EXECS]:
                del self._execs[old]
        return made

    async def exec_inspect(self, id: str) -> ExecInspectResponse | None:
        node_id = self._execs.get(id)
        if node_id is None:
            return None
        answer = await self._calls.ask(node_id, Ask("exec_inspect", id))
        return msgspec.json.decode(answer, type=ExecInspectResponse)

    async def exec_resize(self, id: str, *, rows: int, columns: int) -> bool | None:
        """True when it was done."""
        node_id = self._execs.get(id)
        if node_id is None:
            return None
        await self._calls.ask(node_id, Ask("exec_resize", id, _encode(Size(rows, columns))))
        return True

    async def exec_start(
        self, id: str, body: ExecStartBody, take: Callable[[], Awaitable[Client]]
    ) -> bool | None:
        """Start it, on the stream that `take` gives or detached; True when it was.

        Raises, before the stream is taken, what the node refuses with; Unavailable.
        """
        node_id = self._execs.get(id)
        if node_id is None:
            return None
        ask = Ask("exec_start", id, _encode(body))
        if body.detach:
            await self._calls.ask(node_id, ask)
        else:
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._streams.start(self._stream, node_id, ask, take, started)
            await started
        return True

    async def _stream(
        self,
        node_id: str,
        ask: Ask,
        take: Callable[[], Awaitable[Client]],
        started: "asyncio.Future[None]",
    ) -> None:
        """From the start to the end of the stream; it outlives the request, which waits for `started`."""
        try:
            async with self._calls.to(node_id) as channel:
                await asked(channel, ask)
                client = await take()
                if not started.done():
                    started.set_result(None)
                await carry(channel, client.sock, client.early, head=client.head, to_its_end=False)
        except Exception as error:  # it is whoever waits who is to know
            if started.done():
                raise
            started.set_exception(error)
        finally:
            started.cancel()

    async def _of_container(self, act: str, ref: str, body: bytes, kind: type[T]) -> T | None:
        place = self._place(ref)
        if place is None:
            return None
        node_id, name = place
        return msgspec.json.decode(await self._calls.ask(node_id, Ask(act, name, body)), type=kind)

    def _place(self, ref: str) -> tuple[str, str] | None:
        place = placed(self._store.state, ref)
        return None if place is None or place[0] == self._store.node_id else place
