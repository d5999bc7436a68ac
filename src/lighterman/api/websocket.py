"""Attach over a websocket: frames on the client's side, a plain stream socket on the container's.

The container's monitor gets one end of a socket pair, as it gets the client's own socket otherwise, and this
module carries bytes between the other end and the frames. Each piece of output is one frame; what frames say
is input, whatever their kind; the end of either side is the end of both.

Source: attach/ws of dockerd 20.10.24: one stream without Docker's frames; binary from 1.28 on, text before.
"""

import asyncio
import socket
from contextlib import suppress

from aiohttp import WSMsgType

from lighterman.api import web
from lighterman.errdefs import InvalidParameter
from lighterman.runtime import Client

PIECE_BYTES = 1 << 16


class NoHandshake(InvalidParameter):
    """The request does not ask for a websocket."""

    def __init__(self) -> None:
        super().__init__("not websocket protocol")


class WebSocket:
    """One connection. `take` opens it, `served` lasts as long as it does."""

    def __init__(self, http: web.BaseRequest, *, text: bool) -> None:
        from aiohttp.web_ws import WebSocketResponse  # few clients ask for one

        self._http = http
        self._kind = WSMsgType.TEXT if text else WSMsgType.BINARY
        self.response = WebSocketResponse(compress=False)
        self._carried: asyncio.Task[None] | None = None

    async def take(self) -> Client:
        """The container's end. Raises: NoHandshake, before anything was answered."""
        if not self.response.can_prepare(self._http):
            raise NoHandshake
        await self.response.prepare(self._http)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._carried = asyncio.get_running_loop().create_task(self._carry(ours))
        return Client(theirs, b"", b"")

    async def served(self) -> None:
        """Wait for the end; a cancellation ends it."""
        if self._carried is not None:
            await self._carried

    async def _carry(self, sock: socket.socket) -> None:
        with sock:
            inward = asyncio.get_running_loop().create_task(self._inward(sock))
            try:
                await self._outward(sock)
            finally:
                inward.cancel()
                with suppress(asyncio.CancelledError):
                    await inward
            await self.response.close()

    async def _outward(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):  # the client, or the monitor, is gone
            while piece := await loop.sock_recv(sock, PIECE_BYTES):
                await self.response.send_frame(piece, self._kind)

    async def _inward(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            async for message in self.response:
                data = message.data.encode() if message.type == WSMsgType.TEXT else message.data
                await loop.sock_sendall(sock, data)
            sock.shutdown(socket.SHUT_RDWR)  # the client has closed: it is attached no longer
