"""Volumes under those who use them: many at once, and file systems that fail, are busy or never answer."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon, Engine
from tests.support.http import Http
from tests.support.waiting import until

from lighterman.linux import mount

DEAD = 8
"""More than the engine has threads for short work."""


def test_ten_writers_share_a_volume(docker: DockerCLI) -> None:
    script = "i=0; while [ $i -lt 200 ]; do echo $HOSTNAME-$i >>/shared/log; i=$((i+1)); done"
    ids = [docker.run("-d", "-v", "shared:/shared", "busybox", "sh", "-c", script) for _ in range(10)]
    assert set(docker.out("wait", *ids).split()) == {"0"}
    lines = docker.run("--rm", "-v", "shared:/shared", "busybox", "sort", "-u", "/shared/log").splitlines()
    assert len(lines) == 2000
    assert len({line.partition("-")[0] for line in lines}) == 10


def test_a_single_file_can_be_bound_read_only(docker: DockerCLI, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("kept")
    look = "cat /settings; touch /settings 2>&1"
    seen = docker(
        "run", "--rm", "-v", f"{tmp_path}/settings:/settings:ro", "busybox", "sh", "-c", look, check=False
    )
    assert seen.stdout.startswith("kept")
    assert "Read-only file system" in seen.stdout


@pytest.mark.parametrize(
    ("kind", "options", "device"),
    [
        ("nfs", "addr=127.0.0.1,vers=4,soft,timeo=1,retrans=1", ":/export"),
        ("cifs", "addr=127.0.0.1,username=u,password=hidden", "//127.0.0.1/share"),
    ],
)
def test_a_network_file_system_is_mounted_or_its_error_is_told(
    docker: DockerCLI, kind: str, options: str, device: str
) -> None:
    docker("volume", "create", "-o", f"type={kind}", "-o", f"o={options}", "-o", f"device={device}", "far")
    refused = docker("run", "--rm", "-v", "far:/far", "busybox", "true", check=False)
    assert refused.code == 125
    assert "error while mounting volume" in refused.stderr
    assert f"failed to mount local volume: mount {device}:" in refused.stderr
    assert "hidden" not in refused.stderr
    docker("volume", "rm", "far")


def test_a_mount_that_somebody_still_uses_is_let_go_all_the_same(engine: Daemon, docker: DockerCLI) -> None:
    docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "busy")
    cid = docker.run("-d", "-v", "busy:/busy", "busybox", "sleep", "600")
    place = engine.data / "volumes/busy/_data"
    with (place / "held").open("w") as held:
        docker("rm", "-f", cid)
        assert not os.path.ismount(place)
        held.write("still here")
        docker.run("--rm", "-v", "busy:/busy", "busybox", "test", "!", "-e", "/busy/held")
        docker("volume", "rm", "busy")
    assert not place.exists()


@pytest.mark.beyond_dockerd
def test_a_prune_can_be_tried_and_undone(archive: Path) -> None:
    engine = Engine(options=["--volume-trash=60"])
    try:
        engine.start()
        engine.docker("load", "-i", archive)
        engine.docker.run("--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept >/data/f")
        tried = engine.http.ok("POST", "/volumes/prune?dry-run=1")
        assert (tried["VolumesDeleted"], tried["SpaceReclaimed"]) == (["data"], 0)
        assert engine.docker.out("volume", "ls", "-q") == "data"
        assert "data" in engine.docker.out("volume", "prune", "-af")
        assert engine.docker.out("volume", "ls", "-q") == ""
        engine.restart_killed()
        assert engine.http.ok("POST", "/volumes/prune?undo=data")["Name"] == "data"
        assert engine.docker.run("--rm", "-v", "data:/data", "busybox", "cat", "/data/f") == "kept"
        assert engine.http("POST", "/volumes/prune?undo=data").status == 409
        assert engine.http("POST", "/volumes/prune?undo=nope").status == 404
    finally:
        engine.close()


@contextmanager
def silent_file_system(place: Path) -> Iterator[Callable[[], None]]:
    """A file system whose server never answers, mounted at `place`; what is yielded ends the server."""
    server = open("/dev/fuse", "r+b", buffering=0)  # noqa: SIM115 it is closed before the block ends
    try:
        mount.mount(
            "silent", str(place), "fuse", 0, f"fd={server.fileno()},rootmode=40000,user_id=0,group_id=0"
        )
        yield server.close
    finally:
        server.close()
        subprocess.run(["umount", "-l", str(place)], check=True)


def waiting_threads(pid: int) -> int:
    """How many threads of a process wait for an answer of such a server."""
    return sum("fuse" in (task / "stack").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="the kernel has no FUSE")
@pytest.mark.beyond_dockerd
def test_a_file_system_that_never_answers_holds_up_nobody_else(
    engine: Daemon, docker: DockerCLI, http: Http, tmp_path: Path
) -> None:
    assert engine.process
    with silent_file_system(tmp_path) as end_server, ThreadPoolExecutor(DEAD) as pool:
        ids = []
        for name in (f"dead{number}" for number in range(DEAD)):
            bind = {"type": "none", "o": "bind", "device": f"{tmp_path}/{name}"}
            http.ok("POST", "/volumes/create", {"Name": name, "DriverOpts": bind})
            body = {"Image": "busybox", "HostConfig": {"Binds": [f"{name}:/dead"]}}
            ids.append(http.ok("POST", "/containers/create", body)["Id"])
        starts = [pool.submit(http, "POST", f"/containers/{cid}/start") for cid in ids]
        pid = engine.process.pid
        try:
            until(lambda: waiting_threads(pid) == DEAD, what="all mounts to wait", process=engine.process)
            assert docker.run("--rm", "-v", "alive:/alive", "busybox", "echo", "alive") == "alive"
            assert len(docker.out("volume", "ls", "-q").split()) == DEAD + 1
            assert "Local Volumes" in docker.out("system", "df")
            assert not any(start.done() for start in starts)
        finally:
            end_server()
        answers = [start.result() for start in starts]
    assert {answer.status for answer in answers} == {500}
    assert all("failed to mount local volume" in answer.json["message"] for answer in answers)
