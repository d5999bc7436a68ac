"""userns-remap: root in a container is nobody on the host, seen through the unchanged docker command line."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Engine, configured

FIRST_UID, FIRST_GID, LENGTH = 1_200_000, 1_300_000, 65_536
MAP = f"0 {FIRST_UID} {LENGTH}"
FILES = {
    Path("/etc/subuid"): f"nobody:{FIRST_UID}:{LENGTH}\n",
    Path("/etc/subgid"): f"nogroup:{FIRST_GID}:{LENGTH}\n",
}


@pytest.fixture(scope="module")
def ids() -> Iterator[None]:
    """Subordinate ids for nobody, while these tests run."""
    before = {path: path.read_bytes() if path.exists() else None for path in FILES}
    for path, line in FILES.items():
        path.write_text(line)
    yield
    for path, content in before.items():
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)


@pytest.fixture(scope="module")
def remapped(ids: None, archive: Path) -> Iterator[Engine]:
    engine = Engine()
    try:
        path = configured(engine, **{"userns-remap": "nobody:nogroup"})
        engine.options = [f"--config-file={path}"]
        try:
            engine.start()
        except AssertionError:
            if "owners cannot be mapped here" in engine.log:
                pytest.skip("this host cannot mount with mapped owners")
            raise
        engine.docker("load", "-i", archive)
        yield engine
    finally:
        engine.close()


@pytest.fixture
def docker(remapped: Engine) -> Iterator[DockerCLI]:
    yield remapped.docker
    remapped.clean()


def owners(archive: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        return {entry.name: (entry.uid, entry.gid) for entry in found}


def got(engine: Engine, path: str) -> bytes:
    answer = engine.http("GET", path)
    assert answer.status == 200, answer.body
    return answer.body


def test_root_is_root_inside_and_nobody_outside(docker: DockerCLI, remapped: Engine) -> None:
    box = docker.run("-d", "--name=box", "busybox", "sleep", "600")
    assert docker.out("exec", box, "id", "-u") == "0"
    assert docker.out("exec", box, "cat", "/proc/self/uid_map").split() == MAP.split()
    pid = docker.inspect(box)["State"]["Pid"]
    assert os.stat(f"/proc/{pid}").st_uid == FIRST_UID
    assert "name=userns" in remapped.http.ok("GET", "/info")["SecurityOptions"]


def test_it_can_do_in_its_network_what_root_can(docker: DockerCLI) -> None:
    script = "ping -c1 127.0.0.1 >/dev/null && ip link set lo mtu 1300 && echo x >> /etc/hosts && echo done"
    assert docker.run("--rm", "--cap-add=NET_ADMIN", "busybox", "sh", "-c", script) == "done"
    other = docker.run("-d", "busybox", "sleep", "600")
    shared = ("--cap-add=NET_ADMIN", f"--network=container:{other}")
    assert docker.run("--rm", *shared, "busybox", "ip", "link", "set", "lo", "mtu", "1300") == ""


def test_volumes_and_binds_have_the_hosts_owners(docker: DockerCLI, remapped: Engine) -> None:
    made = remapped.root / "made"
    script = "touch /vol/a /bind/b && chown 5:6 /vol/a && ls -lnd /vol/a"
    told = docker.run("--rm", "-v", "data1:/vol", "-v", f"{made}:/bind", "busybox", "sh", "-c", script)
    assert told.split()[2:4] == ["5", "6"]
    volume = remapped.data / "volumes" / "data1" / "_data"
    for path, uid, gid in ((volume, 0, 0), (volume / "a", 5, 6), (made, 0, 0), (made / "b", 0, 0)):
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid) == (FIRST_UID + uid, FIRST_GID + gid), path


def test_copies_tell_the_containers_owners(docker: DockerCLI, remapped: Engine, tmp_path: Path) -> None:
    script = "mkdir /d && touch /d/f /vol/v && chown 7:8 /d/f /vol/v; exec sleep 600"
    box = docker.run("-d", "-v", "data2:/vol", "busybox", "sh", "-c", script)
    docker("exec", box, "sh", "-c", "until [ -e /vol/v ] && [ -e /d/f ]; do :; done")
    (tmp_path / "own").write_text("own")
    os.chown(tmp_path / "own", 33, 34)
    for running in (True, False):
        assert owners(got(remapped, f"/containers/{box}/archive?path=/d"))["d/f"] == (7, 8)
        assert owners(got(remapped, f"/containers/{box}/archive?path=/vol"))["vol/v"] == (7, 8)
        assert owners(got(remapped, f"/containers/{box}/export"))["d/f"] == (7, 8)
        docker("cp", "-a", tmp_path / "own", f"{box}:/d/{running}")
        if running:
            docker("stop", "-t", "0", box)
    docker("start", box)
    listed = docker.out("exec", box, "ls", "-ln", "/d/True", "/d/False").splitlines()
    assert [line.split()[2:4] for line in listed] == [["33", "34"]] * 2


def test_what_was_written_is_a_layer_for_everybody(docker: DockerCLI) -> None:
    box = docker.run("-d", "busybox", "sh", "-c", "touch /f && chown 7:8 /f")
    docker("wait", box)
    assert docker.out("diff", box) == "A /f"
    docker("commit", box, "written")
    for argv in ((), ("--userns=host",)):
        assert docker.run("--rm", *argv, "written", "ls", "-ln", "/f").split()[2:4] == ["7", "8"]
    docker("rmi", "-f", "written")


def test_builds_work(docker: DockerCLI, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\n"
        "COPY --chown=7:8 Dockerfile /f\n"
        "RUN touch /made && chown 9:9 /made\n"
        "RUN --mount=type=cache,target=/c --mount=type=bind,target=/x touch /c/x && cp /x/Dockerfile /cp\n"
        "RUN ls -ln /f /made /cp > /told\n"
    )
    with_classic = {"DOCKER_BUILDKIT": "0"}
    os.environ.update(with_classic)
    try:
        docker("build", "-t", "built", tmp_path)
    finally:
        del os.environ["DOCKER_BUILDKIT"]
    told = docker.run("--rm", "built", "cat", "/told").splitlines()
    assert sorted(line.split()[2:4] for line in told) == [["0", "0"], ["7", "8"], ["9", "9"]]
    docker("rmi", "-f", "built")
    docker("builder", "prune", "-af")


def test_each_stream_can_be_opened_anew(docker: DockerCLI) -> None:
    box = docker.run("-d", "busybox", "sleep", "600")
    script = "cat < /dev/stdin > /dev/stderr"
    for argv in (
        ("exec", "-i", box),
        ("exec", "-i", "-u", "9", box),
        ("run", "--rm", "-i", "-u", "9", "busybox"),
    ):
        assert docker(*argv, "sh", "-c", script, stdin=b"through").stderr == "through"
    facts = os.stat("/dev/null")
    assert (facts.st_uid, facts.st_gid) == (0, 0)


def test_devices_and_the_hosts_ipc_are_shown(docker: DockerCLI) -> None:
    argv = ("--rm", "--ipc=host", "--device=/dev/zero:/dev/other")
    assert docker.run(*argv, "busybox", "sh", "-c", "head -c 3 /dev/other | wc -c") == "3"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("--privileged",), "privileged mode is incompatible with user namespaces"),
        (("--network=host",), "cannot share the host's network namespace when user namespaces are enabled"),
        (("--pid=host",), "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_needs_the_hosts_namespace_says_so(
    docker: DockerCLI, argv: tuple[str, ...], reason: str
) -> None:
    assert reason in docker("run", "--rm", *argv, "busybox", "true", check=False).stderr
    assert docker.run("--rm", "--userns=host", *argv, "busybox", "id", "-u") == "0"


def test_a_container_of_the_hosts_namespace_is_not_shared(docker: DockerCLI) -> None:
    box = docker.run("-d", "--userns=host", "busybox", "sleep", "600")
    assert docker.out("exec", box, "cat", "/proc/self/uid_map").split()[1] == "0"
    refused = docker("run", "--rm", f"--network=container:{box}", "busybox", "true", check=False)
    assert "its ids are mapped otherwise" in refused.stderr


def test_the_containers_root_owns_nothing_of_the_data_root(docker: DockerCLI, remapped: Engine) -> None:
    """CVE-2021-21284: what the remapped root owns below the data root, it may change."""
    docker.run("-d", "-v", "data3:/vol", "busybox", "sleep", "600")
    theirs = set()
    for path in remapped.data.rglob("*"):
        facts = path.lstat()
        if facts.st_uid == FIRST_UID and "merged" not in path.parts:
            theirs.add(path.relative_to(remapped.data).parts[0])
    assert theirs <= {"volumes", "containers"}  # hosts, hostname and resolv.conf, as each container's own
    for name in ("snapshots", "containers"):
        assert (remapped.data / name).stat().st_mode & 0o007 == 0


def test_the_option_can_be_switched_with_containers_that_are_there(
    docker: DockerCLI, remapped: Engine
) -> None:
    box = docker.run("-d", "busybox", "sh", "-c", "touch /f; exec sleep 600")
    docker("exec", box, "sh", "-c", "until [ -e /f ]; do :; done")
    for end, option, mapped in ((remapped.kill, "", False), (remapped.stop, "nobody:nogroup", True)):
        configured(remapped, **{"userns-remap": option})
        end()
        remapped.start()
        inside = "cat /proc/self/uid_map; ls -ln /f"  # 0 outside length; mode links uid gid
        before = docker.out("exec", box, "sh", "-c", inside).split()
        assert (before[1] != "0") is not mapped  # it keeps its namespace while it runs
        assert owners(got(remapped, f"/containers/{box}/archive?path=/f")) == {"f": (0, 0)}
        docker("restart", "-t", "0", box)
        after = docker.out("exec", box, "sh", "-c", inside).split()
        assert (after[1] != "0") is mapped
        assert after[5:7] == ["0", "0"]
