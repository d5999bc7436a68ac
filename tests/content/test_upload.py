"""Uploads to a registry in this process that can hang up, and says how far it came."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lighterman.content.jobs import Step, Upload
from lighterman.content.tree import Refused
from lighterman.content.upload import UploadFailed, upload

BLOB = bytes(range(256)) * 1000
DIGEST = "sha256:" + "0" * 64


class Handler(BaseHTTPRequestHandler):
    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_PATCH(self) -> None:
        server = self.server
        server.asked.append(("PATCH", self.headers["Content-Range"], self.headers.get("Authorization")))
        if server.hang_ups and len(server.received) >= server.hang_up_at:
            server.hang_ups -= 1
            self.close_connection = True
            return
        if server.refuses:
            self.answer(server.refuses)
            return
        server.received += self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(202, Location=server.next_place or f"/next?state={len(server.received)}")

    def do_GET(self) -> None:
        self.server.asked.append(("GET", self.path, self.headers.get("Authorization")))
        if self.server.knows:
            self.answer(204, Range=f"0-{max(0, len(self.server.received) - 1)}")
        else:
            self.answer(404)

    def do_PUT(self) -> None:
        self.server.asked.append(("PUT", self.path, self.headers.get("Authorization")))
        self.server.received += self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/begun?a=b"
        self.received = b""
        self.asked: list[tuple[str, str, str | None]] = []
        self.hang_ups, self.hang_up_at, self.refuses = 0, 100_000, 0
        self.knows = True
        self.next_place = ""


@pytest.fixture
def serve() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def begin() -> Server:
        servers.append(Server())
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def send(server: Server, tmp_path: Path, *, chunk_bytes: int = 100_000) -> list[Step]:
    (tmp_path / "blob").write_bytes(BLOB)
    steps: list[Step] = []
    job = Upload(server.url, DIGEST, len(BLOB), chunk_bytes, {"Authorization": "Basic x"})
    with (tmp_path / "blob").open("rb") as blob:
        upload(job, [blob.fileno()], steps.append)
    return steps


def test_a_large_blob_goes_in_chunks_from_place_to_place(serve: Callable[[], Server], tmp_path: Path) -> None:
    server = serve()
    steps = send(server, tmp_path)
    assert server.received == BLOB
    assert [what for _, what, _ in server.asked] == [
        "0-99999",
        "100000-199999",
        "200000-255999",
        f"/next?state=256000&digest={DIGEST}",
    ]
    assert steps[-1].current == len(BLOB)


def test_a_small_blob_goes_at_once(serve: Callable[[], Server], tmp_path: Path) -> None:
    server = serve()
    send(server, tmp_path, chunk_bytes=len(BLOB))
    assert [(method, what) for method, what, _ in server.asked] == [("PUT", f"/begun?a=b&digest={DIGEST}")]
    assert server.received == BLOB


def test_a_broken_connection_goes_on_where_the_registry_is(
    serve: Callable[[], Server], tmp_path: Path
) -> None:
    server = serve()
    server.hang_ups = 2
    send(server, tmp_path)
    assert server.received == BLOB
    assert [method for method, _, _ in server.asked] == ["PATCH"] + ["PATCH", "GET"] * 2 + ["PATCH"] * 2 + [
        "PUT"
    ]


@pytest.mark.parametrize(("hang_ups", "knows"), [(99, True), (1, False)])
def test_a_registry_that_never_goes_on_or_does_not_know_ends_it(
    serve: Callable[[], Server], tmp_path: Path, *, hang_ups: int, knows: bool
) -> None:
    server = serve()
    server.hang_ups, server.knows = hang_ups, knows
    with pytest.raises(UploadFailed) as failed:
        send(server, tmp_path)
    assert failed.value.status == 0
    assert len(server.asked) < 20


def test_a_refused_chunk_is_told_with_its_status(serve: Callable[[], Server], tmp_path: Path) -> None:
    server = serve()
    server.refuses = 416
    with pytest.raises(UploadFailed) as failed:
        send(server, tmp_path)
    assert failed.value.status == 416


def test_credentials_stay_with_their_host(serve: Callable[[], Server], tmp_path: Path) -> None:
    server, other = serve(), serve()
    server.next_place = other.next_place = other.url
    send(server, tmp_path)
    assert server.received + other.received == BLOB
    assert {sent for _, _, sent in server.asked} == {"Basic x"}
    assert {sent for _, _, sent in other.asked} == {None}


def test_a_place_that_is_no_host_is_not_gone_to(serve: Callable[[], Server], tmp_path: Path) -> None:
    server = serve()
    server.next_place = "file:///etc/passwd"
    with pytest.raises(Refused, match='unsupported protocol scheme "file"'):
        send(server, tmp_path)
    assert [method for method, _, _ in server.asked] == ["PATCH"]
