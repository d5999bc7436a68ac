"""The session of a node without an agent: it is there, and does nothing."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from lighterman.swarm.node.describe import describe
from lighterman.swarm.session import HEARTBEAT_PERIOD_S, AgentChannel, Alive, ChannelClosed, Hello

if TYPE_CHECKING:
    from lighterman.swarm.node.node import Node

_RETRY_S = 0.5


async def attend(node: "Node") -> None:
    """Keep a session, for ever."""
    while True:
        with contextlib.suppress(ChannelClosed, ExceptionGroup):
            channel = await node.connect()
            try:
                await channel.send(Hello(describe(node), node.membership.data_path))
                async with asyncio.TaskGroup() as group:
                    group.create_task(_beat(channel))
                    while True:
                        await channel.receive()
            finally:
                await channel.close()
        await asyncio.sleep(_RETRY_S)


async def _beat(channel: AgentChannel) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_PERIOD_S)
        await channel.send(Alive())
