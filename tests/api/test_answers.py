"""Bodies in, errors and streams out: what handlers give and what their clients see."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from tests.api.peer import Serve

from lighterman import errdefs
from lighterman.api.request import Answer, Reply, Request, Stream, reply
from lighterman.api.rooms import Rooms
from lighterman.api.routes import Flow, Route
from lighterman.apitypes.exec import ExecStartBody

KINDS = {
    errdefs.InvalidParameter: 400,
    errdefs.Unauthorized: 401,
    errdefs.Forbidden: 403,
    errdefs.NotFound: 404,
    errdefs.Conflict: 409,
    errdefs.System: 500,
    errdefs.Unimplemented: 501,
    errdefs.Unavailable: 503,
}


async def echo(request: Request, rooms: Rooms) -> Answer:
    return reply(await request.body(ExecStartBody))


@pytest.mark.parametrize(("kind", "status"), KINDS.items())
async def test_each_kind_of_failure_has_its_status(
    serve: Serve, kind: type[errdefs.EngineError], status: int
) -> None:
    async def fail(request: Request, rooms: Rooms) -> Answer:
        raise kind("in Docker's words")

    async with serve([Route("Fail", "GET", "/fail", fail)]) as peer:
        answer = await peer.ask("GET", "/fail")
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert answer.body == b'{"message":"in Docker\'s words"}\n'


async def test_not_modified_has_no_body(serve: Serve) -> None:
    async def fail(request: Request, rooms: Rooms) -> Answer:
        raise errdefs.NotModified("started already")

    async with serve([Route("Fail", "POST", "/fail", fail)]) as peer:
        answer = await peer.ask("POST", "/fail")
    assert (answer.status, answer.body) == (304, b"")
    assert not {"Content-Type", "Content-Length"} & answer.headers.keys()


async def test_a_bug_is_told_without_a_traceback_and_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Request, rooms: Rooms) -> Answer:
        raise ValueError("a bug")

    async with serve([Route("Fail", "GET", "/fail", fail)]) as peer:
        answer = await peer.ask("GET", "/fail")
    assert (answer.status, answer.body) == (500, b'{"message":"a bug"}\n')
    assert [record.message for record in caplog.records if record.exc_info] == ["unexpected error"]


@pytest.mark.parametrize(
    "label", ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;"]
)
async def test_a_body_labelled_as_json_is_read(serve: Serve, label: str) -> None:
    async with serve([Route("Echo", "POST", "/echo", echo)]) as peer:
        answer = await peer.ask("POST", "/echo", f"Content-Type: {label}", body=b'{"tty":true}')
    assert json.loads(answer.body) == {"Detach": False, "Tty": True, "ConsoleSize": None}


@pytest.mark.parametrize("label", ["text/plain", "text/json", ""])
async def test_a_body_labelled_otherwise_is_refused(serve: Serve, label: str) -> None:
    headers = [f"Content-Type: {label}"] if label else []
    async with serve([Route("Echo", "POST", "/echo", echo)]) as peer:
        answer = await peer.ask("POST", "/echo", *headers, body=b"{}")
    assert answer.status == 400
    assert json.loads(answer.body)["message"] == (
        f"Content-Type specified ({label}) must be 'application/json'"
    )


async def test_a_body_that_is_not_there_is_the_end_of_input(serve: Serve) -> None:
    async with serve([Route("Echo", "POST", "/echo", echo)]) as peer:
        answer = await peer.ask("POST", "/echo")
    assert (answer.status, answer.body) == (400, b'{"message":"got EOF while reading request body"}\n')


async def test_a_body_is_sent_when_100_continue_asks_for_it(serve: Serve) -> None:
    async with serve([Route("Echo", "POST", "/echo", echo)]) as peer:
        reader, writer = await peer.connect()
        writer.write(
            b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def endless(left: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        yield b"first\n"
        await asyncio.Event().wait()
    finally:
        left.set()


async def test_the_head_of_a_stream_is_sent_before_there_is_anything_to_say(serve: Serve) -> None:
    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(silence())

    async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)], grace_s=1) as peer:
        reader, writer = await peer.connect()
        writer.write(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in head
        writer.close()


async def test_the_head_of_progress_is_sent_with_the_first_of_it(serve: Serve) -> None:
    going, done = asyncio.Event(), asyncio.Event()

    async def quiet() -> AsyncIterator[bytes]:
        going.set()
        await done.wait()
        yield b"all of it is done\n"

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(quiet(), head_at_once=False)

    async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)]) as peer:
        reader, writer = await peer.connect()
        writer.write(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
        head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        await going.wait()
        assert not head.done()
        done.set()
        async with asyncio.timeout(60):
            assert (await head).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_a_stream_ends_with_its_client(serve: Serve) -> None:
    left = asyncio.Event()

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(endless(left))

    async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)]) as peer:
        reader, writer = await peer.connect()
        writer.write(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
        await reader.readuntil(b"first\n")
        writer.close()
        async with asyncio.timeout(5):
            await left.wait()


async def test_who_reads_nothing_of_a_stream_is_cut_off_when_patience_ends(serve: Serve) -> None:
    left = asyncio.Event()

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1 << 16)
        finally:
            left.set()

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(flood(), ahead_bytes=1 << 16, patience_s=0.05)

    async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)]) as peer:
        reader, writer = await peer.connect()
        writer.write(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
        async with asyncio.timeout(60):
            await left.wait()
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 20):
                    """What was on its way."""
        writer.close()


async def test_a_stream_is_cut_off_when_the_server_stops(serve: Serve) -> None:
    left = asyncio.Event()

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(endless(left))

    async with asyncio.timeout(5):
        async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)], grace_s=60) as peer:
            reader, writer = await peer.connect()
            writer.write(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
            await reader.readuntil(b"first\n")
        assert left.is_set()
        assert await reader.read() == b"\r\n"  # the rest of the chunk, and no end of the body
        writer.close()


async def test_a_stream_that_breaks_is_cut_off_without_an_end(serve: Serve) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first\n"
        raise errdefs.System("the disk is gone")

    async def stream(request: Request, rooms: Rooms) -> Answer:
        return Stream(broken())

    async with serve([Route("Stream", "GET", "/s", stream, flow=Flow.STREAM)]) as peer:
        answer = await peer.raw(b"GET /s HTTP/1.1\r\nHost: test\r\n\r\n")
    assert answer.endswith(b"first\n\r\n")


async def test_a_change_goes_on_when_its_client_has_gone(serve: Serve) -> None:
    begun, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def change(request: Request, rooms: Rooms) -> Answer:
        begun.set()
        await go.wait()
        done.set()
        return Reply(204)

    async with serve([Route("Change", "POST", "/c", change)]) as peer:
        _, writer = await peer.connect()
        writer.write(b"POST /c HTTP/1.1\r\nHost: test\r\n\r\n")
        await begun.wait()
        writer.close()
        await writer.wait_closed()
        go.set()
        async with asyncio.timeout(5):
            await done.wait()


async def test_a_change_is_finished_before_the_server_stops(serve: Serve) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def change(request: Request, rooms: Rooms) -> Answer:
        begun.set()
        await asyncio.to_thread(lambda: None)
        done.set()
        return Reply(204)

    async with serve([Route("Change", "POST", "/c", change)]) as peer:
        reader, writer = await peer.connect()
        writer.write(b"POST /c HTTP/1.1\r\nHost: test\r\n\r\n")
        await begun.wait()
    assert done.is_set()
    assert (await reader.read()).startswith(b"HTTP/1.1 204 No Content\r\n")
    writer.close()


async def test_an_idle_connection_does_not_keep_the_server(serve: Serve) -> None:
    async with asyncio.timeout(5):
        async with serve(grace_s=60) as peer:
            reader, writer = await peer.connect()
            writer.write(b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(2) == b"OK"
        assert await reader.read() == b""
        writer.close()
