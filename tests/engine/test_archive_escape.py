"""A container that changes under the hands of `docker cp` gets nothing of the host, and runs nothing there.

Lessons of CVE-2018-15664, CVE-2019-14271, CVE-2026-41567, and of mounts redirected by links (GO-2026-5617).
"""

import gzip
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.images import entry, tarball

SWAPS = 2000
SECRET = b"of the host only"
SWAPPER = """
mkdir /x; echo inside >/x/f; : >/ready; until [ -e /go ]; do :; done
for swap in $(seq {swaps}); do mv /x /y; ln -s {host} /x; rm -rf /x; mv /y /x; done 2>/dev/null
"""
"""To the link and back is two swaps."""


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a file whose bytes nobody may see or change."""
    tmp_path.chmod(0o755)
    (tmp_path / "f").write_bytes(SECRET)
    before = sorted((p.name, p.stat().st_mode, p.stat().st_uid) for p in tmp_path.iterdir())
    yield tmp_path
    assert (tmp_path / "f").read_bytes() == SECRET
    assert sorted((p.name, p.stat().st_mode, p.stat().st_uid) for p in tmp_path.iterdir()) == before


@contextmanager
def swapping(docker: DockerCLI, host: Path) -> Iterator[Callable[[], bool]]:
    """A container in which /x is a directory now, and now a link to `host`. Given: whether it goes on."""
    docker.run("-d", "--name", "swap", "busybox", "sh", "-c", SWAPPER.format(host=host, swaps=SWAPS // 2))
    docker("exec", "swap", "sh", "-c", "until [ -e /ready ]; do :; done; : >/go")
    with docker.spawn("wait", "swap") as waiting:
        yield lambda: waiting.poll() is None
        assert waiting.wait(60) == 0


def evil(name: str) -> bytes:
    fifo = entry(f"{name}-fifo", kind=tarfile.FIFOTYPE, mode=0o777)
    return tarball(
        [
            (entry(name, mode=0o666, uid=1234), b"from the container"),
            (fifo, b""),
            (entry("deep", kind=tarfile.DIRTYPE, mode=0o777), b""),
            (entry("deep/er", mode=0o777), b"1"),
        ]
    )


@pytest.mark.beyond_dockerd
def test_a_directory_that_becomes_a_link_to_the_host_leads_nowhere(
    http: Http, docker: DockerCLI, canary: Path
) -> None:
    wrong: list[str] = []
    asked = {"get": 0, "put": 0}

    def read(path: str) -> None:
        while goes_on():
            asked["get"] += 1
            if SECRET in http("GET", path).body:
                wrong.append(path)

    def write() -> None:
        while goes_on():
            asked["put"] += 1
            http("PUT", "/containers/swap/archive?path=/x", evil("f"))

    with swapping(docker, canary) as goes_on:
        works = [
            threading.Thread(target=read, args=("/containers/swap/archive?path=/x/f",)),
            threading.Thread(target=read, args=("/containers/swap/archive?path=/x/",)),
            threading.Thread(target=read, args=("/containers/swap/export",)),
            threading.Thread(target=write),
        ]
        for work in works:
            work.start()
        for work in works:
            work.join()
    assert not wrong
    assert min(asked.values()) > 5, asked


def test_a_stopped_containers_links_to_the_host_lead_into_itself(
    http: Http, docker: DockerCLI, canary: Path
) -> None:
    docker.run("--name", "left", "busybox", "sh", "-c", f"ln -s {canary} /x; ln -s ../../../..{canary} /y")
    for link in ("/x/f", "/y/f", "/x/", "/x/."):
        assert http("GET", f"/containers/left/archive?path={link}").status == 404
    assert http("PUT", "/containers/left/archive?path=/x", evil("f")).status == 404


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize("point", ["/vol", "/etc/mine"])
def test_a_volumes_place_that_is_a_link_is_a_place_in_the_container(
    http: Http, docker: DockerCLI, canary: Path, point: str
) -> None:
    """The image's owner chose where the link leads; the volume is mounted there in its own root."""
    docker.run("--name", "maker", "busybox", "sh", "-c", f"ln -s {canary} {point}")
    docker("export", "-o", canary.parent / "i.tar", "maker")
    docker("import", canary.parent / "i.tar", "linked:1")
    docker("create", "--name", "redirected", "-v", f"held:{point}", "linked:1", "true")
    assert http("PUT", f"/containers/redirected/archive?path={point}", evil("g")).status == 200
    assert SECRET not in http("GET", f"/containers/redirected/archive?path={point}/").body
    docker("rmi", "-f", "linked:1")


MARKER = "#!/bin/sh\ntouch /ran-$0 {marker}\n"


@pytest.mark.parametrize("running", [True, False])
def test_nothing_of_the_container_is_run_to_unpack(
    engine: Daemon, http: Http, docker: DockerCLI, tmp_path: Path, running: bool
) -> None:
    marker = tmp_path / "ran"
    program = MARKER.format(marker=marker).encode()
    module = f"open({str(marker)!r}, 'w')".encode()
    planted = [
        *(entry(f"{place}/{name}", mode=0o755) for place in ("usr/bin", "bin") for name in PROGRAMS),
        *(entry(f"{place}/{name}") for place in PLACES for name in MODULES),
        entry("etc/nsswitch.conf"),
    ]
    body = tarball([(one, module if one.name.endswith(".py") else program) for one in planted])
    docker.run("-d", "--name", "planted", "busybox", "sleep", "600")
    assert http("PUT", "/containers/planted/archive?path=/", body).status == 200
    if not running:
        docker("kill", "planted")
    named = entry("f")
    named.uname, named.gname = "somebody", "some"
    for compress in (gzip.compress, lzma.compress):
        sent = compress(tarball([(named, b"data")]))
        assert http("PUT", "/containers/planted/archive?path=/tmp", sent).status == 200
    got = http("GET", "/containers/planted/archive?path=/tmp").body
    with tarfile.open(fileobj=io.BytesIO(got)) as archive:
        assert archive.getnames() == ["tmp", "tmp/f"]
    http("GET", "/containers/planted/export")
    assert not marker.exists()
    assert docker("exec", "planted", "ls", "/", check=False).stdout.count("ran-") == 0


PROGRAMS = ("xz", "unxz", "gzip", "unpigz", "pigz", "zstd", "bzip2", "tar", "python3")
PLACES = ("", "usr/lib/python3.11", "usr/lib/python3/dist-packages")
MODULES = ("lzma.py", "bz2.py", "encodings/idna.py", "encodings/__init__.py", "pwd.py", "grp.py")


@pytest.mark.beyond_dockerd
def test_devices_and_pipes_of_a_container_are_told_and_never_opened(http: Http, docker: DockerCLI) -> None:
    script = "mkdir /d; mkfifo /d/pipe; mknod /d/kmsg c 1 11; mknod /d/disk b 7 0; nc -lU /d/sock & sleep 600"
    docker.run("-d", "--name", "nodes", "busybox", "sh", "-c", script)
    docker("exec", "nodes", "sh", "-c", "until [ -e /d/disk ]; do :; done")
    got = http("GET", "/containers/nodes/archive?path=/d").body
    with tarfile.open(fileobj=io.BytesIO(got)) as archive:
        kinds = {member.name: member.type for member in archive}
    assert kinds["d/pipe"] == tarfile.FIFOTYPE
    assert kinds["d/kmsg"] == tarfile.CHRTYPE
    assert kinds["d/disk"] == tarfile.BLKTYPE
    assert "d/sock" not in kinds
