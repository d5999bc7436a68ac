"""TLS before HTTP: who is let in, and streams that end one direction at a time."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.api.peer import Serve
from tests.support.certificates import Authority

from lighterman.api.request import RAW_STREAM, Answer, Reply, Request, Stream, Taken
from lighterman.api.rooms import Rooms
from lighterman.api.routes import Flow, Route
from lighterman.daemon.certificates import tls_context
from lighterman.daemon.config import EngineConfig
from lighterman.errdefs import InvalidParameter
from lighterman.runtime import Client

BIG = 8 << 20


async def ping(request: Request, rooms: Rooms) -> Answer:
    return Reply(200, b"OK")


async def take(request: Request, rooms: Rooms) -> Answer:
    def echo(client: Client) -> None:
        with client.sock as sock:
            sock.setblocking(True)
            sock.sendall(client.head + client.early)
            while data := sock.recv(1 << 16):
                sock.sendall(data)
            sock.sendall(b"bye")

    threading.Thread(target=echo, args=(await request.take(False, RAW_STREAM),), daemon=True).start()
    return Taken()


async def big(request: Request, rooms: Rooms) -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BIG >> 16):
            yield b"x" * (1 << 16)

    return Stream(chunks(), "application/x-tar")


ROUTES = (
    Route("Ping", "GET", "/_ping", ping),
    Route("Big", "GET", "/big", big, flow=Flow.STREAM),
    Route("Attach", "POST", "/containers/{id:.*}/attach", take, flow=Flow.HIJACK),
)
ASK = b"%s HTTP/1.1\r\nHost: engine\r\n%s\r\n"
CLOSE = b"Connection: close\r\n"
PING = ASK % (b"GET /_ping", CLOSE)
ATTACH = ASK % (b"POST /containers/a/attach", b"")
T = TypeVar("T")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def context(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """Of an engine that verifies its clients."""
    home = authority.issue(tmp_path / "server", client=False)
    config = EngineConfig(
        tlsverify=True,
        tlscacert=str(home / "ca.pem"),
        tlscert=str(home / "cert.pem"),
        tlskey=str(home / "key.pem"),
    )
    made = tls_context(config)
    assert made is not None
    return made


def of_client(place: Path, trusts: Authority, signed_by: Authority | None) -> ssl.SSLContext:
    """Of a client with a certificate, or without one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusts.certificate.public_bytes(Encoding.PEM).decode())
    if signed_by is not None:
        home = signed_by.issue(place, client=True)
        context.load_cert_chain(home / "cert.pem", home / "key.pem")
    return context


class TlsClient:
    """A blocking client that can end its own direction and go on reading, as Go's can."""

    def __init__(self, address: str | tuple[str, int], context: ssl.SSLContext) -> None:
        self.plain = socket.create_connection(address, timeout=60)  # type: ignore[arg-type] # TCP here
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self._whole(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.plain.sendall(self._out.read())

    def end(self) -> None:
        """Say that this was all."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self.plain.sendall(self._out.read())

    def read_all(self) -> bytes:
        """Everything up to the server's close_notify, which must come."""
        heard = bytearray()
        with suppress(ssl.SSLZeroReturnError):
            while data := self._whole(lambda: self._tls.read(1 << 16)):
                heard += data
        return bytes(heard)

    def _whole(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self.plain.sendall(self._out.read())
                data = self.plain.recv(1 << 16)
                if not data:
                    raise ConnectionError("the server broke off") from None
                self._in.write(data)
            else:
                self.plain.sendall(self._out.read())
                return result


def talk(address: str | tuple[str, int], context: ssl.SSLContext, *pieces: bytes, end: bool) -> bytes:
    client = TlsClient(address, context)
    with client.plain:
        for piece in pieces:
            client.send(piece)
        if end:
            client.end()
        return client.read_all()


async def test_a_client_with_a_certificate_is_served(
    serve: Serve, context: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    known = of_client(tmp_path, authority, authority)
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        heard = await asyncio.to_thread(talk, peer.address, known, PING, end=False)
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert heard.endswith(b"\r\n\r\nOK")


@pytest.mark.parametrize("stranger", [None, Authority("stranger")], ids=["none", "stranger"])
async def test_a_client_without_a_certificate_of_ours_is_not(
    serve: Serve, context: ssl.SSLContext, authority: Authority, tmp_path: Path, stranger: Authority | None
) -> None:
    unknown = of_client(tmp_path, authority, stranger)
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        with pytest.raises((ssl.SSLError, ConnectionError)):  # the alert, or an end before it was read
            await asyncio.to_thread(talk, peer.address, unknown, PING, end=False)


async def test_who_speaks_no_tls_is_not(serve: Serve, context: ssl.SSLContext) -> None:
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        assert b"HTTP" not in await peer.raw(PING)


@pytest.mark.parametrize("protocol", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_a_stream_ends_one_direction_at_a_time(
    serve: Serve, context: ssl.SSLContext, authority: Authority, tmp_path: Path, protocol: ssl.TLSVersion
) -> None:
    known = of_client(tmp_path, authority, authority)
    known.minimum_version = known.maximum_version = protocol
    early, late = b"early" * 1000, b"late" * 100_000
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        heard = await asyncio.to_thread(talk, peer.address, known, ATTACH + early, late, end=True)
    assert heard.partition(b"\r\n\r\n")[2] == early + late + b"bye"


async def test_a_client_that_reads_slowly_gets_everything(
    serve: Serve, context: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    known = of_client(tmp_path, authority, authority)
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        heard = await asyncio.to_thread(talk, peer.address, known, ASK % (b"GET /big", CLOSE), end=False)
    assert heard.count(b"x" * 1024) >= BIG // 1024


async def test_a_page_cannot_ask_through_tls_either(
    serve: Serve, context: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    known = of_client(tmp_path, authority, authority)
    ask = ASK % (b"GET /_ping", CLOSE + b"Origin: https://evil.example\r\n")
    async with serve(ROUTES, tcp=True, tls=context) as peer:
        heard = await asyncio.to_thread(talk, peer.address, known, ask, end=False)
    assert heard.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("missing", ["ca.pem", "cert.pem", "key.pem"])
def test_a_certificate_that_is_not_there_is_named(authority: Authority, tmp_path: Path, missing: str) -> None:
    home = authority.issue(tmp_path, client=False)
    (home / missing).unlink()
    config = EngineConfig(
        tlsverify=True, tlscacert=f"{home}/ca.pem", tlscert=f"{home}/cert.pem", tlskey=f"{home}/key.pem"
    )
    with pytest.raises(InvalidParameter, match=rf"ould not .*{missing}"):
        tls_context(config)


def test_a_key_that_is_encrypted_asks_nobody(authority: Authority, tmp_path: Path) -> None:
    home = authority.issue(tmp_path, client=False)
    key = load_pem_private_key((home / "key.pem").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (home / "key.pem").write_bytes(locked)
    config = EngineConfig(tlsverify=True, tlscert=f"{home}/cert.pem", tlskey=f"{home}/key.pem")
    with pytest.raises(InvalidParameter, match="Make sure the key is not encrypted"):
        tls_context(config)
