"""A registry that can lie: what it serves, and how it breaks off, is the test's to say."""

import gzip
import http.server
import json
import socket
import threading
from collections.abc import Sequence

from tests.support.images import config, digest
from tests.support.registry import MANIFEST


class FalseRegistry:
    """Serves on a listening socket until `close()`.

    `cut`: no byte of a layer beyond this one is sent, for `cuts_left` answers. `manifests` and `blobs` may
    be changed by hand.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.layers: list[str] = []
        self.cut = 0
        self.cuts_left = 1 << 30
        self.name = "{}:{}".format(*listening.getsockname())
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                registry.answer(self, body_wanted=False)

            def do_GET(self) -> None:
                registry.answer(self, body_wanted=True)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def __init__(self) -> None:
                super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
                self.socket.close()
                self.socket = listening

        self.server = Server()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def serve(self, repository: str, layers: Sequence[bytes], *, document: bytes | None = None) -> str:
        """Offer an image of these uncompressed layers as tag 1; the name to pull it by."""
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        document = config(layers) if document is None else document
        self.blobs |= {digest(blob): blob for blob in (*packed, document)}
        self.layers = [digest(blob) for blob in packed]
        kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(document),
                "digest": digest(document),
            },
            "layers": [{"mediaType": kind, "size": len(blob), "digest": digest(blob)} for blob in packed],
        }
        told = json.dumps(manifest).encode()
        self.manifests[repository, "1"] = self.manifests[repository, digest(told)] = MANIFEST, told
        return f"{self.name}/{repository}:1"

    def replace_layers(self, blob: bytes) -> None:
        """Serve `blob` in the place of each layer, with zeros up to the length that was announced."""
        for name in self.layers:
            self.blobs[name] = blob.ljust(len(self.blobs[name]), b"\0")

    def answer(self, request: http.server.BaseHTTPRequestHandler, *, body_wanted: bool) -> None:
        """Answer one request below /v2/."""
        parts = request.path.split("?")[0].strip("/").split("/")
        kind, data = "application/octet-stream", b""
        if parts == ["v2"]:
            kind, data = "application/json", b"{}"
        elif parts[-2] == "manifests" and (parts[1], parts[-1]) in self.manifests:
            kind, data = self.manifests[parts[1], parts[-1]]
        elif parts[-2] == "blobs" and parts[-1] in self.blobs:
            data = self.blobs[parts[-1]]
        else:
            request.send_error(404)
            return
        start = 0
        if asked := request.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").split("-")[0])
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data) - start))
        if parts[-2:-1] == ["manifests"]:
            request.send_header("Docker-Content-Digest", digest(data))
        request.end_headers()
        if body_wanted:
            self.send(request, data, start, parts[-1])

    def send(self, request: http.server.BaseHTTPRequestHandler, data: bytes, start: int, name: str) -> None:
        """The body from `start` on, or a part of it and a hang-up."""
        if self.cut and self.cuts_left > 0 and name in self.layers and len(data) > self.cut:
            self.cuts_left -= 1
            request.wfile.write(data[start : self.cut])
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            request.wfile.write(data[start:])

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
