"""Contexts and sources from elsewhere, by real servers on loopback."""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp import ClientTimeout
from tests.support.waiting import until

from lighterman.build.remote import (
    GitAddress,
    checked_out,
    download,
    is_git_context,
    is_git_source,
    opened_context,
    parse_git_address,
    web,
)
from lighterman.build.remote.git import GitFailed, environment
from lighterman.content import Content, Workers
from lighterman.errdefs import InvalidParameter, NotFound, System
from lighterman.registry import Remote, remote

ADDRESSES = [
    ("https://h/r.git", GitAddress("https://h/r.git")),
    ("https://h/r.git#v1:sub/dir", GitAddress("https://h/r.git", "v1", "sub/dir")),
    ("git@h:r.git#:sub", GitAddress("git@h:r.git", "", "sub")),
    ("github.com/o/r#x", GitAddress("https://github.com/o/r", "x")),
    ("ssh://git@h/r#x", GitAddress("ssh://git@h/r", "x")),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_names_a_repository_a_commit_and_a_directory(text: str, address: GitAddress) -> None:
    assert parse_git_address(text) == address


def test_a_ref_is_no_option() -> None:
    with pytest.raises(InvalidParameter, match="invalid refspec: --upload-pack=x"):
        parse_git_address("https://h/r.git#--upload-pack=x")


def test_which_addresses_are_of_git() -> None:
    urls = ["git://h/r", "git@h:r", "http://h/r.git", "https://h/r.git#x", "https://h/r.tar.gz", "a.git"]
    assert [is_git_source(url) for url in urls] == [True, True, True, True, False, False]
    assert is_git_context("github.com/o/r")
    assert not is_git_source("github.com/o/r")


def test_git_finds_nothing_of_the_engines_own_but_the_way_out() -> None:
    found = environment({"PATH": "/bin", "http_proxy": "http://p", "SSH_AUTH_SOCK": "/s", "GIT_DIR": "/x"})
    assert (found["PATH"], found["HOME"], found["http_proxy"]) == ("/bin", "/dev/null", "http://p")
    assert not {"SSH_AUTH_SOCK", "GIT_DIR"} & found.keys()


def git(cwd: Path, *arguments: str) -> str:
    options = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *options, *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`app`, with two branches, a tag, a link out of it, a hook, and `part` as a submodule."""
    top = tmp_path_factory.mktemp("repositories")
    for name in ("part", "app"):
        (top / name).mkdir()
        git(top / name, "init", "-q", "-b", "trunk")
        (top / name / "Dockerfile").write_text(f"FROM {name}\n")
        git(top / name, "add", ".")
        git(top / name, "commit", "-q", "-m", "first")
    app = top / "app"
    git(app, "tag", "v1")
    (app / "sub").mkdir()
    (app / "sub" / "file").write_text("below\n")
    (app / "out").symlink_to("/etc")
    git(app, "add", ".")
    git(app, "commit", "-q", "-m", "second")
    git(app, "checkout", "-q", "-b", "other")
    (app / "Dockerfile").write_text("FROM other\n")
    git(app, "commit", "-q", "-a", "-m", "third")
    git(app, "checkout", "-q", "trunk")
    return top


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(repositories: Path) -> Iterator[str]:
    """The repositories behind git's own protocol; the submodule is added once its address is known."""
    port = free_port()
    command = [
        "git",
        "daemon",
        "--listen=127.0.0.1",
        f"--port={port}",
        "--export-all",
        f"--base-path={repositories}",
    ]
    with subprocess.Popen([*command, str(repositories)], stderr=subprocess.DEVNULL) as daemon:
        try:
            until(lambda: connects(port), what="git daemon to listen", process=daemon)
            git(repositories / "app", "checkout", "-q", "-b", "with-part")
            git(repositories / "app", "submodule", "--quiet", "add", f"git://127.0.0.1:{port}/part", "part")
            git(repositories / "app", "commit", "-q", "-m", "fourth")
            git(repositories / "app", "checkout", "-q", "-b", "with-the-hosts")
            git(
                repositories / "app",
                "config",
                "-f",
                ".gitmodules",
                "submodule.part.url",
                f"{repositories}/part",
            )
            git(repositories / "app", "commit", "-q", "-a", "-m", "fifth")
            git(repositories / "app", "checkout", "-q", "trunk")
            yield f"git://127.0.0.1:{port}/app"
        finally:
            daemon.terminate()


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "data")


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers()
    yield workers
    await workers.close()


