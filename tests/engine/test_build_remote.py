"""Builds whose context is elsewhere: in repositories, on the web, at a client that lends it by a session."""

import asyncio
import io
import json
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker as docker_py
import pytest
from tests.support.engines import Daemon, Engine
from tests.support.http import Http
from tests.support.lender import METHODS, serving

pytestmark = pytest.mark.beyond_dockerd


def built(http: Http, query: str, context: bytes = b"") -> list[dict[str, Any]]:
    """The messages of a build that must have begun."""
    answer = http("POST", f"/build?{query}", context, {"Content-Type": "application/x-tar"})
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def said(messages: list[dict[str, Any]]) -> str:
    assert not [message for message in messages if "error" in message], messages
    return "".join(message.get("stream", "") for message in messages)


def archive_of(dockerfile: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        archive.addfile(info, io.BytesIO(dockerfile.encode()))
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a web server has: a repository, an archive, a Dockerfile, a file."""
    top = tmp_path_factory.mktemp("web")
    work = top / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "Dockerfile").write_text("FROM busybox\nCOPY . /got/\nRUN ls /got\n")
    (work / "sub" / "wanted").write_text("from git\n")
    (work / "sub" / "left-out").write_text("x")
    (work / "sub" / ".dockerignore").write_text("left-*\n")
    me = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init", "-q"), ("add", "."), (*me, "commit", "-q", "-m", "first"), ("tag", "v1")):
        subprocess.run(["git", *arguments], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, top / "app.git"], check=True)
    subprocess.run(["git", "update-server-info"], cwd=top / "app.git", check=True)
    (top / "context.tar").write_bytes(archive_of("FROM busybox\nRUN echo of an archive\n"))
    (top / "Dockerfile.txt").write_text("FROM busybox\nRUN echo of a text\n")
    (top / "file.bin").write_bytes(b"\0downloaded")
    return top


@pytest.fixture
def site(engine: Daemon, folder: Path) -> Iterator[str]:
    """The folder behind HTTP, on the engine's side of the network."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: object) -> None:
            pass

    listener = engine.net.listen(("127.0.0.1", 0))
    with ThreadingHTTPServer(("127.0.0.1", 0), Files, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("arguments", [("-",), ("-f", "-", "{folder}"), ("-f", "{folder}/other", "{folder}")])
def test_the_command_line_has_its_dockerfile_elsewhere(
    engine: Daemon, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Of `-f -` it makes an archive that ends with its last file."""
    (tmp_path / "a").write_text("a")
    text = "FROM busybox\nENV A=1\n"
    (tmp_path / "other").write_text(text)
    words = [word.format(folder=tmp_path) for word in arguments]
    told = engine.docker("build", "-q", *words, stdin=text.encode())
    assert told.stdout.startswith("sha256:")


def test_docker_py_builds_from_a_repository(engine: Daemon, site: str) -> None:
    client = docker_py.DockerClient(base_url=f"unix://{engine.socket}", version="1.36")
    image, log = client.images.build(path=f"{site}/app.git#v1:sub", rm=True, nocache=True)
    text = "".join(line.get("stream", "") for line in log)
    assert "wanted" in text
    assert "left-out" not in text
    assert image.attrs["Config"]["Cmd"] == ["sh"]
    client.close()


@pytest.mark.parametrize(
    ("name", "echoed"), [("context.tar", "of an archive"), ("Dockerfile.txt", "of a text")]
)
def test_a_context_of_the_web_is_an_archive_or_a_dockerfile(
    http: Http, site: str, name: str, echoed: str
) -> None:
    assert f"\n{echoed}\n" in said(built(http, f"remote={site}/{name}&nocache=1"))


def test_what_a_server_has_not_is_told(http: Http, site: str) -> None:
    answer = http("POST", f"/build?remote={site}/none.tar")
    assert answer.status == 404
    assert "failed to GET" in answer.json["message"]


def test_add_fetches_files_and_repositories(http: Http, site: str) -> None:
    dockerfile = (
        f"FROM busybox\nADD {site}/file.bin /f/\nADD {site}/app.git#v1 /g\n"
        "RUN stat -c '%a %u' /f/file.bin && ls -a /g /g/sub\n"
    )
    text = said(built(http, "nocache=1", archive_of(dockerfile)))
    assert "600 0" in text
    assert "wanted" in text
    assert ".git\n" not in text


@contextmanager
def lent(engine: Daemon, folder: Path, tmp_path: Path) -> Iterator[str]:
    """The id of a session that lends `folder`; its client is a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serving(folder, tmp_path / "lender"), loop).result(10)
    ours, theirs = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    ours.connect(str(engine.socket))
    theirs.connect(str(tmp_path / "lender"))
    methods = "".join(f"X-Docker-Expose-Session-Grpc-Method: {method}\r\n" for method in METHODS)
    ours.sendall(
        f"POST /v1.36/session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        f"X-Docker-Expose-Session-Uuid: lender\r\n{methods}\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += ours.recv(1)
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    pumps = [threading.Thread(target=pump, args=ends) for ends in ((ours, theirs), (theirs, ours))]
    for each in pumps:
        each.start()
    try:
        yield "lender"
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        theirs.shutdown(socket.SHUT_RDWR)
        for each in pumps:
            each.join()
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        ours.close()
        theirs.close()


def pump(source: socket.socket, target: socket.socket) -> None:
    while piece := source.recv(1 << 16):
        target.sendall(piece)


def test_a_session_lends_the_context_secrets_and_an_agent(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lent"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "FROM busybox\nCOPY a b /\nRUN --mount=type=secret,id=s,required cat /run/secrets/s && echo\n"
        "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && ls /run/secrets 2>&1; cat /a\n"
    )
    (folder / "a").write_text("lent")
    (folder / "b").write_bytes(b"b" * 200_000)
    engine = Engine(options=["--experimental"])
    try:
        engine.start()
        engine.docker("load", "-i", archive)
        with lent(engine, folder, tmp_path) as session:
            text = said(built(engine.http, f"remote=client-session&session={session}"))
        assert "hidden" in text
        assert "\nlent" in text
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("version", "upgrade", "status", "said"),
    [
        ("/v1.36", "h2c", 501, "This experimental feature is disabled by default"),
        ("/v1.41", "", 400, "no upgrade proto in request"),
        ("/v1.41", "spdy", 400, "protocol spdy not supported"),
        ("/v1.41", "h2c", 400, "a session has to have an id"),
    ],
)
def test_what_is_no_session_is_refused(
    engine: Daemon, version: str, upgrade: str, status: int, said: str
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": upgrade} if upgrade else {}
    answer = Http(engine.socket, version)("POST", "/session", None, headers)
    assert answer.status == status
    assert said in answer.json["message"]
