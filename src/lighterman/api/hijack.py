"""Connections that leave HTTP: attach, exec start and sessions take over the client's socket.

Three words. A request that will be *hijacked* is known by its first line (`is_hijack`), before HTTP's parser
sees it; what the client sends behind it is *early*: no HTTP, but the first bytes of the process's stdin; to
*take* the connection is to get its socket out of the event loop, without a shutdown, for whoever serves the
stream from then on.

Clients do not wait for the answer before they send (`docker run -i < file`), and without `Upgrade: tcp` a
parser takes those bytes for the next request. So `Connection` cuts the stream itself: it gathers a head (and
for a hijacked request the body) until it is whole, and only then gives it to aiohttp.

Internals of aiohttp that this rests on are named at `Connection`; tests/api/test_hijack.py proves them.
"""

import asyncio
import logging
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader
from aiohttp.streams import EMPTY_PAYLOAD
from msgspec import Struct

from lighterman.api import web
from lighterman.api.request import RAW_STREAM
from lighterman.errdefs import InvalidParameter
from lighterman.runtime import Client

if TYPE_CHECKING:
    from lighterman.api.roles import Role

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 1024 * 1024
"""A longer head is left to aiohttp's parser, which refuses it. Source: DefaultMaxHeaderBytes of Go."""
BODY_LIMIT_BYTES = 1024 * 1024
"""The body of an exec start is some 50 bytes; a larger one is not worth being gathered."""
HEAD_LIMIT_S = 60.0
"""How long a client may take for the head of a request, from its first byte on."""
SILENCE_LIMIT_S = 300.0
"""How long a client that has connected may say nothing: as moby's ReadHeaderTimeout. Pools connect ahead."""
EARLY_LIMIT_BYTES = 1024 * 1024
"""What is kept in memory of a stream that nobody has taken yet; then the client has to wait."""

_CROWDED = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_HEAD_END = re.compile(rb"\n\r?\n")
_HIJACKED = re.compile(
    rb"POST (?:\w+://[^/ ]*)?(?:/v[0-9.]+)?/(?:containers/[^ ?]+/attach|exec/[^ ?]+/start|session)[? ]"
)
_OURS = re.compile(rb"^(?:upgrade|expect|connection)[ \t]*:.*?(?:\r?\n)", re.I | re.M)
_UPGRADE = re.compile(rb"^upgrade[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.I | re.M)
_WANTS_CONTINUE = re.compile(rb"^expect[ \t]*:[ \t]*100-continue", re.I | re.M)
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.I | re.M)
_CHUNKED = re.compile(rb"^transfer-encoding[ \t]*:.*chunked", re.I | re.M)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]*)?\r\n")


def is_hijack(head: bytes | bytearray) -> bool:
    """Whether this request's connection may leave HTTP."""
    return _HIJACKED.match(head) is not None


def body_end(data: bytes, start: int) -> int | None:
    """Where the body that begins at `start` ends, or None while it is not whole. `data` begins with the head.

    Source: RFC 9112, section 6. A broken chunk ends the body: the parser will refuse it.
    """
    head = data[:start]
    if not _CHUNKED.search(head):
        length = _LENGTH.search(head)
        end = start + (int(length[1]) if length else 0)
        return end if end <= len(data) else None
    at = start
    while at < len(data):
        chunk = _CHUNK.match(data, at)
        if chunk is None:
            return None if b"\n" not in data[at:] else len(data)
        size = int(chunk[1], 16)
        if size == 0:  # trailers, then an empty line
            end = data.find(b"\r\n\r\n", chunk.end() - 2)
            return end + 4 if end >= 0 else None
        at = chunk.end() + size + 2
    return None


class Hijack(Struct):
    """A request that may take its connection, with what came behind it."""

    upgrades: bool
    early: bytearray
    protocol: str = ""
    """What the client wants to speak from then on."""


