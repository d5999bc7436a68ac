"""Small servers that logs are sent to, and what they received."""

import json
import socket
import threading
import zlib
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec


class Datagrams:
    """Receives datagrams, on UDP or at a path; `fds` count what came with them as files."""

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sock.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        else:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.bind(str(path))
            self.address = str(path)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sock.settimeout(10)

    def receive(self) -> bytes:
        """The next one, or the content of the file that came in its place."""
        data, fds, _, _ = socket.recv_fds(self._sock, 1 << 17, 1)
        if fds:
            with open(fds[0], "rb") as file:
                file.seek(0)
                return file.read()
        return data

    def close(self) -> None:
        self._sock.close()


class Stream:
    """Receives streams, on TCP or at a path. `answer` says what is sent back for what came."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        answer: Callable[[bytes], bytes] = lambda data: b"",
        reads: bool = True,
        wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock,
    ) -> None:
        family = socket.AF_INET if path is None else socket.AF_UNIX
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._listening.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listening.listen()
        name = self._listening.getsockname()
        self.address = f"127.0.0.1:{name[1]}" if path is None else str(path)
        self._answer, self._wrap = answer, wrap
        self.data = bytearray()
        self.reads = threading.Event()
        if reads:
            self.reads.set()
        self._changed = threading.Condition()
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def wait_for(self, done: Callable[[bytearray], object], timeout_s: float = 15) -> bytes:
        """All that was received, once `done` says so of it."""
        with self._changed:
            if not self._changed.wait_for(lambda: done(self.data), timeout_s):
                raise AssertionError(f"received only {len(self.data)} bytes: {bytes(self.data[-500:])!r}")
            return bytes(self.data)

    def hang_up(self) -> None:
        """Close the connections that there are; new ones are taken."""
        for client in self._clients:
            client.shutdown(socket.SHUT_RDWR)
            client.close()
        self._clients.clear()

    def close(self) -> None:
        self.reads.set()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                client = self._wrap(client)
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        while True:
            self.reads.wait()
            try:
                piece = client.recv(1 << 16)
            except OSError:
                return
            if not piece:
                return
            with self._changed:
                self.data += piece
                self._changed.notify_all()
            if answer := self._answer(piece):
                client.sendall(answer)


def fluentd_messages(data: bytes | bytearray) -> list[Any]:
    """The whole messages of a stream of the forward protocol."""
    found: list[Any] = []
    while data:
        try:
            message = msgspec.msgpack.decode(data)
        except msgspec.DecodeError as error:
            end = trailing(error)
            if end is None:
                return found
            message = msgspec.msgpack.decode(data[:end])
        else:
            end = len(data)
        found.append(message)
        data = data[end:]
    return found


def trailing(error: msgspec.DecodeError) -> int | None:
    """Where the message ended that something follows."""
    _, found, at = str(error).partition("trailing characters (byte ")
    return int(at.rstrip(")")) if found else None


class Collector:
    """An HTTP Event Collector of splunk. `status` is what it answers."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.headers: list[Mapping[str, str]] = []
        self.methods: list[str] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.take(self)

            def do_OPTIONS(self) -> None:
                collector.take(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if request.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, 31)
        self.methods.append(f"{request.command} {request.path}")
        self.headers.append(dict(request.headers))
        decoder, text, at = json.JSONDecoder(), body.decode(), 0
        while at < len(text):
            event, at = decoder.raw_decode(text, at)
            self.events.append(event)
        request.send_response(self.status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def unused_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
