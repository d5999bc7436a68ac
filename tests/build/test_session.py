"""Sessions: a client that serves files, credentials, secrets and an ssh agent on its own connection."""

import asyncio
import io
import os
import socket
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.lender import METHODS, serving

from lighterman.build.session import NoSuchSession, Sessions, SessionWish
from lighterman.build.session import session_pb2 as pb
from lighterman.build.session.agent import forwarded_agent
from lighterman.build.session.files import FileSync, context_archive, directory_archive
from lighterman.build.session.lends import credentials, secret
from lighterman.content import Content
from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System
from lighterman.lib.go_mode import go_mode, st_mode
from lighterman.runtime import Client


@pytest.fixture
def lent(tmp_path: Path) -> Path:
    path = tmp_path / "lent"
    (path / "d").mkdir(parents=True)
    (path / "Dockerfile").write_text("FROM x\n")
    (path / "d" / "large").write_bytes(os.urandom(3_000_000))
    (path / "d" / "run").write_text("#!/bin/sh\n")
    (path / "d" / "run").chmod(0o4755)
    (path / "empty").touch()
    (path / "link").symlink_to("d/run")
    return path


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "data")


@asynccontextmanager
async def lending(
    sessions: Sessions, lent: Path, tmp_path: Path, *, name: str = ""
) -> AsyncIterator[socket.socket]:
    """A client with a session; the socket is its connection."""
    server = await serving(lent, tmp_path / "client", name=name)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{tmp_path}/client")
    try:
        sessions.begin(SessionWish("id", methods=frozenset(map(str.lower, METHODS))), Client(sock, b"", b""))
        yield sock
    finally:
        await server.stop(None)


@pytest.fixture
async def sessions(content: Content) -> AsyncIterator[Sessions]:
    sessions = Sessions(content)
    yield sessions
    await sessions.close()


async def test_a_directory_comes_as_an_archive(sessions: Sessions, lent: Path, tmp_path: Path) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("id") as session:
        data = b"".join([piece async for piece in context_archive(session)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["Dockerfile", "d", "d/large", "d/run", "empty", "link"]
        assert archive.getmember("d/run").mode == 0o4755
        assert archive.getmember("link").linkname == "d/run"
        assert archive.getmember("d").isdir()
        large = archive.extractfile("d/large")
        assert large is not None
        assert large.read() == (lent / "d" / "large").read_bytes()
        assert archive.getmember("Dockerfile").mtime == pytest.approx((lent / "Dockerfile").stat().st_mtime)


async def test_a_directory_that_is_not_lent_is_told_in_the_clients_words(
    sessions: Sessions, lent: Path, tmp_path: Path
) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("id") as session:
        with pytest.raises(NotFound, match='no access allowed to dir "other"'):
            _ = [piece async for piece in directory_archive(session, "other")]


async def test_a_context_has_the_name_that_newer_clients_give_it(
    sessions: Sessions, lent: Path, tmp_path: Path
) -> None:
    async with lending(sessions, lent, tmp_path, name="context"), sessions.get("id") as session:
        data = b"".join([piece async for piece in context_archive(session)])
    assert b"FROM x" in data


async def test_credentials_and_secrets_are_lent(sessions: Sessions, lent: Path, tmp_path: Path) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("context:id") as session:
        password, token = await credentials(session, "h:5000"), await credentials(session, "token")
        assert password is not None
        assert token is not None
        assert (password.username, password.password, token.identitytoken) == ("me", "pw", "tk")
        assert await credentials(session, "other") is None
        assert await secret(session, "s") == b"hidden"
        assert await secret(session, "other") is None


async def test_an_agent_is_a_socket(sessions: Sessions, lent: Path, tmp_path: Path) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("id") as session:
        async with forwarded_agent(session, "", tmp_path, uid=1, gid=2) as path:
            assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) == (1, 2, 0o600)
            for _ in range(2):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"question")
                assert await reader.readexactly(8) == b"QUESTION"
                writer.close()
        with pytest.raises(InvalidParameter, match="no ssh agent other"):
            async with forwarded_agent(session, "other", tmp_path):
                pass