class Connection(web.RequestHandler):
    """aiohttp's connection, with the stream cut at requests that will be hijacked.

    It rests on these attributes of aiohttp's: `_messages`, the requests that were parsed and have to wait,
    `_upgraded`, whether the connection is a websocket's by now, `_force_close`, and that `connection_lost`
    lets everything go.

    A client may send its next request before aiohttp is done with the answer that it has read: one that will
    be hijacked is held back until then.
    """

    __slots__ = (
        *("_body", "_counted", "_crowd", "_deadline", "_partial", "_server_name", "_unanswered"),
        *("hijack", "peer", "place"),
    )

    def __init__(self, manager: "Server", **options: Any) -> None:
        super().__init__(manager, **options)
        self._server_name = manager.name
        self._crowd = manager.crowd
        self._counted = False
        self._partial = bytearray()
        self._deadline: asyncio.TimerHandle | None = None
        self._body: StreamReader = EMPTY_PAYLOAD
        """Of the request that was parsed last."""
        self._unanswered = 0
        """Requests that were parsed and have no whole answer yet."""
        self.hijack: Hijack | None = None
        self.place = manager.place
        self.peer: Peer | None = None

    @property
    def _is_between(self) -> bool:
        """Whether the next byte begins a request."""
        return self._body.is_eof() and not self._messages and not self._upgraded

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._crowd.has_room:
            cast(asyncio.Transport, transport).write(_CROWDED)  # uvloop's are of no class of asyncio's
            transport.close()
            return
        self._crowd.connected += 1
        self._counted = True
        self.peer = self.peer or _peer(transport.get_extra_info("socket"))
        self._await_head(SILENCE_LIMIT_S)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self._crowd.connected -= 1
        self._head_came()
        super().connection_lost(exc)

    def _await_head(self, within_s: float) -> None:
        """From now on the client has a while to send a whole head."""
        self._head_came()
        self._deadline = asyncio.get_running_loop().call_later(within_s, self._give_up)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self.transport is not None:
            log.debug("a client took too long to ask")
            self.transport.write(_TOO_SLOW)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.hijack is not None:
            self.hijack.early += data
            if len(self.hijack.early) > EARLY_LIMIT_BYTES and self.transport is not None:
                self.transport.pause_reading()
        elif data and (self._partial or self._is_between):
            if not self._partial:
                self._await_head(HEAD_LIMIT_S)
            searched = max(0, len(self._partial) - 2)  # the end of a head may lie across two reads
            self._partial += data
            self._look(0 if is_hijack(self._partial) else searched)
        else:
            self._hand_on(data)

    def _look(self, searched: int = 0) -> None:
        """Go on if what was gathered has a whole head; no end of it lies before `searched`."""
        end = _HEAD_END.search(self._partial, searched)
        if end is not None:
            self._feed(end.end())
        elif len(self._partial) > HEAD_LIMIT_BYTES:
            self._parse(bytes(self._partial))

    def _feed(self, body_start: int) -> None:
        """Give what was gathered to the parser, but of a request that will be hijacked only what is HTTP."""
        data = bytes(self._partial)
        if not is_hijack(data):
            whole = body_end(data, body_start) or len(data)
            self._parse(data[:whole])
            if whole < len(data):  # a request behind a request: it waits for its turn
                self._partial += data[whole:]
                self._look()
            return
        if self._unanswered:
            self._head_came()
            if len(data) > EARLY_LIMIT_BYTES and self.transport is not None:
                self.transport.pause_reading()
            return
        head, end = data[:body_start], body_end(data, body_start)
        if end is not None:
            upgrade = _UPGRADE.search(head)
            protocol = upgrade[1].decode(errors="replace") if upgrade else ""
            self.hijack = Hijack(upgrade is not None, bytearray(data[end:]), protocol)
            # aiohttp has its own idea of an upgrade (no body, a tail of its own), so it sees none.
            self._parse(_OURS.sub(b"", head) + data[body_start:end])
        elif len(data) > HEAD_LIMIT_BYTES + BODY_LIMIT_BYTES:
            self._parse(data)
        elif len(data) == body_start and _WANTS_CONTINUE.search(head) and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _parse(self, data: bytes) -> None:
        self._partial.clear()
        self._head_came()
        self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        waiting = len(self._messages)
        super().data_received(data)
        if len(self._messages) > waiting:
            self._unanswered += len(self._messages) - waiting
            self._body = self._messages[-1][1]

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; then the turn of a request that was held back has come."""
        finished = await super().finish_response(request, resp, start_time)
        self._unanswered -= 1
        if self._partial and not self._unanswered and self.transport is not None:
            self.transport.resume_reading()
            self._look()
        return finished

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio's own type
        """The end of what the client sends: of the connection, or only of stdin if it will be a stream."""
        return True if self.hijack is not None else None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP; whatever a handler raises has been answered before it gets here."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun")
        log.debug("no request: %s", message or exc)
        text = f"{status} {HTTPStatus(status).phrase}"
        response = web.Response(status=status, text=text, headers={"Server": self._server_name})
        response.force_close()
        return response

    async def take(self, head: bytes) -> Client:
        """The connection, out of HTTP and out of the event loop; `head` is the answer still to be written.

        Raises: InvalidParameter when the request came behind another one that was not answered yet,
        ConnectionResetError when the client is gone.
        """
        if self.hijack is None:
            raise InvalidParameter("a request that takes over its connection cannot be pipelined")
        transport = self.transport
        if transport is not None:
            transport.pause_reading()
            transport.set_write_buffer_limits(high=0)
            await self._drain_helper()  # the answers before this one
        if transport is None or self.transport is None:
            raise ConnectionResetError("the client is gone")
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.set_protocol(asyncio.Protocol())
        self.transport = None
        transport.abort()  # closes the event loop's copy of the descriptor; there is no shutdown
        self._force_close = True
        self.connection_lost(None)
        return Client(sock, bytes(self.hijack.early), head)


class Crowd(Struct):
    """How many clients are connected to all listeners, and how many may be."""

    most: int = 10000
    connected: int = 0

    @property
    def has_room(self) -> bool:
        return self.connected < self.most


class Place(Struct, frozen=True):
    """Where a connection came in."""

    address: str = ""
    """Of the host, on TCP; "" for a unix socket."""
    encrypted: bool = False
    """By TLS, so that the client knows whom it speaks to."""
    role: "Role | None" = None
    """What its clients may do; None: everything."""
    has_page: bool = False
    """It is for browsers: the status page is served there, and nothing else."""


class Peer(Struct, frozen=True):
    """Who sends, as far as the kernel or a certificate tells it."""

    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    """In the engine's namespace; these three on a unix socket."""
    address: str = ""
    """On TCP, with the port."""
    certificate: str = ""
    """The common name in it."""


