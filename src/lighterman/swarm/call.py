"""A call: a manager speaks with one node apart from its session, about a container of a task there.

The manager asks over the session, wherever that is (`CallWanted`); the node connects to it, so nothing has to
listen on nodes. The first frame is what is wanted (`Ask`), the second what came of it (`Told`); for a process
whose streams are wanted, bytes follow both ways (`carry`) until the node's end has no more.
"""

import asyncio
import logging
import socket
from typing import NoReturn

import msgspec
from msgspec import Struct

from lighterman import errdefs
from lighterman.errdefs import EngineError, System
from lighterman.lib.effects import Group
from lighterman.swarm.session import HEARTBEAT_PERIOD_S, Channel, ChannelClosed

log = logging.getLogger(__name__)
SILENCE_S = 4 * HEARTBEAT_PERIOD_S
_PIECE_BYTES = 64 << 10
_KINDS: dict[str, type[EngineError]] = {
    name: kind
    for name, kind in vars(errdefs).items()
    if isinstance(kind, type) and issubclass(kind, EngineError)
}


class _Frame(Struct, frozen=True, tag_field="t", omit_defaults=True):
    """A frame of either end."""


class Ask(_Frame, frozen=True, tag="ask"):
    """What the manager wants; `body` is that of the API's request, in JSON."""

    act: str
    """inspect, exec_create, exec_start, exec_resize or exec_inspect."""
    ref: str
    """A container, or an exec."""
    body: bytes = b""


class Told(_Frame, frozen=True, tag="told"):
    """What came of it: the answer's body in JSON, or the kind and the text of a failure."""

    body: bytes = b""
    kind: str = ""
    text: str = ""


class Piece(_Frame, frozen=True, tag="data"):
    data: bytes


class End(_Frame, frozen=True, tag="end"):
    """No more bytes come from here."""


class Beat(_Frame, frozen=True, tag="beat"):
    """Only that the other end is there."""


CallFrame = Ask | Told | Piece | End | Beat
CallChannel = Channel[CallFrame, CallFrame]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[CallFrame] = msgspec.msgpack.Decoder(CallFrame)


class Size(Struct, frozen=True):
    """The body of an `exec_resize`."""

    rows: int
    columns: int


class Inspection(Struct, frozen=True):
    """The body of an `inspect`."""

    size: bool


def encode_call(frame: CallFrame) -> bytes:
    return _ENCODER.encode(frame)


def decode_call(data: bytes) -> CallFrame:
    """Raises: msgspec.ValidationError, msgspec.DecodeError."""
    return _DECODER.decode(data)


def failure(error: EngineError) -> Told:
    """An error as it is told: a kind that the other end knows, and the text."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == errdefs.__name__)
    return Told(kind=kind.__name__, text=str(error))


def result(told: CallFrame) -> bytes:
    """The answer's body. Raises the failure that was told; System for what is no answer."""
    if not isinstance(told, Told):
        raise System("the node answers in another language")
    if told.kind:
        raise _KINDS.get(told.kind, System)(told.text)
    return told.body


async def carry(
    channel: CallChannel, sock: socket.socket, early: bytes = b"", head: bytes = b"", *, to_its_end: bool
) -> None:
    """Carry bytes between the channel and a socket, which gets `head` first and is closed in the end; `early`
    are bytes that were read from it before.

    With `to_its_end` the socket is the process's: it is over when that has no more to say. Else it is a
    client's: that may have no more to say, and still hear.
    """
    sock.setblocking(False)
    channel.silence_s = SILENCE_S
    try:
        await asyncio.get_running_loop().sock_sendall(sock, head)
        async with Group() as group:
            beats = group.create_task(_beat(channel))
            up = group.create_task(_up(channel, sock, early))
            down = group.create_task(_down(channel, sock))
            await (up if to_its_end else down)
            for task in (beats, up, down):
                task.cancel()
    except* (ChannelClosed, OSError, msgspec.MsgspecError) as errors:
        log.debug("call: %s", errors.exceptions[0])  # one end has left: there is nobody to tell
    finally:
        sock.close()


async def _up(channel: CallChannel, sock: socket.socket, early: bytes) -> None:
    loop = asyncio.get_running_loop()
    if early:
        await channel.send(Piece(early))
    while data := await loop.sock_recv(sock, _PIECE_BYTES):
        await channel.send(Piece(data))
    await channel.send(End())


async def _down(channel: CallChannel, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        match await channel.receive():
            case Piece(data):
                await loop.sock_sendall(sock, data)
            case End():
                sock.shutdown(socket.SHUT_WR)
                return
            case _:
                pass


async def _beat(channel: CallChannel) -> NoReturn:
    """A process that says nothing is not to be taken for lost, and an end that is lost is to be missed."""
    while True:
        await asyncio.sleep(HEARTBEAT_PERIOD_S)
        await channel.send(Beat())
