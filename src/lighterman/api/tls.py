"""TLS before HTTP: each encrypted connection becomes a plain one inside the engine.

A *wrapped* connection is one end of a socket pair, which the server takes for a client like any other; the
`Wrapping` carries bytes between the pair's other end and the encrypted connection. So the rest of the api
knows no TLS: a hijacked stream can be handed to a monitor, and each direction ends on its own. asyncio's own
TLS cannot end one direction alone, and `docker run -i < file` does just that: a client that has sent
everything says so (close_notify) and goes on reading.

Source: RFC 8446, section 6.1; ssl.MemoryBIO of Python.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from lighterman.api.hijack import Peer

HANDSHAKE_LIMIT_S = 10.0
PIECE_BYTES = 1 << 16
log = logging.getLogger(__name__)


class Wrapping(asyncio.Protocol):
    """One encrypted connection; `welcome` makes the plain one's protocol, and is told who the client is."""

    def __init__(self, context: ssl.SSLContext, welcome: Callable[[Peer], asyncio.BaseProtocol]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._welcome = welcome
        self._outside: asyncio.Transport | None = None
        self._inside = _Inside(self)
        self._opening: asyncio.Task[None] | None = None
        self._ready = False
        self._ended = False  # the client has sent everything

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._outside = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_LIMIT_S, self._give_up, "no handshake in time")

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        """The connection's own end, without a close_notify: there is nothing more to come."""
        self._end_of_input()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._outside = None
        self._inside.abort()

    def pause_writing(self) -> None:
        self._inside.pause()

    def resume_writing(self) -> None:
        self._inside.resume()

    # What the plain end calls

    def encrypt(self, data: bytes) -> None:
        """Send `data` to the client."""
        if self._outside is not None:
            self._tls.write(data)
            self._flush()

    def hang_up(self) -> None:
        """Nothing more comes from the plain end: say so, and let the connection go once that is sent."""
        if self._outside is None:
            return
        with suppress(ssl.SSLError):  # it wants to read the client's close_notify, for which nobody waits
            self._tls.unwrap()
        self._flush()
        self._outside.close()

    def hold(self) -> None:
        """The plain end is full."""
        if self._outside is not None:
            self._outside.pause_reading()

    def go_on(self) -> None:
        """The plain end has room again."""
        if self._outside is not None:
            self._outside.resume_reading()
            self._advance()

    # What happens with the client's bytes

    def _advance(self) -> None:
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._open()
            while not self._inside.is_full and (plain := self._tls.read(PIECE_BYTES)):
                self._inside.feed(plain)
            if not self._inside.is_full:
                self._end_of_input()  # an empty read is the client's close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end_of_input()
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the client why
            self._give_up(str(error))
            return
        self._flush()

    def _open(self) -> None:
        self._ready = True
        self._deadline.cancel()
        self.hold()
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self._opening = loop.create_task(self._connect(ours, theirs))

    async def _connect(self, ours: socket.socket, theirs: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        peer = self._peer()
        await loop.connect_accepted_socket(lambda: self._welcome(peer), theirs)
        await loop.connect_accepted_socket(lambda: self._inside, ours)

    def _peer(self) -> Peer:
        """The client's address, and the name in its certificate if it showed one."""
        if self._outside is None:
            return Peer(address="gone")
        host, port, *_ = self._outside.get_extra_info("peername")
        subject: Any = (self._tls.getpeercert() or {}).get("subject", ())
        name = next((value for part in subject for kind, value in part if kind == "commonName"), "")
        return Peer(address=f"{host}:{port}", certificate=name)

    def _end_of_input(self) -> None:
        if not self._ended:
            self._ended = True
            self._inside.end()

    def _flush(self) -> None:
        if self._outside is not None and (data := self._outgoing.read()):
            self._outside.write(data)

    def _give_up(self, why: str) -> None:
        log.debug("TLS: %s", why)
        if self._outside is not None:
            self._outside.close()


class _Inside(asyncio.Protocol):
    """The end of the socket pair that is not the server's; full until it is open."""

    def __init__(self, wrapping: Wrapping) -> None:
        self._wrapping = wrapping
        self._transport: asyncio.Transport | None = None
        self._ends = False
        self.is_full = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.resume_writing()
        if self._ends and self._transport is not None:
            self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._wrapping.encrypt(data)

    def eof_received(self) -> bool:
        self._wrapping.hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._wrapping.hang_up()

    def pause_writing(self) -> None:
        self.is_full = True
        self._wrapping.hold()

    def resume_writing(self) -> None:
        self.is_full = False
        self._wrapping.go_on()

    def feed(self, data: bytes) -> None:
        """Give `data` of the client to the server."""
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """The client has sent everything."""
        self._ends = True
        if self._transport is not None:
            self._transport.write_eof()

    def pause(self) -> None:
        """The client does not read."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """The client is gone."""
        if self._transport is not None:
            self._transport.abort()
