"""Files in and out of containers: `docker cp`, export and diff, and what a hostile container gets of it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zstandard
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Answer, Http
from tests.support.images import entry, tarball

WITH_TREE = """
mkdir -p /a/b/c; echo x >/a/b/c/f; ln -s /a/b /link; ln -s nowhere /dangling; ln /a/b/c/f /a/hard
"""
SLEEP = "exec sleep 600"


def archive(
    http: Http, method: str, ref: str, path: str, body: bytes | None = None, more: str = ""
) -> Answer:
    return http(method, f"/containers/{ref}/archive?path={quote(path)}{more}", body)


def stat_of(answer: Answer) -> Any:
    told = answer.header("X-Docker-Container-Path-Stat")
    assert told is not None, answer
    return json.loads(base64.b64decode(told))


def members(data: bytes) -> list[tarfile.TarInfo]:
    return tarfile.open(fileobj=io.BytesIO(data)).getmembers()


def names(data: bytes) -> list[str]:
    return [member.name for member in members(data)]


def upload(*files: tuple[str, bytes]) -> bytes:
    return tarball([(entry(name, mode=0o640, uid=7, gid=8, mtime=77), data) for name, data in files])


def linked(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return tarball(list(entries))


@pytest.fixture(params=["running", "paused", "stopped"])
def tree(request: pytest.FixtureRequest, docker: DockerCLI) -> str:
    """A container with some files, in each state that it may be looked into."""
    docker("volume", "create", "vol")
    docker.run(
        "-d",
        "--name",
        "tree",
        "-v",
        "vol:/vol",
        "busybox",
        "sh",
        "-c",
        f"{WITH_TREE} echo v >/vol/v; {SLEEP}",
    )
    docker("exec", "tree", "sh", "-c", "until [ -e /vol/v ]; do :; done")
    if request.param == "paused":
        docker("pause", "tree")
    if request.param == "stopped":
        docker("kill", "tree")
    return "tree"


# What is there


DIRECTORY, LINK, FILE = 1 << 31, 1 << 27, 0


def test_a_path_is_told_as_the_container_sees_it(http: Http, tree: str) -> None:
    for path, *expected in (
        ("/", "/", DIRECTORY, ""),
        ("/a/", "a", DIRECTORY, ""),
        ("a/.", ".", DIRECTORY, ""),
        ("/link", "link", LINK, "/a/b"),
        ("/link/", "link", DIRECTORY, ""),
        ("/link/c/f", "f", FILE, ""),
        ("/dangling", "dangling", LINK, "/nowhere"),
        ("/../../a//b", "b", DIRECTORY, ""),
        ("/vol/v", "v", FILE, ""),
        ("/etc/hostname", "hostname", FILE, ""),
    ):
        told = stat_of(archive(http, "HEAD", tree, path))
        assert list(told) == ["name", "size", "mode", "mtime", "linkTarget"]
        assert [told["name"], told["mode"] & ~0o777, told["linkTarget"]] == expected, path


def test_archives_are_named_after_what_was_asked_for(http: Http, tree: str) -> None:
    for path, expected in (
        ("/a", ["a", "a/b", "a/b/c", "a/b/c/f", "a/hard"]),
        ("/a/.", [".", "./b", "./b/c", "./b/c/f", "./hard"]),
        ("/link", ["link"]),
        ("/link/", ["link", "link/c", "link/c/f"]),
        ("/vol", ["vol", "vol/v"]),
        ("/proc", ["proc"]),
        ("/a/b/c/f", ["f"]),
    ):
        answer = archive(http, "GET", tree, path)
        assert names(answer.body) == expected
        assert stat_of(answer) == stat_of(archive(http, "HEAD", tree, path))
        assert answer.header("Content-Type") == "application/x-tar"


def test_hard_links_links_and_contents_come_as_they_are(http: Http, tree: str) -> None:
    found = {member.name: member for member in members(archive(http, "GET", tree, "/").body)}
    assert found["/a/hard"].linkname == "/a/b/c/f"
    assert found["/a/hard"].islnk()
    assert found["/link"].linkname == "/a/b"
    assert found["/a/b/c/f"].size == 2
    assert not any(name.startswith(("/proc/", "/sys/")) for name in found)


def test_what_cannot_be_had_is_told_in_dockers_words(http: Http, tree: str) -> None:
    for path, status, text in (
        ("/nope", 404, "Could not find the file /nope in container tree"),
        ("/dangling/", 404, "Could not find the file /dangling/ in container tree"),
        ("/a/b/c/f/", 400, "lstat /a/b/c/f/: not a directory"),
        ("", 400, "bad parameter: pathcannot be empty"),
    ):
        answer = archive(http, "GET", tree, path)
        assert (answer.status, answer.json) == (status, {"message": text})
        assert archive(http, "HEAD", tree, path).status == status


def test_who_asks_for_gzip_gets_it(http: Http, tree: str) -> None:
    answer = http("GET", f"/containers/{tree}/archive?path=/a", headers={"Accept-Encoding": "gzip"})
    assert answer.header("Content-Encoding") == "gzip"
    assert names(gzip.decompress(answer.body))[0] == "a"


# Putting


def test_an_upload_may_be_compressed_in_any_way(http: Http, tree: str) -> None:
    zstd = zstandard.ZstdCompressor().compress
    ways: Sequence[Callable[[bytes], bytes]] = (bytes, gzip.compress, bz2.compress, lzma.compress, zstd)
    for number, compressed in enumerate(ways):
        sent = compressed(upload((f"new/{number}", b"content")))
        assert archive(http, "PUT", tree, "/a", sent).status == 200
        (made,) = members(archive(http, "GET", tree, f"/a/new/{number}").body)
        assert (made.uid, made.gid, made.mode & 0o7777, made.mtime, made.size) == (7, 8, 0o640, 77, 7)


def test_files_go_where_the_container_sees_the_place(http: Http, docker: DockerCLI, tree: str) -> None:
    assert archive(http, "PUT", tree, "/vol", upload(("put", b"1"))).status == 200
    assert archive(http, "PUT", tree, "/link", upload(("through", b"2"))).status == 200
    assert docker.run("--rm", "-v", "vol:/v", "busybox", "cat", "/v/put") == "1"
    assert names(archive(http, "GET", tree, "/a/b/through").body) == ["through"]


def test_links_of_the_root_are_followed_inside_of_it(http: Http, tree: str) -> None:
    body = linked(
        (entry("out", kind=tarfile.SYMTYPE, linkname="/a/b"), b""),
        (entry("up", kind=tarfile.SYMTYPE, linkname="../../../../a"), b""),
        (entry("out/one"), b"1"),
        (entry("up/two"), b"2"),
    )
    assert archive(http, "PUT", tree, "/tmp", body).status == 200
    assert {"a/b/one", "a/two"} <= set(names(archive(http, "GET", tree, "/a").body))


KINDS = "&noOverwriteDirNonDir=1"


def test_a_refused_upload_is_told_in_dockers_words(http: Http, tree: str) -> None:
    for path, body, more, text in (
        ("/nope", upload(("f", b"")), "", "Could not find the file /nope in container tree"),
        ("/a/hard", upload(("f", b"")), "", "extraction point is not a directory"),
        ("/a", upload(("../x", b"")), "", '"../x" is outside of "/a"'),
        ("/a", b"junk" * 500, "", "archive/tar: invalid tar header"),
        ("/a", upload(("f", b"1" * 2000))[:900], "", "unexpected EOF"),
        ("/a", upload(("b", b"")), KINDS, 'cannot overwrite directory "/a/b" with non-directory "/a"'),
        (
            "/a",
            linked((entry("hard", kind=tarfile.DIRTYPE), b"")),
            KINDS,
            'cannot overwrite non-directory "/a/hard" with directory "/a"',
        ),
    ):
        answer = archive(http, "PUT", tree, path, body, more)
        assert answer.status >= 400
        assert answer.json["message"].removeprefix("Error processing tar file(exit status 1): ") == text
        assert names(archive(http, "GET", tree, "/a").body)[:2] == ["a", "a/b"]


def test_an_archive_replaces_what_is_there_unless_asked_not_to(http: Http, tree: str) -> None:
    assert archive(http, "PUT", tree, "/a", upload(("b", b"file now"))).status == 200
    assert stat_of(archive(http, "HEAD", tree, "/a/b"))["size"] == 8


@pytest.mark.parametrize("running", [True, False])
def test_read_only_places_stay_as_they_are(http: Http, docker: DockerCLI, running: bool) -> None:
    docker.run(
        "-d", "--name", "ro", "--read-only", "-v", "read:/r:ro", "-v", "write:/w", "busybox", "sleep", "600"
    )
    if not running:
        docker("kill", "ro")
    assert archive(http, "PUT", "ro", "/tmp", upload(("f", b""))).json == {
        "message": "container rootfs is marked read-only"
    }
    assert archive(http, "PUT", "ro", "/r", upload(("f", b""))).json == {
        "message": "mounted volume is marked read-only"
    }
    assert archive(http, "PUT", "ro", "/w", upload(("f", b""))).status == 200
    detour = linked((entry("x", kind=tarfile.SYMTYPE, linkname="/etc"), b""), (entry("x/evil"), b""))
    assert archive(http, "PUT", "ro", "/w", detour).status == 500
    assert archive(http, "HEAD", "ro", "/etc/evil").status == 404


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("user", "ids"), [("1000:2000", (1000, 2000)), ("app", (1000, 1000)), ("", (7, 8))])
def test_an_upload_may_become_the_containers_users_own(
    http: Http, docker: DockerCLI, user: str, ids: tuple[int, int]
) -> None:
    docker("create", "--name", "owned", "--user", user, "busybox")
    assert archive(http, "PUT", "owned", "/tmp", upload(("f", b"")), "&copyUIDGID=1").status == 200
    (made,) = members(archive(http, "GET", "owned", "/tmp/f").body)
    assert (made.uid, made.gid) == ids


def test_looking_in_is_told_with_the_volumes_that_it_needs(http: Http, tree: str) -> None:
    before = http.ok("GET", "/info")["SystemTime"]
    archive(http, "GET", tree, "/a")
    archive(http, "PUT", tree, "/a", upload(("f", b"")))
    archive(http, "HEAD", tree, "/a")
    after = http.ok("GET", "/info")["SystemTime"]
    events = http("GET", f"/events?since={before}&until={after}").body.splitlines()
    told = [(event["Type"], event["Action"]) for event in map(json.loads, events)]
    mounted, unmounted = ("volume", "mount"), ("volume", "unmount")
    assert told == [
        *(mounted, ("container", "archive-path"), unmounted),
        *(mounted, ("container", "extract-to-dir"), unmounted),
        *(mounted, unmounted),
    ]


def test_the_working_directory_is_there_to_be_filled_before_the_first_start(
    docker: DockerCLI, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("hello")
    cid = docker.out("create", "-w", "/of/work", "busybox", "cat", "f")
    docker("cp", tmp_path / "f", f"{cid}:/of/work/")
    assert docker.out("start", "-a", cid) == "hello"


def test_the_docker_command_copies_both_ways(docker: DockerCLI, tree: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").write_text("hello")
    (tmp_path / "in" / "run").write_text("#!")
    (tmp_path / "in" / "run").chmod(0o755)
    docker("cp", tmp_path / "in", f"{tree}:/a/copied")
    docker("cp", f"{tree}:/a/copied", tmp_path / "out")
    assert (tmp_path / "out" / "f").read_text() == "hello"
    assert (tmp_path / "out" / "run").stat().st_mode & 0o777 == 0o755
    docker("cp", "-L", f"{tree}:/link", tmp_path / "followed")
    assert (tmp_path / "followed" / "c" / "f").read_text() == "x\n"
    assert docker("cp", f"{tree}:/nope", tmp_path, check=False).code == 1


# Export and diff


def test_an_export_has_the_files_and_no_mounts(http: Http, tree: str) -> None:
    answer = http("GET", f"/containers/{tree}/export")
    found = names(answer.body)
    assert {".dockerenv", "a/b/c/f", "bin/busybox", "link"} <= set(found)
    assert "vol/v" not in found
    assert not [name for name in found if name.startswith(("proc/", "/", "."))] or found[0] == ".dockerenv"
    assert answer.header("Content-Type") == "application/octet-stream"


def test_an_exported_container_is_an_image_again(docker: DockerCLI, tree: str, tmp_path: Path) -> None:
    docker("export", "-o", tmp_path / "all.tar", tree)
    docker("import", tmp_path / "all.tar", "again:1")
    assert docker.run("--rm", "again:1", "cat", "/link/c/f") == "x"


CHANGES = """
rm /bin/wget; rm -r /etc; mkdir /etc; echo 1 >/etc/new; chmod 700 /home; touch /bin/busybox
echo >/root/here; rm /root/here; mkdir -p /x/y
"""


def test_changes_are_told_with_their_parents(http: Http, docker: DockerCLI) -> None:
    docker.run("--name", "changed", "busybox", "sh", "-c", CHANGES)
    told = [(change["Path"], change["Kind"]) for change in http.ok("GET", "/containers/changed/changes")]
    modified, added, deleted = 0, 1, 2
    assert sorted(told) == [
        *(("/bin", modified), ("/bin/busybox", modified), ("/bin/wget", deleted)),
        *(("/etc", modified), ("/etc/group", deleted), ("/etc/mtab", deleted)),
        *(("/etc/new", added), ("/etc/passwd", deleted), ("/home", modified)),
        *(("/x", added), ("/x/y", added)),
    ]
    assert all(told.index((parent, modified)) < told.index(child) for parent, child in PARENTS)


PARENTS: Sequence[tuple[str, tuple[str, int]]] = (("/bin", ("/bin/wget", 2)), ("/etc", ("/etc/new", 1)))


def test_no_change_is_null(http: Http, docker: DockerCLI) -> None:
    docker("create", "--name", "fresh", "busybox")
    assert http("GET", "/containers/fresh/changes").body == b"null\n"


def test_a_container_that_goes_while_it_is_read_leaves_nothing(engine: Daemon, docker: DockerCLI) -> None:
    docker.run("--name", "gone", "busybox", "sh", "-c", "head -c 20000000 /dev/zero >/big")
    with engine.http.stream("GET", "/containers/gone/export") as reading:
        reading.read(1000)
        docker("rm", "gone")
        reading.read()
    assert docker.out("ps", "-aq") == ""


def test_a_large_upload_that_is_refused_at_once_is_answered(http: Http, docker: DockerCLI) -> None:
    docker("create", "--name", "small", "busybox")
    answer = archive(http, "PUT", "small", "/nope", upload(("f", bytes(30_000_000))))
    assert answer.status == 404