class Server(web.Server):
    """aiohttp's server, with `Connection` for each client of one listener."""

    def __init__(
        self,
        handler: _Handler,
        *,
        name: str,
        place: Place = Place(),  # noqa: B008 it is frozen
        crowd: Crowd | None = None,
        **options: Any,
    ) -> None:
        super().__init__(handler, **options)
        self.name = name
        """The value of the header Server."""
        self.place = place
        self.crowd = crowd or Crowd()

    def __call__(self, peer: Peer | None = None) -> Connection:
        connection = Connection(self, loop=self._loop, **self._kwargs)
        connection.peer = peer
        return connection


def _peer(sock: socket.socket) -> Peer:
    """Who is at the other end, as the kernel tells it. Source: SO_PEERCRED in unix(7)."""
    if sock.family == socket.AF_UNIX:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(credentials)
        return Peer(uid, gid, pid)
    with suppress(OSError):  # it has hung up already
        host, port, *_ = sock.getpeername()
        return Peer(address=f"{host}:{port}")
    return Peer(address="gone")


def switched_head(protocol: str) -> bytes:
    """The head that begins another protocol, as dockerd writes it: nothing of Docker's in it."""
    lines = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}", "", "")
    return "\r\n".join(lines).encode()


def stream_head(connection: Connection, headers: Mapping[str, str], kind: str) -> bytes:
    """The head that begins a stream, as dockerd writes it: no length, no chunks, no date.

    Who did not ask for an upgrade is told of no other `kind` of stream than the raw one.
    """
    upgrades = connection.hijack is not None and connection.hijack.upgrades
    lines = [
        "HTTP/1.1 101 UPGRADED" if upgrades else "HTTP/1.1 200 OK",
        f"Content-Type: {kind if upgrades else RAW_STREAM}",
        *(["Connection: Upgrade", "Upgrade: tcp"] if upgrades else []),
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
