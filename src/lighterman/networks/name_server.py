"""The name server in a container's network: 127.0.0.11, as resolv.conf there says.

Its two sockets live in the container's namespace and listen on a free port, since port 53 may be the
container's own; four rules there carry what is meant for port 53 of this one address to it and back. They
keep no state, so a flood of questions fills no table. Answers about containers come from memory within the
same turn of the loop; everything else is handed on by `Forwarder`, or does not exist where nothing leads
outside.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec import Struct

from lighterman.lib import dns_message as dns
from lighterman.linux import netns
from lighterman.linux.nft import Nft, NftError
from lighterman.networks.names import Names
from lighterman.networks.sandbox import Sandbox
from lighterman.networks.upstream import Forwarder

ADDRESS = "127.0.0.11"
_TABLE = "ip lighterman_names"
_IN_FLIGHT, _CONNECTIONS = 256, 64  # of one container
_AT_ONCE = 32  # datagrams in one turn of the loop
_IDLE_S = 10.0
_REMEMBERED = 1024  # answers
_QUERY_BYTES = 4096  # one question has 300 at most, and a little about itself


class Ears(Struct, frozen=True):
    """The sockets, on the same port."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        """Close both: the namespace lives as long as one is open."""
        self.udp.close()
        self.tcp.close()


def open_ears(fd: int, *, fresh: bool) -> Ears:
    """Listen in the namespace of `fd`, with the rules that lead there. Where they may be there already, those
    of a former daemon, it is not `fresh`: then the same port is taken again, so that they stay.

    Blocks for a millisecond, in a thread that may enter namespaces. Raises: OSError, NftError.
    """
    with netns.inside(fd):
        nft = Nft()
        try:
            former = None if fresh else _port_of_rules(nft)
            ears = _listen(former)
            try:
                port = ears.udp.getsockname()[1]
                if port != former:
                    nft.run(rules(port) if former is None else f"delete table {_TABLE}\n{rules(port)}")
            except BaseException:
                ears.close()
                raise
        finally:
            nft.close()  # takes 10 ms when something was deleted, nothing else
    return ears


def rules(port: int) -> str:
    """The nft table in the container's namespace. Pure."""
    lines = "".join(
        f"    ip daddr {ADDRESS} {proto} dport 53 notrack {proto} dport set {port}\n"
        f"    ip saddr {ADDRESS} {proto} sport {port} notrack {proto} sport set 53\n"
        for proto in ("udp", "tcp")
    )
    chain = "type filter hook output priority -300; policy accept;"
    return f"table {_TABLE} {{\n  chain names {{\n    {chain}\n{lines}  }}\n}}\n"


def _port_of_rules(nft: Nft) -> int | None:
    """Where the rules that are there lead; None when there are none."""
    try:
        listed = nft.run(f"list table {_TABLE}")
    except NftError:
        return None
    statements = [each for entry in listed for each in entry.get("rule", {}).get("expr", ())]
    ports = {each["mangle"]["value"] for each in statements if "mangle" in each} - {53}
    return ports.pop() if len(ports) == 1 else 0


def _listen(former: int | None) -> Ears:
    """Both sockets on the `former` port, if that can be had, or on any."""
    for port in (former or 0, *[0] * 16):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the former may linger
        ears = Ears(udp, tcp)
        try:
            udp.bind((ADDRESS, port))
            tcp.bind((ADDRESS, udp.getsockname()[1]))
            tcp.listen(_CONNECTIONS)
        except OSError as error:  # the container listens on just this port
            ears.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return ears
    raise OSError(errno.EADDRINUSE, "no port is free for the name server")


def respond(query: dns.Query, names: Names, sandbox: Sandbox) -> Sequence[tuple[int, bytes]] | int | None:
    """What is known here: records (none, when the name has no such ones), a code of failure, or None for what
    others may know. Pure."""
    if query.complaint:
        return query.complaint
    address = dns.reverse_address(query.name) if query.kind == dns.PTR else None
    if address is not None:
        name = names.name_of(sandbox, address)
        if name is not None:
            return [(dns.PTR, dns.encode_name(name))]
        return dns.NO_SUCH_NAME if _is_near(address, sandbox) else None
    addresses = names.addresses(sandbox, query.name)
    if addresses is None:
        return None
    kind_of = {4: dns.A, 6: dns.AAAA}
    return [(query.kind, each.packed) for each in addresses if kind_of[each.version] == query.kind]


