"""A web server beside each engine, at the same address, with the same files."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.differential.contexts import File, context
from tests.support.engines import Daemon

PORT = 8099
SITE = f"http://127.0.0.1:{PORT}"
_ARCHIVE = context({"Dockerfile": "FROM busybox\nCOPY a b /c/\n", "a": File(b"1", 0o600, 5, 6), "b": "2"})

FILES: dict[str, tuple[bytes, dict[str, str]]] = {
    "/plain": (b"plain\n", {"Last-Modified": "Thu, 01 Jan 2026 00:00:01 GMT"}),
    "/a%20b": (b"spaces\n", {}),
    "/packed.tgz": (gzip.compress(_ARCHIVE, mtime=0), {"Content-Type": "application/x-gzip"}),
    "/named/": (b"named\n", {"Content-Disposition": 'attachment; filename="its-name"'}),
    "/nameless/": (b"nameless\n", {}),
    "/Dockerfile": (b"FROM busybox\nENV A=1\n", {"Content-Type": "text/plain; charset=utf-8"}),
    "/octets": (b"FROM busybox\nENV A=1\n", {"Content-Type": "application/octet-stream"}),
    "/context.tar": (_ARCHIVE, {"Content-Type": "application/x-tar"}),
    "/page": (b"<html>", {"Content-Type": "text/html"}),
    "/empty": (b"", {"Content-Type": "text/plain"}),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body, headers = FILES.get(path, (b"nothing here\n", {}))
        self.send_response(200 if path in FILES else 403 if path == "/forbidden" else 404)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def beside(engine: Daemon) -> Iterator[None]:
    """The server, on the engine's side of the network."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = engine.net.listen(("127.0.0.1", PORT))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
