"""A registry in the test's own process, which tells the truth until it is told to lie."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry(ThreadingHTTPServer):
    """One repository, `x`, on a free port of loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.connections = 0
        self.keeps_alive = False
        """Whether a connection may have several requests."""
        self.asked: list[tuple[str, str]] = []
        """Path and Authorization of each request."""
        self.challenge = ""
        """A `WWW-Authenticate`; then only those of `welcome` come in."""
        self.welcome: set[str] = set()
        self.blob_answer: Callable[[Handler, bytes], None] = Handler.whole
        self.manifest_answer: Callable[[Handler, str], None] = Handler.manifest
        self.upload_answer: Callable[[Handler], None] = lambda handler: handler.begin("/nowhere")
        self.tokens: dict[str, Any] = {}

    def put(self, raw_config: bytes, layers: Sequence[bytes], *tags: str) -> bytes:
        """An image; the bytes of its manifest."""
        for blob in (raw_config, *layers):
            self.blobs[digest(blob)] = blob
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(raw_config, "application/vnd.docker.container.image.v1+json"),
            "layers": [
                describe(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip") for layer in layers
            ],
        }
        return self.put_manifest(MANIFEST, document, *tags)

    def put_manifest(self, media_type: str, document: dict[str, Any], *tags: str) -> bytes:
        raw = json.dumps(document).encode()
        for name in (digest(raw), *tags):
            self.manifests[name] = (media_type, raw)
        return raw

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


def describe(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "size": len(data), "digest": digest(data), **more}


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def setup(self) -> None:
        self.server.connections += 1
        self.protocol_version = "HTTP/1.1" if self.server.keeps_alive else "HTTP/1.0"
        super().setup()

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.asked.append((self.path, authorization))
        path = self.path.partition("?")[0]
        if path == "/token":
            self.whole(json.dumps(self.server.tokens.get(authorization, {})).encode())
        elif self.server.challenge and authorization not in self.server.welcome:
            self.refuse(401, "UNAUTHORIZED", "authentication required")
        elif path == "/v2/":
            self.whole(b"{}")
        elif path.startswith("/v2/x/manifests/"):
            self.server.manifest_answer(self, path.rpartition("/")[2])
        elif path == "/v2/x/tags/list":
            tags = [name for name in self.server.manifests if ":" not in name]
            self.whole(json.dumps({"name": "x", "tags": tags}).encode())
        elif blob := self.server.blobs.get(path.rpartition("/")[2]):
            self.server.blob_answer(self, blob)
        else:
            self.refuse(404, "BLOB_UNKNOWN", "blob unknown to registry")

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def do_POST(self) -> None:
        """The begin of an upload; it never comes further than the test wants."""
        self.server.upload_answer(self)

    def begin(self, place: str) -> None:
        self.send_response(202)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def manifest(self, name: str) -> None:
        if name not in self.server.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
            return
        media_type, raw = self.server.manifests[name]
        self.whole(raw, media_type=media_type)

    def whole(self, data: bytes, *, status: int = 200, media_type: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def redirect(self, to: str) -> None:
        self.send_response(307)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def endless_headers(self) -> None:
        """Until the client hangs up."""
        self.send_response(200)
        self.flush_headers()
        while True:
            self.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")

    def endless_body(self) -> None:
        """Until the client hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", MANIFEST)
        self.end_headers()
        while True:
            self.wfile.write(b" " * 65536)

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", self.server.challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry for the length of a block."""
    registry = Registry()
    thread = threading.Thread(target=registry.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        registry.server_close()
        thread.join()
