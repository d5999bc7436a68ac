"""The status page: what a browser gets, what it may ask, and what keeps other pages out."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from tests.api.peer import Peer, Serve, taken_apart

from lighterman.api.browsers import refuse_browsers
from lighterman.api.routes import Flow
from lighterman.api.status import PAGES, SHOWN
from lighterman.errdefs import Forbidden


@pytest.fixture
async def page(serve: Serve) -> AsyncIterator[Peer]:
    async with serve(tcp=True, has_page=True, pages=PAGES) as peer:
        yield peer


async def asked(
    peer: Peer, path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1:2379"
) -> bytes:
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return await peer.raw("\r\n".join(head).encode())


async def test_the_page_is_whole_and_may_run_only_what_is_in_it(page: Peer) -> None:
    answer = taken_apart(await asked(page, "/"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    html = answer.body.decode()
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html), "something from elsewhere"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", html)
    assert not re.search(r"\son\w+=|\sstyle=", html), "the policy forbids it"


async def test_every_path_that_the_page_asks_for_is_served_to_it(page: Peer) -> None:
    html = taken_apart(await asked(page, "/")).body.decode()
    paths = set(re.findall(r"(?:ask|fetch)\([\"`]([^\"`?]+)", html))
    served = {route.path.replace("{id:.*}", "${id}").lstrip("/") for route in PAGES}
    assert paths <= served
    assert len(paths) >= 8


async def test_the_document_is_that_of_the_whole_api(page: Peer) -> None:
    told = json.loads(taken_apart(await asked(page, "/openapi.json")).body)
    assert told["openapi"] == "3.1.0"
    assert "/containers/create" in told["paths"]


def test_browsers_may_only_look_and_never_at_environments_logs_or_files() -> None:
    assert {route.method for route in PAGES} == {"GET"}
    assert {route.flow for route in PAGES} <= {Flow.PLAIN, Flow.STREAM}
    assert not re.search(r"Inspect|Logs|Archive|Export|Attach|Create|Swarm", " ".join(SHOWN))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/box/json"),
        ("GET", "/containers/box/logs"),
        ("POST", "/containers/create"),
        ("DELETE", "/containers/box"),
        ("GET", "/v1.36/containers/box/archive"),
        ("GET", "/debug/stacks"),
    ],
)
async def test_nothing_else_is_there(page: Peer, method: str, path: str) -> None:
    assert (await asked(page, path, method=method)).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        (["Sec-Fetch-Site: same-origin"], "localhost:2379", b"200"),
        (["Sec-Fetch-Site: none"], "[::1]:2379", b"200"),
        (["Sec-Fetch-Site: cross-site"], "localhost:2379", b"403"),
        (["Sec-Fetch-Site: same-site"], "localhost:2379", b"403"),
        (["Origin: http://localhost:2379"], "localhost:2379", b"403"),
        (["Sec-Fetch-Site: same-origin"], "evil.example:2379", b"403"),
    ],
)
async def test_other_pages_are_kept_out(page: Peer, headers: list[str], host: str, status: bytes) -> None:
    answer = await asked(page, "/_ping", *headers, host=host)
    assert answer.split()[1] == status


def test_beyond_loopback_a_browser_needs_a_name_of_the_engines_too() -> None:
    refuse_browsers({"Host": "192.0.2.1:2379"}, "192.0.2.1", "box", own_page=True)
    with pytest.raises(Forbidden):
        refuse_browsers({"Host": "rebound.example:2379"}, "192.0.2.1", "box", own_page=True)


async def test_the_api_is_served_to_no_page_of_its_own(serve: Serve) -> None:
    """Same-origin requests are let in where the page is, and nowhere else."""
    async with serve(tcp=True) as peer:
        assert (await asked(peer, "/_ping", "Sec-Fetch-Site: same-origin")).split()[1] == b"403"
        assert (await asked(peer, "/")).split()[1] == b"404"


def test_an_engine_without_the_page_loads_nothing_of_it() -> None:
    loads = "import sys, lighterman.daemon.run; print([name for name in sys.modules if 'api.' in name])"
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert "lighterman.api.serve" in done.stdout
    assert not re.search(r"api\.(status|openapi|described)'", done.stdout)
