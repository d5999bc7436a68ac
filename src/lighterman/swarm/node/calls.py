"""A manager's calls to nodes: each waits here until its node has connected."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from lighterman.errdefs import Forbidden, Unavailable
from lighterman.swarm.call import Ask, CallChannel, result
from lighterman.swarm.identity import new_id
from lighterman.swarm.session import CallWanted, ChannelClosed

WITHIN_S = 15.0


class _Waiting:
    """A call that its node is to take up."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.channel: asyncio.Future[CallChannel] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()


class Calls:
    """`want` lets a node know, over its session; `addr` is where this manager is found."""

    def __init__(self, want: Callable[[str, CallWanted], Awaitable[None]], addr: str) -> None:
        self._want = want
        self._addr = addr
        self._waiting: dict[str, _Waiting] = {}

    @asynccontextmanager
    async def to(self, node_id: str) -> AsyncIterator[CallChannel]:
        """A channel to the node for as long as the block lasts. Raises: Unavailable: it does not come."""
        call_id, waiting = new_id(), _Waiting(node_id)
        self._waiting[call_id] = waiting
        try:
            try:
                async with asyncio.timeout(WITHIN_S):
                    await self._want(node_id, CallWanted(call_id, self._addr))
                    channel = await waiting.channel
            except (TimeoutError, ChannelClosed) as error:
                reason = str(error) or f"it did not answer within {WITHIN_S:.0f} s"
                raise Unavailable(f"node {node_id} cannot be reached: {reason}") from None
            channel.silence_s = WITHIN_S
            yield channel
        finally:
            del self._waiting[call_id]
            waiting.over.set()

    async def ask(self, node_id: str, ask: Ask) -> bytes:
        """What the node answers. Raises what it refuses with; Unavailable."""
        async with self.to(node_id) as channel:
            return await asked(channel, ask)

    def check(self, call_id: str, node_id: str) -> None:
        """Whether this node is called so. Raises: Forbidden."""
        waiting = self._waiting.get(call_id)
        if waiting is None or waiting.node_id != node_id or waiting.channel.done():
            raise Forbidden("rpc error: code = PermissionDenied desc = nobody calls this node")

    async def take(self, call_id: str, channel: CallChannel) -> None:
        """The node has connected; until the call is over."""
        waiting = self._waiting[call_id]
        waiting.channel.set_result(channel)
        await waiting.over.wait()


async def asked(channel: CallChannel, ask: Ask) -> bytes:
    """The answer to the first frame of a call. Raises the failure that is told; Unavailable."""
    try:
        await channel.send(ask)
        return result(await channel.receive())
    except ChannelClosed as closed:
        raise Unavailable(f"the node cannot be reached: {closed}") from None
