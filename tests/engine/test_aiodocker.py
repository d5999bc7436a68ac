"""aiodocker, unchanged: the same engine through an asynchronous client with its own way of streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiodocker
import pytest
from tests.support.engines import Daemon

Config = dict[str, Any]


async def said(stream: Any) -> bytes | None:
    """What is said next, by whichever stream; None at the end."""
    message = await stream.read_out()
    return message.data if message else None


@asynccontextmanager
async def connected(engine: Daemon) -> AsyncIterator[aiodocker.Docker]:
    client = aiodocker.Docker(f"unix://{engine.socket}")
    try:
        yield client
    finally:
        await client.close()


def box(*command: str, **more: Any) -> Config:
    return {"Image": "busybox", "Cmd": list(command), **more}


async def test_an_attached_container_is_talked_with(engine: Daemon) -> None:
    streams = {"AttachStdin": True, "OpenStdin": True, "AttachStdout": True, "AttachStderr": True}
    async with connected(engine) as client:
        talker = await client.containers.create(box("sh", "-c", "echo out; echo err >&2; cat", **streams))
        async with talker.attach(stdin=True, stdout=True, stderr=True) as stream:
            await talker.start()
            assert {await said(stream), await said(stream)} == {b"out\n", b"err\n"}
            await stream.write_in(b"hello\n")
            assert await said(stream) == b"hello\n"
        await talker.kill()
        assert (await talker.wait())["StatusCode"] == 137
        assert sorted(await talker.log(stdout=True, stderr=True)) == ["err\n", "hello\n", "out\n"]


async def test_a_second_process_tells_its_output_and_code(engine: Daemon) -> None:
    async with connected(engine) as client:
        first = await client.containers.run(box("sleep", "600"))
        second = await first.exec(["sh", "-c", "echo hi; exit 4"])
        async with second.start() as stream:
            assert await said(stream) == b"hi\n"
            assert await said(stream) is None
        assert (await second.inspect())["ExitCode"] == 4


async def test_events_come_while_they_happen(engine: Daemon) -> None:
    async with connected(engine) as client:
        events: Any = client.events
        heard = events.subscribe()
        made = await client.containers.create(box("true"))
        async with asyncio.timeout(10):
            while (await heard.get())["Action"] != "create":
                pass
        await made.delete()


async def test_a_missing_container_is_an_error_with_dockers_status_and_words(engine: Daemon) -> None:
    async with connected(engine) as client:
        with pytest.raises(aiodocker.DockerError) as raised:
            await client.containers.get("nobody")
    assert (raised.value.status, raised.value.message) == (404, "No such container: nobody")


async def test_a_log_is_followed_to_the_end_of_its_container(engine: Daemon) -> None:
    async with connected(engine) as client:
        writer = await client.containers.run(box("sh", "-c", "for i in 1 2 3; do echo $i; done"))
        assert [line async for line in writer.log(stdout=True, follow=True)] == ["1\n", "2\n", "3\n"]