COMMITS = [
    ("", "FROM app\n", True),
    ("#v1", "FROM app\n", False),
    ("#other", "FROM other\n", True),
    ("#refs/heads/other", "FROM other\n", True),
]


@pytest.mark.parametrize(("fragment", "dockerfile", "has_sub"), COMMITS)
async def test_a_branch_a_tag_or_the_head_is_checked_out(
    served: str, content: Content, fragment: str, dockerfile: str, has_sub: bool
) -> None:
    async with checked_out(parse_git_address(served + fragment), content, keep_git=False) as tree:
        assert (tree / "Dockerfile").read_text() == dockerfile
        assert (tree / "sub").exists() is has_sub
        assert not (tree / ".git").exists()
    assert not list((content.root / "ingest").iterdir())


async def test_submodules_are_part_of_it(served: str, content: Content) -> None:
    async with checked_out(parse_git_address(f"{served}#with-part"), content, keep_git=False) as tree:
        assert (tree / "part" / "Dockerfile").read_text() == "FROM part\n"
        assert not (tree / "part" / ".git").exists()


async def test_a_submodule_of_the_host_is_none(served: str, content: Content) -> None:
    with pytest.raises(GitFailed, match="transport 'file' not allowed"):
        async with checked_out(parse_git_address(f"{served}#with-the-hosts"), content, keep_git=False):
            pass


async def test_a_directory_of_it_is_the_context(served: str, content: Content) -> None:
    async with checked_out(parse_git_address(f"{served}#:sub"), content, keep_git=True) as tree:
        assert os.listdir(tree) == ["file"]


@pytest.mark.parametrize("directory", ["out", "out/passwd", "Dockerfile", "nothing"])
async def test_no_directory_leads_out_of_it(served: str, content: Content, directory: str) -> None:
    with pytest.raises(InvalidParameter, match="error setting git context"):
        async with checked_out(parse_git_address(f"{served}#:{directory}"), content, keep_git=True):
            pass


async def test_above_the_top_is_the_top(served: str, content: Content) -> None:
    async with checked_out(parse_git_address(f"{served}#:../.."), content, keep_git=True) as tree:
        assert tree.parent == content.root / "ingest"


async def test_what_git_says_is_told(served: str, content: Content) -> None:
    with pytest.raises(GitFailed, match=r"error fetching: .*nothing.*: exit status 128"):
        async with checked_out(parse_git_address(f"{served}#nothing"), content, keep_git=True):
            pass
    assert not list((content.root / "ingest").iterdir())


async def test_a_repository_of_the_host_is_none(repositories: Path, content: Content) -> None:
    with pytest.raises(GitFailed, match="transport 'file' not allowed"):
        async with checked_out(GitAddress(f"file://{repositories}/app"), content, keep_git=True):
            pass


async def test_a_cancelled_fetch_leaves_nothing(content: Content) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = GitAddress(f"git://127.0.0.1:{silent.getsockname()[1]}/app")
        fetching = asyncio.ensure_future(checked_out(address, content, keep_git=True).__aenter__())
        await asyncio.get_running_loop().run_in_executor(None, silent.accept)
        fetching.cancel()
        await asyncio.wait([fetching])
    assert fetching.cancelled()
    assert not list((content.root / "ingest").iterdir())


async def test_a_server_of_files_alone_serves_repositories_too(
    repositories: Path, content: Content, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repositories / "app"), "app.git")
    git(tmp_path / "app.git", "update-server-info")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with listening(Files) as base:
        async with checked_out(parse_git_address(f"{base}/app.git#v1"), content, keep_git=False) as tree:
            assert (tree / "Dockerfile").read_text() == "FROM app\n"


async def test_a_repository_comes_as_an_archive(served: str, content: Content, workers: Workers) -> None:
    async with opened_context(f"{served}#:sub", content, workers) as context:
        data = b"".join([chunk async for chunk in context.chunks])
    assert not context.is_dockerfile
    assert b"below\n" in data


BODIES = {
    "/Dockerfile": (b"FROM x\n", "text/plain; charset=utf-8"),
    "/typeless": (b"FROM x\n", ""),
    "/octets": (b"FROM x\n", "application/octet-stream"),
    "/context.tgz": (b"\x1f\x8b\x08\x00\x00", "application/x-gzip"),
    "/context": (b"\x1f\x8b\x08\x00\x00", "application/octet-stream"),
    "/page": (b"<!DOCTYPE html><html>", "text/html"),
    "/sniffed": (b"  <html>", ""),
    "/empty": (b"", "text/plain"),
    "/files/a%20b.txt": (b"content", "text/plain"),
}


