"""One kept connection to an engine, and the few calls that the rows are made of."""

import http.client
import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.http import Http, UnixConnection


class Client:
    """Requests on one connection, which stays open between them."""

    def __init__(self, path: Path) -> None:
        self.connection: http.client.HTTPConnection = UnixConnection(path, 120)
        self.connection.connect()
        self.bare = Http(path, timeout_s=120)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of an answer that must be a success."""
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.connection.request(method, f"/v1.36{path}", data, headers)
        answer = self.connection.getresponse()
        told = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {told!r}")
        return told

    def create(self, *command: str, network: str = "bridge", image: str = "busybox", **host: Any) -> str:
        """The id of a new container."""
        body = {
            "Image": image,
            "Cmd": list(command),
            "ExposedPorts": {port: {} for port in host.get("PortBindings", ())},  # or dockerd publishes none
            "HostConfig": {"NetworkMode": network, **host},
            "AttachStdout": True,
        }
        told = json.loads(self.raw("POST", "/containers/create", body))
        return str(told["Id"])

    def start(self, cid: str) -> None:
        """Start it."""
        self.raw("POST", f"/containers/{cid}/start")

    def wait(self, cid: str) -> int:
        """Its exit code, when it has ended."""
        return int(json.loads(self.raw("POST", f"/containers/{cid}/wait"))["StatusCode"])

    def remove(self, cid: str) -> None:
        """Remove it, running or not."""
        self.raw("DELETE", f"/containers/{cid}?force=1&v=1")

    def drained(self, path: str, body: Any = None) -> tuple[socket.socket, bytearray]:
        """A hijacked stream and a buffer to read it into."""
        _, sock = self.bare.hijack(path, body)
        sock.settimeout(120)
        return sock, bytearray(1 << 18)


def swallowed(sock: socket.socket, buffer: bytearray) -> int:
    """Read a stream to its end; how many bytes it had."""
    total = 0
    while count := sock.recv_into(buffer):
        total += count
    return total
