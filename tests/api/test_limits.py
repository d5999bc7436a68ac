"""Clients that send too much, too slowly, in two ways at once, or come in too great a number."""

import asyncio
import contextlib
import sys

import pytest
from msgspec.structs import replace
from tests.api.peer import Serve

from lighterman.api import hijack
from lighterman.api.authorization import BODY_LIMIT_BYTES
from lighterman.api.described import DESCRIBED, TAR
from lighterman.api.request import Answer, Reply, Request
from lighterman.api.rooms import Rooms
from lighterman.api.routes import ROUTES as TABLE
from lighterman.api.routes import Route
from lighterman.api.serve import Next


async def told(request: Request, rooms: Rooms) -> Answer:
    return Reply(200, await request.read())


ROUTES = (Route("Tell", "POST", "/tell", told, body_bytes=16 << 20),)
FRONT = sys.modules["lighterman.api.serve"]  # the package has a function of this name
HEAD = b"POST /tell HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


async def test_a_head_that_never_ends_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hijack, "HEAD_LIMIT_S", 0.05)
    monkeypatch.setattr(hijack, "SILENCE_LIMIT_S", 0.05)
    async with serve(ROUTES) as peer:
        assert (await peer.raw(HEAD + b"X-Slow: a")).startswith(b"HTTP/1.1 408 ")
        assert (await peer.raw(b"")).startswith(b"HTTP/1.1 408 ")  # who says nothing at all


async def test_a_body_that_never_ends_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FRONT, "BODY_LIMIT_S", 0.05)
    async with serve(ROUTES) as peer:
        reader, writer = await peer.connect()
        writer.write(HEAD + b"Content-Length: 9\r\n\r\nhalf")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
            await reader.readuntil(b"the body did not come within")
        writer.close()


async def test_a_body_that_is_too_large_for_its_route_is_refused(serve: Serve) -> None:
    async with serve([Route("Tell", "POST", "/tell", told, body_bytes=10)]) as peer:
        assert (await peer.ask("POST", "/tell", body=b"x" * 10)).status == 200
        answer = await peer.ask("POST", "/tell", body=b"x" * 11)
        assert (answer.status, answer.body) == (400, b'{"message":"http: request body too large"}\n')
        in_pieces = HEAD + b"Transfer-Encoding: chunked\r\n\r\nb\r\n%s\r\n0\r\n\r\n" % (b"x" * 11)
        assert b"request body too large" in await peer.raw(in_pieces)


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(serve: Serve) -> None:
    async with serve([Route("Tell", "POST", "/tell", told)]) as peer:
        reader, writer = await peer.connect()
        writer.write(HEAD + b"Content-Length: 99999999999\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_an_archive_may_have_any_size(serve: Serve) -> None:
    async def counted(request: Request, rooms: Rooms) -> Answer:
        return Reply(200, str(sum([len(each) async for each in request.chunks()])).encode())

    async with serve([Route("Count", "POST", "/count", counted, body_bytes=None)]) as peer:
        assert (await peer.ask("POST", "/count", body=bytes(20 << 20))).body == b"20971520"


def test_what_is_read_as_a_whole_can_be_shown_to_authorization_plugins() -> None:
    assert max(route.body_bytes or 0 for route in TABLE) <= BODY_LIMIT_BYTES


def test_bodies_without_a_limit_are_archives() -> None:
    archives = {route.operation for route in TABLE if route.body_bytes is None}
    assert archives == {operation for operation, told in DESCRIBED.items() if told.body == TAR}


@pytest.mark.parametrize("header", [b"X: " + b"x" * 600_000, b"\r\n".join([b"X: " + b"x" * 9000] * 200)])
async def test_a_head_that_is_too_large_is_refused(serve: Serve, header: bytes) -> None:
    async with serve(ROUTES) as peer:
        with contextlib.suppress(ConnectionError):  # it may hang up before all was sent
            assert (await peer.raw(HEAD + header + b"\r\n\r\n")).split()[1] == b"400"


async def test_more_clients_than_may_be_connected_are_told_so(serve: Serve) -> None:
    async with serve(ROUTES, most_connections=2) as peer:
        first, second = await peer.connect(), await peer.connect()
        await answered(first)
        await answered(second)
        assert (await peer.raw(b"")).startswith(b"HTTP/1.1 503 ")
        first[1].close()
        await first[1].wait_closed()
        await asyncio.sleep(0)
        assert (await peer.raw(HEAD + b"\r\n")).startswith(b"HTTP/1.1 200 ")
        second[1].close()


async def answered(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    reader, writer = connection
    writer.write(HEAD.replace(b"Connection: close\r\n", b"") + b"Content-Length: 0\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")


SMUGGLED = b"POST /tell HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5,5\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ],
)
async def test_cve_2024_41110_a_body_of_two_lengths_is_refused(serve: Serve, framing: bytes) -> None:
    """What one reader takes for the body the next one would take for a request."""
    async with serve(ROUTES) as peer:
        answer = await peer.raw(HEAD + framing + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert answer.split()[1] == b"400"
    assert answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize("body", [b"", b"small", b"x" * (5 << 20)], ids=["empty", "small", "5 MiB"])
async def test_cve_2026_34040_a_guard_sees_the_bytes_that_the_handler_sees(serve: Serve, body: bytes) -> None:
    seen: list[bytes] = []

    async def guard(route: Route, request: Request, ask_on: Next) -> Answer:
        seen.append(await request.read())
        return await ask_on(with_body(request, seen[-1]))

    def with_body(request: Request, whole: bytes) -> Request:
        async def read() -> bytes:
            return whole

        return replace(request, read=read)

    async with serve(ROUTES, guard=guard) as peer:
        answer = await peer.ask("POST", "/tell", body=body)
        chunked = await peer.raw(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            if body
            else HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
    assert answer.body == body
    assert chunked.endswith(b"\r\n\r\n" + body)
    assert seen == [body, body]


async def test_a_guard_may_refuse_what_no_handler_then_hears_of(serve: Serve) -> None:
    heard: list[str] = []

    async def hear(request: Request, rooms: Rooms) -> Answer:
        heard.append("asked")
        return Reply()

    async def guard(route: Route, request: Request, ask_on: Next) -> Answer:
        return Reply(403, route.operation.encode())

    async with serve([Route("Hear", "GET", "/hear", hear)], guard=guard) as peer:
        answer = await peer.ask("GET", "/v1.30/hear")
    assert (answer.status, answer.body, heard) == (403, b"Hear", [])
