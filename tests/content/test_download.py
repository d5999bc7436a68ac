"""Downloads from servers that break off, know no ranges, send too much or send us elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lighterman.content import connection
from lighterman.content import download as module
from lighterman.content.download import DownloadFailed, download
from lighterman.content.jobs import Download, retrying

BLOB = bytes(range(256)) * 20_000
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by path; remembers what it was asked."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answers[self.path](self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def whole(self, data: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def start(self) -> int:
        """The first byte of the range asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


class Server(ThreadingHTTPServer):
    """On loopback, in a thread."""

    def __init__(self, **answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {f"/{path}": answer for path, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has heard enough hangs up: no news."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0)
    servers: list[Server] = []

    def start(**answers: Answer) -> Server:
        server = Server(**answers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetched(server: Server, *, size: int = len(BLOB), headers: dict[str, str] | None = None) -> bytes:
    return b"".join(download(Download(server.url("blob"), headers or {}), size, print))


def breaks_off(handler: Handler) -> None:
    """A third of what is asked for, and no more."""
    at = handler.start()
    rest = BLOB[at:]
    handler.whole(rest[: len(BLOB) // 3], status=206 if at else 200, length=len(rest))


def knows_no_ranges(handler: Handler) -> None:
    first = len(handler.server.asked) == 1
    handler.whole(BLOB[:100_000] if first else BLOB, length=len(BLOB))


def test_a_broken_connection_goes_on_where_it_stopped(serve: Callable[..., Server]) -> None:
    server = serve(blob=breaks_off)
    assert fetched(server) == BLOB
    ranges = [headers.get("Range") for _, headers in server.asked]
    third = len(BLOB) // 3
    assert ranges == [None, f"bytes={third}-", f"bytes={2 * third}-", f"bytes={3 * third}-"]


def test_a_server_without_ranges_begins_again_and_nothing_comes_twice(serve: Callable[..., Server]) -> None:
    assert fetched(serve(blob=knows_no_ranges)) == BLOB


def test_what_passes_by_itself_is_tried_again_but_not_for_ever(serve: Callable[..., Server]) -> None:
    server = serve(blob=lambda handler: handler.whole(b"", status=503))
    with pytest.raises(DownloadFailed, match="503"):
        fetched(server)
    assert len(server.asked) == Download("").attempts


def test_each_second_before_another_try_is_told(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, waits = serve(blob=lambda handler: handler.whole(b"", status=503)), list[int]()
    monkeypatch.setattr(module, "FIRST_DELAY_S", 1)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(DownloadFailed, match="503"):
        b"".join(download(Download(server.url("blob"), attempts=4), 10, waits.append))
    assert [retrying(left_s) for left_s in waits] == [
        "Retrying in 1 second",
        *("Retrying in 2 seconds", "Retrying in 1 second"),
        *("Retrying in 4 seconds", "Retrying in 3 seconds", "Retrying in 2 seconds", "Retrying in 1 second"),
    ]


def test_a_refusal_is_final_and_has_its_status(serve: Callable[..., Server]) -> None:
    server = serve(blob=lambda handler: handler.whole(b"", status=404))
    with pytest.raises(DownloadFailed) as failed:
        fetched(server)
    assert (failed.value.status, len(server.asked)) == (404, 1)


def test_more_than_was_announced_is_refused(serve: Callable[..., Server]) -> None:
    with pytest.raises(DownloadFailed, match="more than"):
        fetched(serve(blob=lambda handler: handler.whole(BLOB)), size=1000)


def test_less_than_was_announced_is_an_unexpected_end(serve: Callable[..., Server]) -> None:
    def short(handler: Handler) -> None:
        handler.whole(BLOB[handler.start() : 1000], status=206 if handler.start() else 200)

    with pytest.raises(DownloadFailed, match="unexpected EOF"):
        fetched(serve(blob=short))


def test_a_redirect_to_another_host_is_followed_without_credentials(serve: Callable[..., Server]) -> None:
    store = serve(there=lambda handler: handler.whole(BLOB))

    def elsewhere(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", store.url("there"))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server = serve(blob=elsewhere)
    assert fetched(server, headers={"Authorization": "Bearer secret"}) == BLOB
    assert server.asked[0][1]["Authorization"] == "Bearer secret"
    assert "Authorization" not in store.asked[0][1]


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALLED_S", 0.1)
    heard = threading.Event()

    def half(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BLOB)))
        handler.end_headers()
        handler.wfile.write(BLOB[:1000])
        heard.wait(60)

    server = serve(blob=half)
    with pytest.raises(DownloadFailed):
        fetched(server)
    heard.set()


def test_a_circle_of_redirects_ends(serve: Callable[..., Server]) -> None:
    def again(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/blob")
        handler.end_headers()

    with pytest.raises(DownloadFailed, match="stopped after"):
        fetched(serve(blob=again))


def test_nobody_there_is_said_in_dockers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0)
    with pytest.raises(DownloadFailed) as failed:
        b"".join(download(Download("http://127.0.0.1:1/v2/x"), 10, print))
    said = 'Get "http://127.0.0.1:1/v2/x": dial tcp 127.0.0.1:1: connect: connection refused'
    assert str(failed.value) == said
