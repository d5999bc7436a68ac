"""Channels of a session: a pair of queues within a manager, a websocket between hosts."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from lighterman.swarm.ca.certificates import MANAGER_NAME
from lighterman.swarm.call import CallChannel, CallFrame, decode_call, encode_call
from lighterman.swarm.node.wire import reason
from lighterman.swarm.session import (
    HEARTBEAT_PERIOD_S,
    SILENT_PERIODS,
    AgentChannel,
    AgentFrame,
    ChannelClosed,
    ManagerChannel,
    ManagerFrame,
    decode_from_agent,
    decode_from_manager,
    encode,
)

SESSION_PATH = "/v1/session"
LOGS_PATH = "/v1/logs"
CALLS_PATH = "/v1/calls/"
SILENCE_S = HEARTBEAT_PERIOD_S * SILENT_PERIODS
"""Until the session says how long it may be silent."""
CONNECT_S = 5.0
FRAME_LIMIT_BYTES = 64 << 20
_AHEAD = 64
_PARTING_S = 1.0
"""For the other side to say that it has heard of the end."""
In = TypeVar("In")
Out = TypeVar("Out")


class LocalChannel(Generic[In, Out]):
    """One end of a pair within the process."""

    def __init__(self, incoming: "asyncio.Queue[In | None]", outgoing: "asyncio.Queue[Out | None]") -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._closed = False
        self.silence_s = SILENCE_S  # nothing is lost on the way: it does not matter here

    async def send(self, frame: Out) -> None:
        if self._closed:
            raise ChannelClosed("closed")
        await self._outgoing.put(frame)

    async def receive(self) -> In:
        frame = None if self._closed else await self._incoming.get()
        if frame is None:
            self._closed = True
            raise ChannelClosed("closed")
        return frame

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(asyncio.QueueFull):
                self._outgoing.put_nowait(None)
            with contextlib.suppress(asyncio.QueueFull):
                self._incoming.put_nowait(None)


def local_pair() -> tuple[LocalChannel[ManagerFrame, AgentFrame], LocalChannel[AgentFrame, ManagerFrame]]:
    """The agent's end and the manager's."""
    to_agent: asyncio.Queue[ManagerFrame | None] = asyncio.Queue(_AHEAD)
    to_manager: asyncio.Queue[AgentFrame | None] = asyncio.Queue(_AHEAD)
    return LocalChannel(to_agent, to_manager), LocalChannel(to_manager, to_agent)


class Socket(Protocol):
    """What aiohttp's websockets of either side have."""

    async def send_bytes(self, data: bytes) -> None: ...
    async def receive(self, timeout: float | None = None) -> Any: ...
    async def close(self) -> Any: ...


class SocketChannel(Generic[In, Out]):
    """One end of a websocket. An end that hears nothing for `silence_s` gives up."""

    def __init__(
        self,
        socket: Socket,
        encode_: Callable[[Out], bytes],
        decode: Callable[[bytes], In],
        also_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._socket, self._encode, self._decode = socket, encode_, decode
        self._also_close = also_close
        self.silence_s = SILENCE_S

    async def send(self, frame: Out) -> None:
        try:
            async with asyncio.timeout(self.silence_s):
                await self._socket.send_bytes(self._encode(frame))
        except (OSError, RuntimeError, TimeoutError, aiohttp.ClientError) as error:
            raise ChannelClosed(str(error)) from error

    async def receive(self) -> In:
        try:
            message = await self._socket.receive(timeout=self.silence_s)
        except (OSError, RuntimeError, TimeoutError, aiohttp.ClientError) as error:
            raise ChannelClosed(str(error) or "nothing was heard") from error
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ChannelClosed("closed")
        return self._decode(message.data)

    async def close(self) -> None:
        try:
            with contextlib.suppress(OSError, RuntimeError, TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(_PARTING_S):
                    await self._socket.close()
        finally:
            if self._also_close is not None:
                await self._also_close()


class CallSocket(SocketChannel[CallFrame, CallFrame]):
    """One end of a call. Whoever does not take what he is sent holds up the other end as long as he likes:
    that both are there is seen by what they send.
    """

    def __init__(self, socket: Socket, also_close: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(socket, encode_call, decode_call, also_close)

    async def send(self, frame: CallFrame) -> None:
        try:
            await self._socket.send_bytes(self._encode(frame))
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            raise ChannelClosed(str(error)) from error


async def connect(addr: str, context: ssl.SSLContext) -> AgentChannel:
    """A session's channel to the manager at host:port, who must show a manager's certificate.

    Raises: ChannelClosed, with the reason.
    """
    return await _connect(addr, SESSION_PATH, context, encode, decode_from_manager)


async def connect_for_logs(addr: str, context: ssl.SSLContext) -> ManagerChannel:
    """A channel on which another manager asks its nodes for logs, as if it were one node.

    Raises: ChannelClosed, with the reason.
    """
    return await _connect(addr, LOGS_PATH, context, encode, decode_from_agent)


async def connect_for_call(addr: str, call_id: str, context: ssl.SSLContext) -> CallChannel:
    """A channel on which the manager at host:port says what it wants of this node.

    Raises: ChannelClosed, with the reason.
    """
    return CallSocket(*await _opened(addr, CALLS_PATH + call_id, context))


async def _connect(
    addr: str,
    path: str,
    context: ssl.SSLContext,
    encode_: Callable[[Out], bytes],
    decode: Callable[[bytes], In],
) -> SocketChannel[In, Out]:
    socket, close = await _opened(addr, path, context)
    return SocketChannel(socket, encode_, decode, close)


async def _opened(
    addr: str, path: str, context: ssl.SSLContext
) -> tuple[Socket, Callable[[], Awaitable[None]]]:
    """A websocket to a manager, and what is to be closed after it. Raises: ChannelClosed."""
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S))
    try:
        async with asyncio.timeout(CONNECT_S * 2):
            socket = await session.ws_connect(
                f"https://{addr}{path}",
                ssl=context,
                server_hostname=MANAGER_NAME,
                max_msg_size=FRAME_LIMIT_BYTES,
                autoping=True,
            )
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        await session.close()
        raise ChannelClosed(f"{addr}: {reason(error)}") from error
    except BaseException:
        await session.close()
        raise
    return socket, session.close