class Bodies(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/Dockerfile")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, kind = BODIES.get(self.path, (b" gone \n", "text/plain"))
        self.send_response(200 if self.path in BODIES else 404)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:01 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with listening(Bodies) as base:
        yield base


CONTEXTS = [
    ("/Dockerfile", True),
    ("/typeless", True),
    ("/octets", True),
    ("/moved", True),
    ("/context.tgz", False),
    ("/context", False),
]


@pytest.mark.parametrize(("path", "is_dockerfile"), CONTEXTS)
async def test_a_context_of_the_web_is_a_dockerfile_or_an_archive(
    site: str, content: Content, workers: Workers, path: str, is_dockerfile: bool
) -> None:
    async with opened_context(site + path, content, workers) as context:
        assert context.is_dockerfile is is_dockerfile
        assert b"".join([chunk async for chunk in context.chunks]).startswith((b"FROM x\n", b"\x1f\x8b"))


NO_CONTEXTS = [
    ("/page", 'error detecting content type for remote {url}: unsupported Content-Type "text/html"'),
    ("/sniffed", 'error detecting content type for remote {url}: unsupported Content-Type ""'),
    ("/empty", "error detecting content type for remote {url}: empty response"),
]


@pytest.mark.parametrize(("path", "said"), NO_CONTEXTS)
async def test_what_is_no_context_is_refused_in_dockerds_words(
    site: str, content: Content, workers: Workers, path: str, said: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        async with opened_context(site + path, content, workers):
            pass
    assert str(refused.value) == said.format(url=site + path)


async def test_what_a_server_refuses_is_told_with_its_words(
    site: str, content: Content, workers: Workers
) -> None:
    url = f"{site}/nothing"
    with pytest.raises(NotFound) as refused:
        async with opened_context(url, content, workers):
            pass
    said = f"error downloading remote context {url}: failed to GET {url} with status 404 Not Found: gone"
    assert str(refused.value) == said


async def test_what_is_no_address_is_refused(content: Content, workers: Workers) -> None:
    with pytest.raises(InvalidParameter, match=r"remoteURL \(ftp://x\) could not be recognized as URL"):
        async with opened_context("ftp://x", content, workers):
            pass


async def test_a_file_is_downloaded_with_its_name_and_time(site: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    async def tell(current: int, total: int) -> None:
        told.append((current, total))

    got = await download(f"{site}/files/a%20b.txt", tmp_path, tell)
    assert told[-1] == (7, 7)
    assert (got.path.name, got.named, got.path.read_bytes()) == ("a b.txt", True, b"content")
    assert (got.path.stat().st_mode & 0o7777, got.path.stat().st_mtime) == (0o600, 1767225601)


async def test_a_file_has_the_name_that_was_asked_for_wherever_it_lies(site: str, tmp_path: Path) -> None:
    async def tell(current: int, total: int) -> None:
        pass

    got = await download(f"{site}/moved", tmp_path, tell)
    assert (got.path.name, got.path.read_bytes()) == ("moved", BODIES["/Dockerfile"][0])


async def pieces(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def test_a_server_that_falls_silent_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_TIMEOUT", ClientTimeout(sock_read=0.1))
    heard = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.wait(60)

        def log_message(self, *args: object) -> None:
            pass

    with listening(Silent) as base:
        with pytest.raises(System, match=f"{base}/x"):
            async with remote.opened_url(f"{base}/x"):
                pass
        heard.set()


async def test_what_comes_may_be_too_large() -> None:
    with pytest.raises(InvalidParameter, match="http://h/x is larger than 3 bytes"):
        _ = [piece async for piece in web.limited(pieces(b"ab", b"cd"), "http://h/x", 3)]


NAMES = [
    ("/a/b.txt", "", "b.txt"),
    ("/a/", "", ""),
    ("/", 'attachment; filename="x.deb"', "x.deb"),
    ("", "attachment; filename=../../x", "x"),
    ("/a%2Fb", "", "b"),
    ("/..", "", ""),
]


@pytest.mark.parametrize(("path", "disposition", "name"), NAMES)
def test_a_files_name_is_of_its_url_or_its_server(path: str, disposition: str, name: str) -> None:
    assert web.file_name(Remote(0, pieces(), path=path, disposition=disposition)) == name
