"""Carrying what arrives at a published port's own socket to the container.

Almost everything is sent on by nft and never comes here: what does is IPv6 to a container that has only
IPv4, and everything when somebody flushed the host's rules, so published ports go on answering. The
container sees the bridge's address as the source, as it does with docker-proxy.
"""

import asyncio
import contextlib
import socket

_CHUNK = 1 << 16
_UDP_IDLE_S = 90.0
_UDP_CLIENTS = 1024


class TcpRelay:
    """Serves one listening socket until it is closed."""

    def __init__(self, address: str, port: int) -> None:
        self._to = (address, port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Begin to take connections from `listener`, which then belongs to this relay."""
        self._server = await asyncio.start_server(self._carry, sock=listener, limit=_CHUNK)

    def lead_to(self, address: str) -> None:
        """Carry what is new to another address of the container."""
        self._to = (address, self._to[1])

    def close(self) -> None:
        """Stop listening and cut the connections that are open."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # either side may go at any time
                inner_reader, inner_writer = await asyncio.open_connection(*self._to, limit=_CHUNK)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(_pump(reader, inner_writer))
                        both.create_task(_pump(inner_reader, writer))
                finally:
                    inner_writer.close()
        finally:
            self._connections.discard(connection)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


class UdpRelay:
    """Serves one bound socket: each client gets a socket of its own towards the container."""

    def __init__(self, address: str, port: int) -> None:
        self._to = (address, port)
        self._listener: socket.socket | None = None
        self._clients: dict[tuple[str, int], tuple[socket.socket, asyncio.TimerHandle]] = {}

    async def serve(self, listener: socket.socket) -> None:
        """Begin to take datagrams from `listener`, which then belongs to this relay."""
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._from_client, listener)

    def lead_to(self, address: str) -> None:
        """Carry what clients send from now on to another address of the container."""
        self._to = (address, self._to[1])
        for client in list(self._clients):
            self._forget(client)

    def close(self) -> None:
        """Forget all clients and close the sockets."""
        for client in list(self._clients):
            self._forget(client)
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _from_client(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # datagrams may be lost: BlockingIOError, ECONNREFUSED
            data, client = listener.recvfrom(_CHUNK)
            upstream = self._upstream(client)
            if upstream is not None:
                upstream.send(data)

    def _upstream(self, client: tuple[str, int]) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        known = self._clients.get(client)
        if known is None:
            if len(self._clients) >= _UDP_CLIENTS:
                return None
            family = socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET
            upstream = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            upstream.connect(self._to)
            loop.add_reader(upstream, self._from_container, upstream, client)
        else:
            upstream = known[0]
            known[1].cancel()
        self._clients[client] = (upstream, loop.call_later(_UDP_IDLE_S, self._forget, client))
        return upstream

    def _from_container(self, upstream: socket.socket, client: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            data = upstream.recv(_CHUNK)
            if self._listener is not None:
                self._listener.sendto(data, client)

    def _forget(self, client: tuple[str, int]) -> None:
        upstream, timer = self._clients.pop(client)
        timer.cancel()
        asyncio.get_running_loop().remove_reader(upstream)
        upstream.close()
