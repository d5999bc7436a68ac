"""A sandbox's name server with real packets: local names, servers outside, what goes wrong (root)."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.networks import private_host
from tests.networks.hosts import box, datagrams, listening, network, on_own_host, opened

from lighterman.lib import dns_message as dns
from lighterman.linux import netns
from lighterman.networks import EndpointWish, Networks, Sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]
HERE = "127.0.0.11"


def query(name: str, kind: int = dns.A, number: int = 7) -> bytes:
    head = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0)
    return head + dns.encode_name(name) + struct.pack("!HH", kind, dns.IN)


def by_udp(key: str, question: bytes) -> bytes:
    """What the name server in a namespace answers."""
    with datagrams(key) as sock:
        sock.connect((HERE, 53))
        sock.send(question)
        return sock.recv(1 << 16)


def by_tcp(key: str, *questions: bytes) -> list[bytes]:
    """The answers to several questions on one connection."""
    with netns.run_in(key, lambda: socket.create_connection((HERE, 53), timeout=60)) as sock:
        file = sock.makefile("rwb")
        answers = []
        for question in questions:
            file.write(struct.pack("!H", len(question)) + question)
            file.flush()
            answers.append(file.read(struct.unpack("!H", file.read(2))[0]))
        return answers


def addresses(answer: bytes) -> set[str]:
    """The IPv4 addresses of an answer with so many records at its end."""
    (count,) = struct.unpack_from("!H", answer, 6)
    return {socket.inet_ntoa(answer[-16 * at :][12:16]) for at in range(1, count + 1)}


async def asked(sandbox: Sandbox, question: bytes) -> bytes:
    return await asyncio.to_thread(by_udp, sandbox.key, question)


@contextmanager
def a_server(sock: socket.socket, reply: Callable[[bytes], bytes | None]) -> Iterator[list[bytes]]:
    """A name server outside that answers each datagram with what `reply` says; the questions it heard."""
    heard: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                data, client = sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            heard.append(data)
            told = reply(data)
            if told is not None:
                sock.sendto(told, client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        sock.sendto(b"", sock.getsockname())
        thread.join()
        sock.close()


def truth(data: bytes) -> bytes:
    return dns.answer(dns.parse_query(data), [(dns.A, bytes([192, 0, 2, 99]))])


async def sandbox_outside(networks: Networks, *servers: str) -> Sandbox:
    await network(networks, "back")
    return await box(networks, "web", EndpointWish("back"), dns=servers)


@on_own_host
async def test_names_are_told_by_udp_and_tcp(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back")
        web = await box(networks, "web", EndpointWish("back"))
        db = await box(networks, "db", EndpointWish("back", aliases=("store",)))
        expected = {db.endpoints[0].ipv4}
        assert addresses(await asked(web, query("db"))) == expected
        answers = await asyncio.to_thread(by_tcp, web.key, query("store"), query("db"))
        assert [addresses(answer) for answer in answers] == [expected, expected]
        assert addresses(await asked(web, query("web"))) == {web.endpoints[0].ipv4}


@on_own_host
async def test_a_port_53_of_its_own_is_the_containers(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back")
        web = await box(networks, "web", EndpointWish("back"))
        with datagrams(web.key, "0.0.0.0", 53) as own, listening(web.key, 53):
            assert addresses(await asked(web, query("web"))) == {web.endpoints[0].ipv4}
            own.settimeout(0)
            with pytest.raises(BlockingIOError):
                own.recv(100)


@on_own_host
async def test_other_names_are_asked_outside_under_another_id_and_told_as_they_come(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    server = datagrams(str(tmp_path / "outside"), "192.0.2.9", 53)
    async with opened(tmp_path) as networks:
        web = await sandbox_outside(networks, "192.0.2.9")
        with a_server(server, truth) as heard:
            answers = [await asked(web, query("example.org", number=number)) for number in (7, 8)]
        assert [answer[:2] for answer in answers] == [b"\0\x07", b"\0\x08"]
        assert {*map(addresses_of, answers)} == {"192.0.2.99"}
        assert [data[2:] for data in heard] == [query("example.org")[2:]] * 2


def addresses_of(answer: bytes) -> str:
    return addresses(answer).pop()


@on_own_host
async def test_a_dead_a_refusing_and_a_lying_server_are_passed_over(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    outside = str(tmp_path / "outside")
    netns.run_in(outside, lambda: os.system("ip addr add 192.0.2.8/24 dev eth0"))
    async with opened(tmp_path) as networks:
        web = await sandbox_outside(networks, "192.0.2.77", "192.0.2.8", "192.0.2.9")  # the first is nobody

        def lies(data: bytes) -> bytes:
            return truth(query("other.org", number=int.from_bytes(data[:2], "big")))

        def refuses(data: bytes) -> bytes:
            return dns.answer(dns.parse_query(data), code=dns.REFUSED)

        for wrong in (lies, refuses):
            with (
                a_server(datagrams(outside, "192.0.2.8", 53), wrong),
                a_server(datagrams(outside, "192.0.2.9", 53), truth),
            ):
                assert addresses(await asked(web, query("example.org"))) == {"192.0.2.99"}


@on_own_host
async def test_a_slow_server_gets_company_and_may_still_be_first(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    outside = str(tmp_path / "outside")
    netns.run_in(outside, lambda: os.system("ip addr add 192.0.2.8/24 dev eth0"))
    heard_by_next = threading.Event()

    def slow(data: bytes) -> bytes:
        assert heard_by_next.wait(3)
        return truth(data)

    def never(_: bytes) -> None:
        heard_by_next.set()

    async with opened(tmp_path) as networks:
        web = await sandbox_outside(networks, "192.0.2.8", "192.0.2.9")
        with (
            a_server(datagrams(outside, "192.0.2.8", 53), slow),
            a_server(datagrams(outside, "192.0.2.9", 53), never),
        ):
            assert addresses(await asked(web, query("example.org"))) == {"192.0.2.99"}


@on_own_host
async def test_where_nobody_listens_the_failure_is_told_at_once(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    async with opened(tmp_path) as networks:
        web = await sandbox_outside(networks, "192.0.2.9")  # it answers that its port is closed
        async with asyncio.timeout(2):
            assert dns.code_of(await asked(web, query("example.org"))) == dns.SERVER_FAILURE


@on_own_host
async def test_a_truncated_answer_is_asked_for_again_by_tcp(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    outside = str(tmp_path / "outside")
    large = [(dns.A, bytes([192, 0, 2, number])) for number in range(100)]

    def cut(data: bytes) -> bytes:
        return dns.answer(dns.parse_query(data), large, limit_bytes=512)

    def serve_tcp(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, client.makefile("rwb") as file:
            data = file.read(struct.unpack("!H", file.read(2))[0])
            told = dns.answer(dns.parse_query(data), large)
            file.write(struct.pack("!H", len(told)) + told)

    async with opened(tmp_path) as networks:
        web = await sandbox_outside(networks, "192.0.2.9")
        with (
            a_server(datagrams(outside, "192.0.2.9", 53), cut),
            listening(outside, 53) as listener,
        ):
            assert (await asked(web, query("big.org")))[2] & 2  # truncated: ask by TCP
            serving = asyncio.create_task(asyncio.to_thread(serve_tcp, listener))
            (answer,) = await asyncio.to_thread(by_tcp, web.key, query("big.org"))
            await serving
        assert len(addresses(answer)) == 100


@on_own_host
async def test_many_behind_one_name_are_cut_for_udp_and_whole_by_tcp(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back", internal=True)
        boxes = [
            await box(networks, f"n{number}", EndpointWish("back", aliases=("pool",))) for number in range(40)
        ]
        cut = await asked(boxes[0], query("pool"))
        assert cut[2] & 2
        assert len(cut) <= 512
        (whole,) = await asyncio.to_thread(by_tcp, boxes[0].key, query("pool"))
        assert addresses(whole) == {each.endpoints[0].ipv4 for each in boxes}


@on_own_host
async def test_without_an_outside_nothing_is_handed_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back", internal=True)
        web = await box(networks, "web", EndpointWish("back"), dns=("10.233.0.1",))
        with a_server(datagrams("/proc/thread-self/ns/net", "10.233.0.1", 53), truth) as heard:
            answer = await asked(web, query("example.org"))
        assert dns.code_of(answer) == dns.NO_SUCH_NAME
        assert heard == []


@on_own_host
async def test_names_are_told_again_after_a_kill(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back")
        web = await box(networks, "web", EndpointWish("back"))
        expected = {web.endpoints[0].ipv4}
        assert addresses(await asked(web, query("web"))) == expected
    async with opened(tmp_path, running={web.id: os.getpid()}) as networks:
        assert addresses(await asked(web, query("web"))) == expected
        (answer,) = await asyncio.to_thread(by_tcp, web.key, query("web.back"))
        assert addresses(answer) == expected
        await networks.disconnect(web.id)


@on_own_host
async def test_names_are_true_while_others_come_and_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back", internal=True)
        web = await box(networks, "web", EndpointWish("back"))
        for _ in range(40):
            db = await box(networks, "db", EndpointWish("back"))
            assert addresses(await asked(web, query("db"))) == {db.endpoints[0].ipv4}
            await networks.disconnect(db.id)
            assert dns.code_of(await asked(web, query("db"))) == dns.NO_SUCH_NAME


@on_own_host
async def test_nonsense_and_idle_connections_do_no_harm(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "back", internal=True)
        web = await box(networks, "web", EndpointWish("back"))
        idle = netns.run_in(web.key, lambda: [socket.create_connection((HERE, 53)) for _ in range(100)])
        with datagrams(web.key) as noise:
            for data in (b"", b"\0", b"\xff" * 12, b"\xff" * 600, query("web")[:-1]):
                noise.sendto(data, (HERE, 53))
        assert addresses(await asked(web, query("web"))) == {web.endpoints[0].ipv4}
        for sock in idle:
            sock.close()
