"""The name servers outside: which they are, and how a question is handed on to them.

A question goes out from the container's own network, where its rules and routes apply; only servers on the
host's loopback are asked from the host. Each has a socket of its own: the kernel chooses its port by chance,
and a server that is not there is told at once. A server that does not answer within `PATIENCE_S` gets
company from the next, and the first good answer counts.
"""

import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from lighterman.lib import dns_message as dns
from lighterman.lib.effects import to_end
from lighterman.linux import netns
from lighterman.networks.files import FALLBACK, parse_resolv_conf

PATIENCE_S, GIVE_UP_S = 1.0, 4.5  # clients ask again after 5 s
_MAX_SERVERS, _MAX_STOCK = 3, 16
_PORT = 53
_FAILED = (dns.SERVER_FAILURE, dns.REFUSED, dns.NOT_IMPLEMENTED)


class Upstream(Struct, frozen=True):
    """A server, and whether it is asked from the host's network."""

    address: str
    on_host: bool = False


def upstreams(wished: Sequence[str], host_text: str) -> tuple[Upstream, ...]:
    """The servers wished, or those of the host's resolv.conf, or Google's as in dockerd. Pure."""
    if wished:
        return tuple(Upstream(address) for address in wished[:_MAX_SERVERS])
    found = []
    for server in parse_resolv_conf(host_text).servers:
        try:
            address = ipaddress.ip_address(server)
        except ValueError:
            continue
        found.append(Upstream(server, on_host=address.is_loopback or "%" in server))
    return tuple(found[:_MAX_SERVERS] or map(Upstream, FALLBACK))


class Doorway:
    """Makes sockets in other network namespaces, in a thread of its own that may enter them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="names")

    async def sockets(self, key: str, family: int, kind: int, count: int) -> list[socket.socket]:
        """So many sockets in the namespace at `key`, "" is the host's. Raises: OSError."""
        return await to_end(self._made(key, family, kind, count))

    async def _made(self, key: str, family: int, kind: int, count: int) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _sockets_in, key, family, kind, count)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False)


def _sockets_in(key: str, family: int, kind: int, count: int) -> list[socket.socket]:
    def make() -> list[socket.socket]:
        return [socket.socket(family, kind | socket.SOCK_NONBLOCK) for _ in range(count)]

    if not key:
        return make()
    fd = netns.open_pinned(key)
    try:
        with netns.inside(fd):
            return make()
    finally:
        os.close(fd)


class Forwarder:
    """Hands questions of the sandbox at `key` on to `servers`."""

    def __init__(self, doorway: Doorway, key: str, servers: Sequence[Upstream]) -> None:
        self._doorway = doorway
        self._key = key
        self._servers = servers
        self._asking = 0
        self._stock: dict[tuple[str, int], list[socket.socket]] = {}  # of UDP, not yet used
        self._filling = asyncio.Lock()

    def close(self) -> None:
        """Let go of what was in stock."""
        for socks in self._stock.values():
            for sock in socks:
                sock.close()
        self._stock = {}

    async def ask(self, data: bytes, query: dns.Query, *, by_tcp: bool) -> bytes | None:
        """The raw answer of the first server that gives a good one, else of one that says it failed; None
        when nobody says anything in time."""
        pending: set[asyncio.Task[bytes]] = set()
        failed: bytes | None = None
        try:
            async with asyncio.timeout(GIVE_UP_S):
                for at, server in enumerate(self._servers):
                    pending.add(asyncio.create_task(self._ask_one(server, data, query, by_tcp=by_tcp)))
                    last = at == len(self._servers) - 1
                    patience_s = None if last else PATIENCE_S
                    while pending:
                        done, pending = await asyncio.wait(
                            pending, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                        )
                        for reply in [task.result() for task in done if task.exception() is None]:
                            if dns.code_of(reply) not in _FAILED:
                                return reply
                            failed = reply
                        if not last:
                            break
        except TimeoutError:
            return failed
        finally:
            for task in pending:
                task.cancel()
        return failed

    async def _ask_one(self, server: Upstream, data: bytes, query: dns.Query, *, by_tcp: bool) -> bytes:
        number = secrets.randbelow(1 << 16)  # clients' own ids are too easy to guess
        self._asking += 1
        sock: socket.socket | None = None
        try:
            sock = await self._socket(server, by_tcp=by_tcp)
            await asyncio.get_running_loop().sock_connect(sock, (server.address, _PORT))
            talk = _talk_tcp if by_tcp else _talk_udp
            return dns.with_id(await talk(sock, dns.with_id(data, number), query, number), query.id)
        finally:
            self._asking -= 1
            if sock is not None:
                sock.close()

    async def _socket(self, server: Upstream, *, by_tcp: bool) -> socket.socket:
        """A fresh socket. Who asks much gets several made at once: each visit to the namespace costs more
        than the sockets."""
        key = "" if server.on_host else self._key
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        if by_tcp:
            return (await self._doorway.sockets(key, family, socket.SOCK_STREAM, 1))[0]
        stock = self._stock.setdefault((key, family), [])
        async with self._filling:
            if not stock:
                count = min(self._asking, _MAX_STOCK)
                stock += await self._doorway.sockets(key, family, socket.SOCK_DGRAM, count)
            return stock.pop()


async def _talk_udp(sock: socket.socket, data: bytes, query: dns.Query, number: int) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, data)
    while True:
        reply = await loop.sock_recv(sock, 1 << 16)
        if dns.answers(reply, query, number):  # anything else is a lie or late
            return reply


async def _talk_tcp(sock: socket.socket, data: bytes, query: dns.Query, number: int) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, len(data).to_bytes(2, "big") + data)
    reply = await _exactly(sock, int.from_bytes(await _exactly(sock, 2), "big"))
    if not dns.answers(reply, query, number):
        raise OSError("the server answers another question")
    return reply


async def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not part:
            raise OSError("the server hung up")
        data += part
    return data
