"""What every answer has in common: versions, headers, paths and what is no HTTP."""

import json

import pytest
from tests.api.peer import Peer, Serve, taken_apart

from lighterman.api.routes import Route

ADVERTISED = {"Api-Version": "1.44", "Docker-Experimental": "false", "Ostype": "linux"}


async def test_every_answer_names_the_engine_and_its_version(peer: Peer) -> None:
    for path in ("/_ping", "/v1.36/_ping", "/nope", "/v1.99/version", "/swarm"):
        answer = await peer.ask("GET", path)
        assert ADVERTISED.items() <= answer.headers.items()
        assert answer.headers["Server"] == "Docker/26.11.0 (linux)"


async def test_ping_says_ok_and_is_never_kept(peer: Peer) -> None:
    answer = await peer.ask("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["Pragma"] == "no-cache"


async def test_ping_by_head_has_the_headers_and_no_body(peer: Peer) -> None:
    answer = await peer.ask("HEAD", "/_ping")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.36"])
async def test_a_served_version_is_answered(peer: Peer, version: str) -> None:
    assert (await peer.ask("GET", f"/v{version}/_ping")).status == 200


async def test_a_version_that_is_too_new_is_refused_with_the_newest(peer: Peer) -> None:
    answer = await peer.ask("GET", "/v1.99/version")
    assert answer.status == 400
    assert answer.body == (
        b'{"message":"client version 1.99 is too new. Maximum supported API version is 1.44"}\n'
    )


async def test_a_version_that_is_too_old_is_refused_in_plain_text(peer: Peer) -> None:
    answer = await peer.ask("GET", "/v1.11/version")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body == (
        b"client version 1.11 is too old. Minimum supported API version is 1.24, "
        b"please upgrade your client to a newer version\n"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nope"), ("PUT", "/containers/json"), ("GET", "/containers/json/"), ("POST", "/_ping")],
)
async def test_an_unknown_path_or_method_is_not_found(peer: Peer, method: str, path: str) -> None:
    answer = await peer.ask(method, f"/v1.36{path}")
    assert (answer.status, answer.body) == (404, b'{"message":"page not found"}\n')


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//containers/json?all=1", "/containers/json?all=1"),
        ("/v1.36//containers//json", "/v1.36/containers/json"),
        ("/images/../../x", "/x"),
    ],
)
async def test_a_path_that_is_not_clean_is_sent_to_the_clean_one(peer: Peer, path: str, clean: str) -> None:
    answer = await peer.ask("GET", path)
    assert (answer.status, answer.headers["Location"], answer.body) == (301, clean, b"")


async def test_an_operation_still_to_come_says_so(serve: Serve) -> None:
    async with serve([Route("MoonLand", "GET", "/moon")]) as peer:
        answer = await peer.ask("GET", "/v1.36/moon")
    assert answer.status == 501
    assert json.loads(answer.body) == {"message": "MoonLand is not implemented yet"}


async def test_an_operation_is_refused_below_the_version_that_brought_it(peer: Peer) -> None:
    answer = await peer.ask("GET", "/v1.24/secrets")
    assert answer.status == 400
    assert json.loads(answer.body) == {"message": "GET /secrets requires minimum API version 1.25"}


async def test_options_are_answered_with_nothing(peer: Peer) -> None:
    answer = await peer.ask("OPTIONS", "/containers/json")
    assert (answer.status, answer.body) == (200, b"")


async def test_http_1_1_needs_a_host(peer: Peer) -> None:
    answer = await peer.raw(b"GET /_ping HTTP/1.1\r\n\r\n")
    assert b" 400 Bad Request\r\n" in answer


async def test_http_1_0_is_answered_in_kind(peer: Peer) -> None:
    answer = await peer.raw(b"GET /_ping HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"OK")


async def test_what_is_no_http_is_refused_and_the_connection_closed(peer: Peer) -> None:
    answer = await peer.raw(b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert b"Server: Docker/26.11.0 (linux)\r\n" in answer


async def test_requests_may_follow_each_other_without_waiting(peer: Peer) -> None:
    one = b"GET /_ping HTTP/1.1\r\nHost: test\r\n\r\n"
    last = b"GET /_ping HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    assert (await peer.raw(one + one + last)).count(b"HTTP/1.1 200 OK") == 3


async def test_a_head_may_come_byte_by_byte(peer: Peer) -> None:
    reader, writer = await peer.connect()
    for byte in b"GET /_ping HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.read()).endswith(b"OK")
    writer.close()


@pytest.mark.parametrize(
    ("host", "more", "status"),
    [("127.0.0.1", "X: y", 200), ("127.0.0.1", "Origin: http://evil.example", 403), ("evil", "X: y", 403)],
)
async def test_web_pages_are_refused_on_tcp(serve: Serve, host: str, more: str, status: int) -> None:
    request = f"GET /_ping HTTP/1.1\r\nHost: {host}\r\n{more}\r\nConnection: close\r\n\r\n"
    async with serve(tcp=True) as peer:
        answer = taken_apart(await peer.raw(request.encode()))
    assert answer.status == status