def _is_near(address: dns.Address, sandbox: Sandbox) -> bool:
    """Whether nobody outside can know: it belongs to a network of the sandbox."""
    return any(
        address in ipaddress.ip_interface(f"{text}/{prefix}").network
        for each in sandbox.endpoints
        for text, prefix in ((each.ipv4, each.ipv4_prefix), (each.ipv6, each.ipv6_prefix))
        if text
    )


class NameServer:
    """Serves one sandbox from `start` until `close`; `sandbox()` is how it is at the moment."""

    def __init__(
        self, ears: Ears, names: Names, sandbox: Callable[[], Sandbox], forwarder: Forwarder
    ) -> None:
        self._ears = ears
        self._names = names
        self._sandbox = sandbox
        self._forwarder = forwarder
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._answers: dict[bytes, bytes] = {}  # without their ids; of questions that have one answer only
        self._true_for: tuple[int, Sandbox] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        asyncio.get_running_loop().add_reader(self._ears.udp, self._hear)
        self._server = await asyncio.start_server(self._serve, sock=self._ears.tcp)

    def close(self) -> None:
        """Stop at once; who waits for an answer gets none."""
        asyncio.get_running_loop().remove_reader(self._ears.udp)
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        self._forwarder.close()
        self._ears.close()

    def _hear(self) -> None:
        """Take what is there. The kernel's share of an answer is 5 us: what is asked again and again is told
        with as little around it as can be."""
        now = (self._names.version, self._sandbox())
        if self._true_for is None or now[0] != self._true_for[0] or now[1] is not self._true_for[1]:
            self._true_for = now
            self._answers.clear()
        receive, answers = self._ears.udp.recvfrom, self._answers
        for _ in range(_AT_ONCE):
            try:
                data, client = receive(_QUERY_BYTES)
            except OSError:  # BlockingIOError: that was all
                return
            if (known := answers.get(data[2:])) is not None:
                self._send(data[:2] + known, client)
            else:
                with contextlib.suppress(dns.NotAQuery):
                    self._take(data, client)

    def _take(self, data: bytes, client: tuple[str, int]) -> None:
        query = dns.parse_query(data)
        reply = self._reply(query, query.udp_bytes)
        if reply is not None:
            if dns.record_count(reply) <= 1 and len(self._answers) < _REMEMBERED:
                self._answers[data[2:]] = reply[2:]
            self._send(reply, client)
        elif len(self._tasks) < _IN_FLIGHT:
            self._begin(self._forward(data, query, client))
        else:
            self._send(dns.answer(query, code=dns.SERVER_FAILURE), client)

    def _reply(self, query: dns.Query, limit_bytes: int) -> bytes | None:
        """The answer that needs nobody else."""
        sandbox = self._sandbox()
        known = respond(query, self._names, sandbox)
        if isinstance(known, int):
            return dns.answer(query, code=known)
        if known is not None:
            return dns.answer(query, known, limit_bytes=limit_bytes)
        if sandbox.way_out(4) is None and sandbox.way_out(6) is None:
            return dns.answer(query, code=dns.NO_SUCH_NAME)
        return None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, query: dns.Query, client: tuple[str, int]) -> None:
        reply = await self._forwarder.ask(data, query, by_tcp=False)
        self._send(reply or dns.answer(query, code=dns.SERVER_FAILURE), client)

    def _send(self, reply: bytes, client: tuple[str, int]) -> None:
        try:  # noqa: SIM105 `suppress` would take 0.4 us
            self._ears.udp.sendto(reply, client)
        except OSError:  # it went away, or its buffer is full: as lost as any datagram
            pass

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        if self._connections >= _CONNECTIONS:
            writer.close()
            return
        self._tasks.add(connection)
        self._connections += 1
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError, dns.NotAQuery, asyncio.CancelledError):
                while True:
                    await self._serve_one(reader, writer)
        finally:
            self._connections -= 1
            self._tasks.discard(connection)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_IDLE_S):
            size = int.from_bytes(await reader.readexactly(2), "big")
            data = await reader.readexactly(size)
        query = dns.parse_query(data)
        reply = self._reply(query, 65535) or await self._forwarder.ask(data, query, by_tcp=True)
        reply = reply or dns.answer(query, code=dns.SERVER_FAILURE)
        writer.write(len(reply).to_bytes(2, "big") + reply)
        async with asyncio.timeout(_IDLE_S):
            await writer.drain()
