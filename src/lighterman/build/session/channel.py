"""gRPC towards a client, on the connection that the client has opened.

The library dials for itself and takes no connection that is there already. So it dials a socket of ours,
which lies in a directory of its own for that moment, and what comes out of it is passed on to the client and
back.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

# The engine starts processes all the time, and gRPC would look after each fork. Before the import: it reads
# it once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio

from lighterman.content import Content
from lighterman.errdefs import EngineError, Forbidden, InvalidParameter, NotFound, System
from lighterman.lib.effects import in_thread, to_end
from lighterman.runtime import Client

_PIECE = 1 << 18
_OPTIONS = (
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
)
_KINDS: dict[grpc.StatusCode, type[EngineError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidParameter,
}
_PEER = struct.Struct("3i")
Metadata = Sequence[tuple[str, str]]


class Message(Protocol):
    """One of those in `session_pb2`."""

    def SerializeToString(self) -> bytes: ...


T = TypeVar("T")


class Stream:
    """A call in which both sides go on talking."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, message: Message) -> None:
        """Raises: as `Channel.call`."""
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.failure()

    async def done_sending(self) -> None:
        """There is nothing more to say."""
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._call.done_writing()

    async def messages(self) -> AsyncGenerator[Any, None]:
        """What comes, to the end. Raises: as `Channel.call`."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                yield message
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        await self.failure()

    async def failure(self) -> None:
        """Raises: what the call ended with, if that was no success."""
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            raise _KINDS.get(code, System)(await self._call.details() or code.name)


class Channel:
    """The way to call one client."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.closed = asyncio.Event()
        """The client is gone."""

    async def call(self, method: str, request: Message, kind: type[T]) -> T:
        """The answer. Raises: NotFound, Forbidden, InvalidParameter, System with the client's words."""
        call = self._channel.unary_unary(
            method,
            request_serializer=_serialized,
            response_deserializer=cast(Any, kind).FromString,
        )
        try:
            return cast(T, await call(request))
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    @asynccontextmanager
    async def stream(self, method: str, kind: type[Any], metadata: Metadata = ()) -> AsyncIterator[Stream]:
        """A conversation of messages of one kind, while the block lasts."""
        begin = self._channel.stream_stream(
            method, request_serializer=_serialized, response_deserializer=kind.FromString
        )
        call = begin(metadata=tuple(metadata))
        try:
            yield Stream(call)
        finally:
            call.cancel()

    @asynccontextmanager
    async def while_open(self, gone: Callable[[], EngineError]) -> AsyncIterator[None]:
        """Cancel the block when the client goes. Raises: what `gone` makes."""
        block = asyncio.current_task()
        assert block is not None
        left = False

        async def watch() -> None:
            nonlocal left
            await self.closed.wait()
            left = True
            block.cancel()

        watching = asyncio.ensure_future(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and block.uncancel() == 0:
                raise gone() from None
            raise
        finally:
            watching.cancel()


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _failure(error: grpc.aio.AioRpcError) -> EngineError:
    return _KINDS.get(error.code(), System)(error.details() or error.code().name)


@asynccontextmanager
async def opened_channel(content: Content, client: Client) -> AsyncIterator[Channel]:
    """A channel on a client's connection, whose socket stays the caller's."""
    async with _dialled(content) as (library, ours):
        channel = Channel(library)
        passing = asyncio.ensure_future(_pass(channel, client, ours))
        try:
            yield channel
        finally:
            passing.cancel()
            await to_end(_settled(passing))
            await library.close()


async def _settled(*tasks: "asyncio.Future[None]") -> None:
    await asyncio.wait(tasks)


@asynccontextmanager
async def _dialled(content: Content) -> AsyncIterator[tuple[grpc.aio.Channel, socket.socket]]:
    """A channel of the library, and the other end of its connection."""
    ingest = await in_thread(content.new_ingest)
    directory, listener = await in_thread(_listening, ingest)
    try:
        # by the descriptor: the path of a socket has 107 bytes at most, that of a data root may be longer
        library = grpc.aio.insecure_channel(f"unix:/proc/self/fd/{directory}/s", options=_OPTIONS)
        library.get_state(try_to_connect=True)
        ours = await _accepted(listener)
    finally:
        listener.close()
        os.close(directory)
        await to_end(in_thread(content.discard, ingest))
    with ours:
        yield library, ours


def _listening(ingest: Path) -> tuple[int, socket.socket]:
    directory = os.open(ingest, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(f"/proc/self/fd/{directory}/s")
    listener.listen(1)
    return directory, listener


async def _accepted(listener: socket.socket) -> socket.socket:
    """The connection of this process itself; another's is closed."""
    while True:
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        pid, _, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if pid == os.getpid():
            peer.setblocking(False)
            return peer
        peer.close()


async def _pass(channel: Channel, client: Client, ours: socket.socket) -> None:
    """Pass everything on in both directions until one side ends."""
    client.sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(client.sock, client.head)
        await loop.sock_sendall(ours, client.early)
        ways = [
            asyncio.ensure_future(_copy(client.sock, ours)),
            asyncio.ensure_future(_copy(ours, client.sock)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await to_end(_settled(*ways))
    except OSError:
        pass  # the client is gone
    finally:
        channel.closed.set()


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while piece := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(target, piece)


async def copied(stream: Stream, wrap: Callable[[bytes], Message], sock: socket.socket) -> None:
    """Pass a socket's bytes through a stream and back, until one side ends."""
    loop = asyncio.get_running_loop()

    async def out() -> None:
        while piece := await loop.sock_recv(sock, _PIECE):
            await stream.send(wrap(piece))
        await stream.done_sending()

    sending = asyncio.ensure_future(out())
    try:
        async with aclosing(stream.messages()) as messages:
            async for message in messages:
                await loop.sock_sendall(sock, message.data)
    finally:
        sending.cancel()
        await to_end(_settled(sending))