async def test_a_build_waits_for_its_session(sessions: Sessions, lent: Path, tmp_path: Path) -> None:
    async def ask() -> bytes | None:
        async with sessions.get("id") as session:
            return await secret(session, "s")

    asking = asyncio.ensure_future(ask())
    await asyncio.sleep(0)
    async with lending(sessions, lent, tmp_path):
        assert await asking == b"hidden"


async def test_a_session_that_does_not_come_is_not_waited_for_for_ever(sessions: Sessions) -> None:
    with pytest.raises(NoSuchSession, match="no active session for x"):
        async with sessions.get("x", patience_s=0.01):
            pass


async def test_a_client_that_goes_ends_what_uses_its_session(
    sessions: Sessions, lent: Path, tmp_path: Path
) -> None:
    async with lending(sessions, lent, tmp_path) as sock:
        with pytest.raises(NoSuchSession):
            async with sessions.get("id"):
                sock.shutdown(socket.SHUT_RDWR)
                await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    with pytest.raises(NoSuchSession):
        async with sessions.get("id", patience_s=0.01):
            pass


async def test_an_id_is_of_one_session(sessions: Sessions, lent: Path, tmp_path: Path) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("id"):
        with pytest.raises(InvalidParameter, match="session id is there already"):
            sessions.check(SessionWish("id"))
    with pytest.raises(InvalidParameter, match="has to have an id"):
        sessions.check(SessionWish(""))


async def test_nothing_is_left_of_a_session(
    sessions: Sessions, content: Content, lent: Path, tmp_path: Path
) -> None:
    async with lending(sessions, lent, tmp_path), sessions.get("id"):
        assert not list((content.root / "ingest").iterdir())


def packet(kind: "pb.Packet.Kind", **fields: Any) -> pb.Packet:
    return pb.Packet(type=kind, **fields)


def told(sync: FileSync, *files: tuple[str, int]) -> list[int]:
    """The numbers that are asked for when a client has told of these files."""
    asked = []
    for path, size in files:
        list(sync.feed(packet(pb.Packet.STAT, stat=pb.Stat(path=path, mode=0o644, size=size))))
        asked += [request.id for request in sync.requests()]
    return asked


def test_only_little_is_asked_for_ahead() -> None:
    sync = FileSync()
    assert told(sync, ("a", 1 << 30), ("b", 1 << 19), ("c", 1 << 20), ("d", 1)) == [0, 1]
    many = FileSync()
    assert len(told(many, *((str(number), 1) for number in range(1000)))) == 128


def test_files_come_out_in_their_order_whatever_order_they_come_in() -> None:
    sync = FileSync()
    assert told(sync, ("a", 1), ("b", 1)) == [0, 1]
    assert b"".join(sync.feed(packet(pb.Packet.DATA, id=1, data=b"B"))) == b""
    list(sync.feed(packet(pb.Packet.DATA, id=1)))
    list(sync.feed(packet(pb.Packet.STAT)))
    list(sync.feed(packet(pb.Packet.DATA, id=0, data=b"A")))
    assert not sync.finished
    assert b"".join(sync.feed(packet(pb.Packet.DATA, id=0))).endswith(b"B" + bytes(511))
    assert sync.finished


HOSTILE: list[tuple[list[pb.Packet], type[EngineError], str]] = [
    ([packet(pb.Packet.DATA, id=7, data=b"x")], InvalidParameter, "invalid file request 7"),
    ([packet(pb.Packet.DATA, id=0, data=b"xxx")], InvalidParameter, "a changed while it was sent"),
    ([packet(pb.Packet.DATA, id=0)], InvalidParameter, "a changed while it was sent"),
    ([packet(pb.Packet.ERR, data=b"no")], System, "error from sender: no"),
]


@pytest.mark.parametrize(("packets", "kind", "said"), HOSTILE)
def test_what_a_client_should_not_say_is_refused(
    packets: list[pb.Packet], kind: type[EngineError], said: str
) -> None:
    sync = FileSync()
    told(sync, ("a", 2))
    with pytest.raises(kind, match=said):
        for each in packets:
            list(sync.feed(each))


@pytest.mark.parametrize("mode", [0o100644, 0o104755, 0o41777, 0o120777, 0o20600, 0o60600, 0o10600, 0o140755])
def test_modes_go_to_go_and_back(mode: int) -> None:
    assert st_mode(go_mode(mode)) == mode
