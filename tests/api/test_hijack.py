"""Connections that leave HTTP, seen by clients that send bytes."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from tests.api.peer import Peer, Serve, taken_apart

from lighterman.api.hijack import body_end, is_hijack
from lighterman.api.request import RAW_STREAM, Answer, Reply, Request, Taken
from lighterman.api.rooms import Rooms
from lighterman.api.routes import Flow, Route
from lighterman.errdefs import Conflict
from lighterman.runtime import Client

ATTACH = b"POST /v1.36/containers/c1/attach?stream=1 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
RAW_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
UPGRADED_HEAD = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


def echo(client: Client) -> None:
    """What a monitor does, with blocking calls: the head, then all input back, then a farewell."""
    client.sock.setblocking(True)
    with client.sock as sock:
        sock.sendall(client.head + client.early)
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.sendall(b"bye")


async def attach(request: Request, rooms: Rooms) -> Answer:
    threading.Thread(target=echo, args=(await request.take(False, RAW_STREAM),), daemon=True).start()
    return Taken()


async def exec_start(request: Request, rooms: Rooms) -> Answer:
    body = await request.read()
    client = await request.take(True, RAW_STREAM)
    said = Client(client.sock, body + b"|" + client.early, client.head)
    threading.Thread(target=echo, args=(said,), daemon=True).start()
    return Taken()


async def refuse(request: Request, rooms: Rooms) -> Answer:
    raise Conflict("not now")


async def ping(request: Request, rooms: Rooms) -> Answer:
    return Reply(200, b"OK")


ROUTES = (
    Route("Ping", "GET", "/_ping", ping),
    Route("Attach", "POST", "/containers/{id:.*}/attach", attach, flow=Flow.HIJACK),
    Route("ExecStart", "POST", "/exec/{id:.*}/start", exec_start, flow=Flow.HIJACK),
)
REFUSING = (Route("Attach", "POST", "/containers/{id:.*}/attach", refuse, flow=Flow.HIJACK),)


@pytest.fixture
async def peer(serve: Serve) -> AsyncIterator[Peer]:
    async with serve(ROUTES) as peer:
        yield peer


async def talk(peer: Peer, *pieces: bytes) -> bytes:
    """All that comes back when the pieces are sent one by one and the sending side is closed."""
    reader, writer = await peer.connect()
    async with asyncio.timeout(10), asyncio.TaskGroup() as both:
        heard = both.create_task(reader.read())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
    writer.close()
    return heard.result()


@pytest.mark.parametrize(("more", "head"), [(b"", RAW_HEAD), (UPGRADE, UPGRADED_HEAD)])
async def test_the_head_is_dockerds(peer: Peer, more: bytes, head: bytes) -> None:
    assert await talk(peer, ATTACH + more + b"\r\n") == head + b"bye"


@pytest.mark.parametrize("more", [b"", UPGRADE])
async def test_input_behind_the_head_is_not_lost_and_its_end_is_only_its_own(peer: Peer, more: bytes) -> None:
    heard = await talk(peer, ATTACH + more + b"\r\n" + b"early\n", b"later\n")
    assert heard.endswith(b"\r\n\r\nearly\nlater\nbye")


@pytest.mark.parametrize("more", [b"", UPGRADE])
async def test_a_head_may_be_cut_anywhere(peer: Peer, more: bytes) -> None:
    request = ATTACH + more + b"\r\nearly"
    for cut in range(1, len(request), 7):
        heard = await talk(peer, request[:cut], request[cut:])
        assert heard.endswith(b"\r\n\r\nearlybye"), cut


async def test_input_that_looks_like_a_request_is_input(peer: Peer) -> None:
    garbage = b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n\x00\xff POST nothing\r\n\r\n"
    assert await talk(peer, ATTACH + b"\r\n" + garbage) == RAW_HEAD + garbage + b"bye"


async def test_a_request_may_be_answered_before_on_the_same_connection(peer: Peer) -> None:
    reader, writer = await peer.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (await reader.readuntil(b"OK\r\n")).startswith(b"HTTP/1.1 200 OK")
    while await reader.readuntil(b"\n") != b"\r\n":
        pass
    assert await reader.readexactly(2) == b"OK"
    writer.write(ATTACH + b"\r\nhello")
    writer.write_eof()
    assert await reader.read() == RAW_HEAD + b"hellobye"
    writer.close()


@pytest.mark.parametrize("more", [b"", UPGRADE])
async def test_the_body_of_an_exec_start_is_no_input(peer: Peer, more: bytes) -> None:
    head = b"POST /exec/e1/start HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    request = head + more + b"Content-Length: 9\r\n\r\n" + b'{"Tty":0}'
    heard = await talk(peer, request[:-4], request[-4:] + b"early")
    assert heard.endswith(b'\r\n\r\n{"Tty":0}|earlybye')
    assert b"\r\nApi-Version: 1.44\r\n" in heard
    assert b"\r\nDate:" not in heard


async def test_a_chunked_body_ends_where_its_last_chunk_ends(peer: Peer) -> None:
    head = b"POST /exec/e1/start HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    heard = await talk(peer, head + b'4\r\n{"Tt\r\n5;x=1\r\ny":0}\r\n', b"0\r\n\r\nearly")
    assert heard.endswith(b'{"Tty":0}|earlybye')


async def test_a_client_that_waits_for_100_continue_gets_it(peer: Peer) -> None:
    reader, writer = await peer.connect()
    writer.write(
        b"POST /exec/e1/start HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    writer.write_eof()
    assert (await reader.read()).endswith(b"\r\n\r\n{}|bye")
    writer.close()


async def test_much_input_before_anybody_listens_is_kept(peer: Peer) -> None:
    much = b"0123456789abcdef" * 65536 * 4
    assert await talk(peer, ATTACH + b"\r\n" + much) == RAW_HEAD + much + b"bye"


async def test_a_refusal_is_plain_http_and_closes_the_connection(serve: Serve) -> None:
    async with serve(REFUSING) as peer:
        answer = taken_apart(await peer.raw(ATTACH + b"\r\nearly"))
    assert (answer.status, answer.body) == (409, b'{"message":"not now"}\n')
    assert answer.headers["Connection"] == "close"


async def test_a_takeover_behind_an_unanswered_request_waits_for_its_turn(peer: Peer) -> None:
    heard = await talk(peer, b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n" + ATTACH + b"\r\nearly")
    answer, stream = heard.split(b"OK", 1)[0], heard[heard.index(RAW_HEAD) :]
    assert answer.startswith(b"HTTP/1.1 200")
    assert stream == RAW_HEAD + b"earlybye"


async def test_a_takeover_may_follow_as_soon_as_the_answer_before_is_read(peer: Peer) -> None:
    for _ in range(50):
        reader, writer = await peer.connect()
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200")
        writer.write(ATTACH + b"\r\n")
        writer.write_eof()
        assert await reader.read() == RAW_HEAD + b"bye"
        writer.close()


async def test_streams_outlive_the_server(serve: Serve) -> None:
    async with serve(ROUTES) as peer:
        reader, writer = await peer.connect()
        writer.write(ATTACH + b"\r\n")
        assert await reader.readexactly(len(RAW_HEAD)) == RAW_HEAD
    writer.write(b"still here")
    writer.write_eof()
    assert await reader.read() == b"still herebye"
    writer.close()


@pytest.mark.parametrize(
    ("line", "hijacked"),
    [
        (b"POST /containers/c/attach HTTP/1.1\r\n", True),
        (b"POST /v1.24/containers/c/attach?stream=1 HTTP/1.1\r\n", True),
        (b"POST http://docker/v1.36/exec/e/start HTTP/1.1\r\n", True),
        (b"POST /containers/c/start HTTP/1.1\r\n", False),
        (b"GET /containers/c/attach/ws HTTP/1.1\r\n", False),
        (b"POST /images/containers/x/attachment HTTP/1.1\r\n", False),
        (b"GET /containers/c/attach HTTP/1.1\r\n", False),
    ],
)
def test_a_hijacked_request_is_known_by_its_first_line(line: bytes, hijacked: bool) -> None:
    assert is_hijack(line) is hijacked


@pytest.mark.parametrize("body", [b"4\r\nabcd\r\n0\r\n\r\n", b"1\r\na\r\n1;e\r\nb\r\n0\r\nT: x\r\n\r\n"])
def test_the_end_of_a_chunked_body_is_seen_only_when_it_is_there(body: bytes) -> None:
    head = b"POST /exec/e/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + body
    assert body_end(whole + b"more", len(head)) == len(whole)
    for cut in range(len(head), len(whole)):
        assert body_end(whole[:cut], len(head)) is None, cut
