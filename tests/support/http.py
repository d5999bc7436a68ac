"""HTTP to an engine's socket without any client's help: nothing is added, hidden or smoothed over."""

import http.client
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any

from msgspec import Struct

STDOUT, STDERR = 1, 2


class Answer(Struct, frozen=True):
    """A whole answer; `headers` as they came: in order, with their case."""

    status: int
    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header called `name`, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The decoded body; None when there is none."""
        return json.loads(self.body) if self.body else None


class UnixConnection(http.client.HTTPConnection):
    """One connection to a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = Socket(AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def encoded(body: object) -> tuple[bytes | None, dict[str, str]]:
    """The bytes of a body and the headers they need: bytes as they are, anything else as JSON."""
    if body is None or isinstance(body, bytes):
        return body, {}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


class Http(Struct, frozen=True):
    """Requests to the engine at `socket`. `prefix` (as "/v1.36") is put before each path."""

    socket: Path
    prefix: str = "/v1.36"
    timeout_s: float = 60

    def __call__(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer, read to its end, on a connection of its own."""
        data, implied = encoded(body)
        connection = UnixConnection(self.socket, self.timeout_s)
        try:
            connection.request(method, self.prefix + path, data, {**implied, **(headers or {})})
            got = connection.getresponse()
            line = f"HTTP/{got.version / 10:.1f} {got.status} {got.reason}"
            return Answer(got.status, line, tuple(got.getheaders()), got.read())
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: object = None) -> Any:
        """The decoded body of an answer that must be a success."""
        answer = self(method, path, body)
        assert answer.status < 400, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json

    def stream(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        """An answer that is still being sent; its reader closes it."""
        data, implied = encoded(body)
        connection = UnixConnection(self.socket, self.timeout_s)
        connection.request(method, self.prefix + path, data, implied)
        return connection.getresponse()

    def hijack(self, path: str, body: object = None, *, upgrade: bool = True) -> tuple[bytes, Socket]:
        """The head of the answer and the socket behind it, of which not a byte more has been read."""
        data = encoded(body)[0] or b""
        sock = Socket(AF_UNIX)
        sock.settimeout(self.timeout_s)
        sock.connect(str(self.socket))
        asked = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        sock.sendall(
            f"POST {self.prefix}{path} HTTP/1.1\r\nHost: docker\r\n{asked}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            assert byte, f"the answer ended inside its head: {head!r}"
            head += byte
        return head, sock


def read_all(sock: Socket) -> bytes:
    """Everything up to the end of the stream."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (stream, payload) pairs of a multiplexed stream that is complete."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(">BxxxL", data, at)
        assert at + 8 + length <= len(data), "the last frame is cut"
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length


def joined(data: bytes, stream: int) -> bytes:
    """All payloads of one stream of a multiplexed stream."""
    return b"".join(payload for kind, payload in frames(data) if kind == stream)
