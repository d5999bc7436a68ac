"""Attach over a websocket, spoken by a client that knows nothing of Docker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


@asynccontextmanager
async def attached(
    engine: Daemon, ref: str, query: str = ALL, version: str = "/v1.36"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    connector = aiohttp.UnixConnector(str(engine.socket))
    async with (
        aiohttp.ClientSession("http://docker", connector=connector) as session,
        session.ws_connect(f"{version}/containers/{ref}/attach/ws?{query}") as websocket,
    ):
        yield websocket


async def text_until(websocket: aiohttp.ClientWebSocketResponse, end: bytes) -> bytes:
    """All that comes, to the first piece that ends so."""
    said = b""
    async with asyncio.timeout(10):
        while not said.endswith(end):
            said += await websocket.receive_bytes()
    return said


async def test_what_is_sent_is_input_and_output_comes_as_binary_frames_without_dockers(
    engine: Daemon, docker: DockerCLI
) -> None:
    docker.run(
        "-di", "--name", "cat", "busybox", "sh", "-c", "read a; echo got $a; read b; echo err $b >&2; cat"
    )
    async with attached(engine, "cat") as websocket:
        await websocket.send_bytes(b"one\n")
        assert await text_until(websocket, b"\n") == b"got one\n"
        await websocket.send_str("two\n")
        assert await text_until(websocket, b"\n") == b"err two\n"


async def test_clients_before_1_28_get_texts(engine: Daemon, docker: DockerCLI) -> None:
    docker.run("-di", "--name", "cat", "busybox", "cat")
    async with attached(engine, "cat", version="/v1.27") as websocket:
        await websocket.send_str("hello\n")
        message = await websocket.receive(10)
        assert (message.type, message.data) == (WSMsgType.TEXT, "hello\n")


async def test_the_end_of_the_container_closes_it(engine: Daemon, docker: DockerCLI) -> None:
    docker.run("-di", "--name", "once", "busybox", "sh", "-c", "read a; echo last")
    async with attached(engine, "once") as websocket:
        await websocket.send_bytes(b"\n")
        assert await text_until(websocket, b"\n") == b"last\n"
        assert (await websocket.receive(10)).type == WSMsgType.CLOSE
        assert websocket.close_code == 1000


async def test_a_client_that_closes_is_detached_and_the_container_goes_on(
    engine: Daemon, docker: DockerCLI
) -> None:
    docker.run("-di", "--name", "cat", "busybox", "cat")
    async with attached(engine, "cat") as websocket:
        await websocket.send_bytes(b"first\n")
        assert await text_until(websocket, b"\n") == b"first\n"
    async with attached(engine, "cat") as websocket:
        await websocket.send_bytes(b"second\n")
        assert await text_until(websocket, b"\n") == b"second\n"
    assert docker.inspect("cat")["State"]["Running"]


async def test_keys_detach_from_a_terminal(engine: Daemon, docker: DockerCLI) -> None:
    docker.run("-dit", "--name", "term", "busybox", "cat")
    async with attached(engine, "term", f"{ALL}&detachKeys=ctrl-a,x") as websocket:
        await websocket.send_bytes(b"\x01x")
        assert (await websocket.receive(10)).type == WSMsgType.CLOSE
    assert docker.inspect("term")["State"]["Running"]


async def test_the_log_comes_first_and_alone_when_nothing_else_is_asked(
    engine: Daemon, docker: DockerCLI
) -> None:
    docker.run("--name", "said", "busybox", "sh", "-c", "echo one; echo two >&2")
    async with attached(engine, "said", "logs=1") as websocket:
        assert sorted((await text_until(websocket, b"two\n")).split()) == [b"one", b"two"]
        assert (await websocket.receive(10)).type == WSMsgType.CLOSE


async def test_it_waits_for_a_container_that_is_not_started_yet(engine: Daemon, docker: DockerCLI) -> None:
    docker("create", "--name", "later", "busybox", "echo", "here")
    async with attached(engine, "later") as websocket:
        await asyncio.to_thread(docker, "start", "later")
        assert await text_until(websocket, b"\n") == b"here\n"


@pytest.mark.parametrize(
    ("ref", "status", "body"),
    [("there", 400, b"not websocket protocol"), ("nope", 404, b'{"message":"No such container: nope"}\n')],
)
def test_what_is_no_websocket_is_refused(
    http: Http, docker: DockerCLI, ref: str, status: int, body: bytes
) -> None:
    docker("create", "--name", "there", "busybox")
    answer = http("GET", f"/containers/{ref}/attach/ws?stream=1")
    assert (answer.status, answer.body) == (status, body)


async def test_more_than_a_client_reads_waits_and_is_not_lost(engine: Daemon, docker: DockerCLI) -> None:
    size = 8 << 20
    docker.run("-di", "--name", "much", "busybox", "sh", "-c", f"read a; head -c {size} /dev/zero; sleep 60")
    async with attached(engine, "much") as websocket:
        await websocket.send_bytes(b"\n")
        got = 0
        async with asyncio.timeout(20):
            while got < size:
                got += len(await websocket.receive_bytes())
    assert got == size
