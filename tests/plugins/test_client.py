"""Calls of plugins over real sockets, and extensions that need none."""

import asyncio
import importlib
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lighterman.errdefs import System
from lighterman.plugins import extensions, legacy
from lighterman.plugins.client import Address, Answer, PluginClient
from lighterman.plugins.errors import CallFailed, DriverRefused

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "plugins.md"
Serve = Callable[[bytes], Awaitable[None]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts a plugin that answers everything with the same bytes, b"" is none."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> None:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if answer:
                writer.write(answer)
                await writer.drain()
                writer.close()
            else:
                await reader.read()
                writer.close()

        servers.append(await asyncio.start_unix_server(one, tmp_path / "p.sock"))

    yield start
    for server in servers:
        server.close()


def client(tmp_path: Path, *, timeout_s: float = 0.2, patience_s: float = 0) -> PluginClient:
    address = Address(path=str(tmp_path / "p.sock"))
    return PluginClient("p", address, timeout_s=timeout_s, patience_s=patience_s)


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (response(b'{"Err": "no"}'), DriverRefused, "^no$"),
        (response(b'{"Error": "no"}'), DriverRefused, "^no$"),
        (response(b"what"), CallFailed, "the plugin p answered nonsense"),
        (response(b""), CallFailed, "the plugin p answered nonsense"),
        (response(b"[" * 10**5), CallFailed, "the plugin p answered nonsense"),
        (response(b'{"Err": "broken"}', b"500 X"), CallFailed, "^X.Do: broken$"),
        (response(b"text", b"404 X"), CallFailed, "^X.Do: text$"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", CallFailed, "unexpected EOF"),
        (b"no http\r\n\r\n", CallFailed, "X.Do"),
        (b"", CallFailed, "the plugin p did not answer within 0.2 s"),
    ],
)
async def test_a_call_that_fails_says_why(
    serve: Serve, tmp_path: Path, answer: bytes, kind: type[Exception], text: str
) -> None:
    await serve(answer)
    with pytest.raises(kind, match=text):
        await client(tmp_path).call("X.Do", {}, Answer)


@pytest.mark.parametrize("answer", [b"null\n", b'{}\n{"Err": 7}\n'])
async def test_an_answer_is_read_as_go_does(serve: Serve, tmp_path: Path, answer: bytes) -> None:
    await serve(response(answer))
    assert await client(tmp_path).call("X.Do", {}, Answer) == Answer()


async def test_a_call_waits_for_a_plugin_that_is_just_starting(serve: Serve, tmp_path: Path) -> None:
    async def later() -> None:
        await serve(response(b"{}"))

    calling = client(tmp_path, timeout_s=0, patience_s=10).call("X.Do", None, Answer)
    told, _ = await asyncio.gather(calling, later())
    assert told == Answer()


async def test_a_plugin_that_never_listens_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(CallFailed, match=r"dial unix .*p\.sock: connect: no such file or directory"):
        await client(tmp_path).call("X.Do", None, Answer)


def test_plugins_of_the_host_are_found_by_their_files(tmp_path: Path) -> None:
    sockets, specs = tmp_path / "run", tmp_path / "etc"
    (specs / "inner").mkdir(parents=True)
    (specs / "a.spec").write_text("unix:///run/a.sock\n")
    (specs / "b.json").write_text(
        '{"Addr": "https://127.0.0.1:1", "TLSConfig": {"InsecureSkipVerify": true}}'
    )
    (specs / "inner" / "inner.spec").write_text("tcp://127.0.0.1:2")
    directories = [sockets, specs]
    assert legacy.find(directories, "a") == Address(path="/run/a.sock")
    found = legacy.find(directories, "b")
    assert found is not None
    assert (found.host, found.tls is not None) == ("127.0.0.1:1", True)
    assert legacy.find(directories, "inner") == Address(host="127.0.0.1:2")
    assert legacy.find(directories, "../a") is None
    assert legacy.names(directories) == ["a", "b", "inner"]


@contextmanager
def installed(directory: Path, program: str, entries: str) -> Iterator[None]:
    """A package beside the engine, with these entry points; its module is called example_package."""
    (directory / "example_package.py").write_text(program)
    facts = directory / "example-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(entries)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        extensions.load.cache_clear()
        sys.modules.pop("example_package", None)


async def test_the_example_of_the_documents_is_a_driver(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[0]
    program = program.replace("/var/tmp/scratch", str(tmp_path / "s"))
    with installed(tmp_path, program, "[lighterman.VolumeDriver]\nscratch = example_package:Scratch\n"):
        driver = extensions.load("VolumeDriver", "scratch")
        await driver.create("data", {})
        assert await driver.mount("data", "user") == str(tmp_path / "s" / "data")
        assert "scratch" in extensions.names("VolumeDriver")
    assert extensions.load("VolumeDriver", "nobody") is None


async def test_what_an_extension_raises_is_the_failure_of_a_driver(tmp_path: Path) -> None:
    program = "class Wrong:\n    async def scope(self):\n        return {}['scope']\n"
    entries = "[lighterman.NetworkDriver]\nwrong = example_package:Wrong\nnone = example_package:Nothing\n"
    with installed(tmp_path, program, entries):
        with pytest.raises(System, match=r"the extension wrong failed: KeyError\('scope'\)"):
            await extensions.load("NetworkDriver", "wrong").scope()
        with pytest.raises(System, match=r"the extension none .* does not load"):
            extensions.load("NetworkDriver", "none")
