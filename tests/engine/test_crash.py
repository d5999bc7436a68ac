"""kill -9 of the engine at any moment: containers go on, nothing they say or end with is lost, nothing is
left over, and the states are true afterwards.

A container that has to be in the middle of something waits at a gate: a FIFO in a bind mount.
"""

import contextlib
import hashlib
import http.client
import io
import json
import os
import select
import signal
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import pytest
from msgspec import structs
from tests.engine.conftest import lasting
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon, Engine
from tests.support.http import STDOUT, joined, read_all
from tests.support.images import busybox_layer, heavy_layers, saved
from tests.support.leaks import parent
from tests.support.net import HOST_ADDRESS
from tests.support.registry import Registry
from tests.support.waiting import until

from lighterman.containers import Container
from lighterman.containers.life import Exited, Removing
from lighterman.db import Database, Rows


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A FIFO to be mounted with its folder at /gate."""
    path = tmp_path / "gate" / "fifo"
    path.parent.mkdir()
    os.mkfifo(path)
    return path


def gated(gate: Path) -> list[str]:
    """The arguments that mount the gate."""
    return ["-v", f"{gate.parent}:/gate"]


PASS = "read x < /gate/fifo"


def opened(gate: Path) -> None:
    """Let the container pass its gate; returns when it has."""
    gate.write_text("go\n")


def ended(pid: int) -> None:
    """Wait for the end of a process that is not ours."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], 20)[0], f"process {pid} goes on"
        finally:
            os.close(fd)


def test_a_running_container_outlives_the_engine(engine: Daemon, docker: DockerCLI) -> None:
    cid = docker.run("-d", "-p", "8080:80", "busybox", "sh", "-c", "mkdir /w; echo ok > /w/i; httpd -f -h /w")
    docker("exec", cid, "sh", "-c", "until netstat -ltn | grep -q :80; do :; done")
    before = docker.inspect(cid)
    engine.kill()
    assert Path(f"/proc/{before['State']['Pid']}").exists()
    with engine.net.connect((HOST_ADDRESS, 8080), outside=True) as sock:
        sock.sendall(b"GET /i HTTP/1.0\r\n\r\n")
        assert read_all(sock).endswith(b"ok\n"), "its published port answers without an engine"
    engine.start()
    after = docker.inspect(cid)
    for key in ("Pid", "StartedAt", "Running", "Status"):
        assert after["State"][key] == before["State"][key], key
    assert after["NetworkSettings"]["IPAddress"] == before["NetworkSettings"]["IPAddress"]
    assert docker.out("exec", cid, "cat", "/w/i") == "ok"
    assert "httpd" in docker.out("top", cid)
    with engine.net.connect(("127.0.0.1", 8080)) as sock:
        sock.sendall(b"GET /i HTTP/1.0\r\n\r\n")
        assert read_all(sock).endswith(b"ok\n")
    refused = docker("run", "-p", "8080:80", "busybox", "true", check=False)
    assert "port is already allocated" in refused.stderr
    docker("stop", "-t", "0", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 137


def test_what_was_being_removed_is_gone_with_all_it_held_though_its_process_lives(
    engine: Daemon, docker: DockerCLI
) -> None:
    """As when the end was told wrongly: the row says that it goes, the run that it lives."""
    cid = docker.run("-d", "-v", "held:/v", "--rm", "busybox", "sleep", "1000")
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    rewritten(engine, cid, life=Removing(Exited(137, False, 1, 2)))
    engine.start()
    ended(pid)
    assert docker.out("ps", "-aq") == ""
    docker("volume", "rm", "held")


def rewritten(engine: Daemon, container_id: str, **changes: object) -> None:
    """Let the row of a container say otherwise, while there is no engine."""
    with contextlib.closing(Database(engine.data / "state.db")) as db:
        rows = Rows("containers", Container)
        db.write_soon(rows.put(container_id, structs.replace(rows.load(db)[container_id], **changes)))


def test_logs_are_complete_to_the_byte(engine: Daemon, docker: DockerCLI, gate: Path) -> None:
    cid = docker.run(
        "-d", *gated(gate), "busybox", "sh", "-c", f"seq 1 20000; {PASS}; seq 20001 40000; printf end"
    )
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    opened(gate)
    ended(pid)
    engine.start()
    assert docker("logs", cid).stdout == "".join(f"{n}\n" for n in range(1, 40001)) + "end"


def test_an_engine_killed_amid_output_loses_no_line(engine: Daemon, docker: DockerCLI) -> None:
    """The container waits for nobody: it writes before, at and after the kill."""
    cid = docker.run("-d", "busybox", "seq", "1", "3000000")
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    assert Path(f"/proc/{pid}/stat").exists()
    ended(pid)
    engine.start()
    assert docker.inspect(cid)["State"]["ExitCode"] == 0
    assert docker.out("logs", "--tail", "2", cid).split() == ["2999999", "3000000"]
    with docker.spawn("logs", cid) as reader:
        assert reader.stdout
        assert sum(1 for _ in reader.stdout) == 3_000_000


def test_the_exit_code_of_what_ended_meanwhile_is_known(
    engine: Daemon, docker: DockerCLI, gate: Path
) -> None:
    cid = docker.run("-d", *gated(gate), "busybox", "sh", "-c", f"{PASS}; exit 42")
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    opened(gate)
    ended(pid)
    engine.start()
    state = docker.inspect(cid)["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 42, 0)
    assert docker.out("wait", cid) == "42"
    assert docker.out("ps", "-q") == ""
    docker("start", cid)
    opened(gate)
    assert docker.out("wait", cid) == "42"


def test_a_container_with_rm_that_ended_meanwhile_is_gone(
    engine: Daemon, docker: DockerCLI, gate: Path
) -> None:
    cid = docker.run("-d", "--rm", *gated(gate), "busybox", "sh", "-c", PASS)
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    opened(gate)
    ended(pid)
    engine.start()
    until(lambda: docker.out("ps", "-aq") == "", what="the container to be removed")


@pytest.mark.beyond_dockerd
def test_a_foreground_stream_outlives_the_engine(engine: Daemon, docker: DockerCLI, gate: Path) -> None:
    body = {"Image": "busybox", "Cmd": ["sh", "-c", f"echo before; {PASS}; seq 1 20000"],
            "HostConfig": {"Binds": [f"{gate.parent}:/gate"]}}  # fmt: skip
    cid = engine.http.ok("POST", "/containers/create", body)["Id"]
    _, sock = engine.http.hijack(f"/containers/{cid}/attach?stream=1&stdout=1")
    with sock:
        engine.http.ok("POST", f"/containers/{cid}/start")
        first = sock.recv(15, socket.MSG_WAITALL)
        assert joined(first, STDOUT) == b"before\n"
        engine.kill()
        opened(gate)
        assert joined(read_all(sock), STDOUT).split() == [b"%d" % n for n in range(1, 20001)]
    engine.start()
    assert docker.inspect(cid)["State"]["ExitCode"] == 0


@pytest.mark.beyond_dockerd
def test_an_exec_outlives_the_engine(engine: Daemon, docker: DockerCLI, gate: Path) -> None:
    cid = docker.run("-d", *gated(gate), "busybox", "sleep", "600")
    eid = engine.http.ok("POST", f"/containers/{cid}/exec", {"Cmd": ["sh", "-c", f"{PASS}; exit 5"]})["Id"]
    engine.http.ok("POST", f"/exec/{eid}/start", {"Detach": True})
    pid = engine.http.ok("GET", f"/exec/{eid}/json")["Pid"]
    engine.kill()
    engine.start()
    opened(gate)
    ended(pid)
    docker("exec", cid, "true")


def test_a_restart_policy_works_after_the_crash(engine: Daemon, docker: DockerCLI, gate: Path) -> None:
    cid = docker.run("-d", "--restart", "always", *gated(gate), "busybox", "sh", "-c", f"{PASS}; exit 1")
    pid = docker.inspect(cid)["State"]["Pid"]
    engine.kill()
    opened(gate)
    ended(pid)
    engine.start()
    until(
        lambda: (
            docker.inspect(cid)["State"]["Pid"] not in (0, pid) and docker.inspect(cid)["State"]["Running"]
        ),
        what="the container to run again",
    )


def test_names_images_volumes_and_networks_are_what_they_were(engine: Daemon, docker: DockerCLI) -> None:
    docker("create", "--name", "made", "-l", "a=b", "-v", "kept:/v", "busybox", "true")
    docker("run", "--name", "gone", "busybox", "sh", "-c", "exit 3", check=False)
    docker("tag", "busybox", "other:1")
    looks = [
        "ps -a --no-trunc",
        "images --no-trunc",
        "volume ls",
        "network ls --no-trunc",
        "inspect made gone",
    ]

    def seen() -> list[list[str]]:  # sorted: the CLI shows the names of one image in any order
        return [sorted(docker.out(*look.split(), *format_of(look)).splitlines()) for look in looks]

    before = seen()
    engine.restart_killed()
    assert seen() == before
    assert docker.out("start", "-a", "made") == ""
    engine.forget_images()


def format_of(look: str) -> list[str]:
    """Nothing that moves with the clock."""
    if look.startswith("ps"):
        return ["--format", "{{.ID}} {{.Names}} {{.Image}} {{.Labels}}"]
    return ["--format", "{{.ID}} {{.Repository}} {{.Tag}} {{.Size}}"] if look.startswith("images") else []


def true_states(engine: Daemon) -> None:
    """Each container is what its state says: it runs with a process, or rests without one."""
    for row in engine.http.ok("GET", "/containers/json?all=1"):
        answer = engine.http("GET", f"/containers/{row['Id']}/json")
        if answer.status == 404:  # its --rm was waiting to be done
            continue
        told = answer.json["State"]
        assert told["Status"] in ("created", "running", "exited", "removing"), told
        assert told["Running"] == (told["Pid"] > 0 and Path(f"/proc/{told['Pid']}").exists()), told


@pytest.fixture
def spotless(engine: Daemon) -> Iterator[None]:
    """After the test and its removals there is nothing that was not there before."""
    before = engine.traces()
    yield
    if not engine.process:
        engine.start()
    true_states(engine)
    engine.clean()
    engine.forget_images()
    assert lasting(engine, before) == []


def killed_amid(engine: Daemon, calls: list[Callable[[], object]], after: int) -> None:
    """Make the calls eight at a time, kill the engine when `after` of them are answered, start it again."""

    def quietly(call: Callable[[], object]) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            call()

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(quietly, call) for call in calls]
        until(lambda: sum(one.done() for one in running) >= after, what="answers", process=engine.process)
        engine.kill()
    engine.start()


@pytest.mark.parametrize("after", [0, 1, 5, 12])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_creates_nothing_is_left_over(engine: Daemon, after: int) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "Volumes": {"/v": {}}}
    killed_amid(engine, [lambda: engine.http("POST", "/containers/create", body)] * 24, after)


@pytest.mark.parametrize("after", [0, 1, 4, 10])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_starts_nothing_is_left_over(engine: Daemon, after: int) -> None:
    ids = [
        engine.http.ok("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "600"]})["Id"]
        for _ in range(16)
    ]
    killed_amid(engine, [partial(engine.http, "POST", f"/containers/{i}/start") for i in ids], after)
    true_states(engine)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda i: engine.http("POST", f"/containers/{i}/start").status, ids))
    assert set(told) <= {204, 304}, "whatever the crash left, each can be started"


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_mounts_of_volumes_nothing_stays_mounted(engine: Daemon, after: int) -> None:
    ids = []
    for number in range(12):
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        engine.http.ok("POST", "/volumes/create", {"Name": f"m{number}", "DriverOpts": options})
        body = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"Binds": [f"m{number}:/m"]}}
        ids.append(engine.http.ok("POST", "/containers/create", body)["Id"])
    killed_amid(engine, [partial(engine.http, "POST", f"/containers/{i}/start") for i in ids], after)
    true_states(engine)
    runs = {row["Id"] for row in engine.http.ok("GET", "/containers/json")}
    mounted = {number for number, i in enumerate(ids) if is_mounted(engine.data / f"volumes/m{number}/_data")}
    assert mounted == {number for number, i in enumerate(ids) if i in runs}


def is_mounted(path: Path) -> bool:
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.mark.parametrize("after", [0, 1, 4, 10])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_removals_nothing_is_left_over(engine: Daemon, after: int) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "Volumes": {"/v": {}}}
    ids = [engine.http.ok("POST", "/containers/create", body)["Id"] for _ in range(12)]
    for cid in ids:
        engine.http.ok("POST", f"/containers/{cid}/start")
    killed_amid(engine, [partial(engine.http, "DELETE", f"/containers/{i}?force=1&v=1") for i in ids], after)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_foreground_runs_nothing_is_left_over(
    engine: Daemon, docker: DockerCLI, after: int
) -> None:
    run = ("run", "--rm", "-v", "/v", "busybox", "seq", "1", "20000")
    killed_amid(engine, [lambda: docker(*run, check=False)] * 8, after)


@pytest.mark.usefixtures("spotless")
def test_killed_while_it_stops_containers(engine: Daemon, docker: DockerCLI) -> None:
    ids = [docker.run("-d", "busybox", "sleep", "600") for _ in range(4)]
    killed_amid(engine, [partial(docker, "stop", "-t", "1", i, check=False) for i in ids], 0)


@pytest.mark.parametrize(
    "moment", ["Pulling fs layer", "Downloading", "Download complete", "Extracting", "Pull complete"]
)
@pytest.mark.usefixtures("spotless")
def test_killed_amid_a_pull_leaves_no_half_layer(
    engine: Daemon, docker: DockerCLI, registry: Registry, heavy: str, moment: str
) -> None:
    name, _, tag = heavy.rpartition(":")
    with engine.http.stream("POST", f"/images/create?fromImage={name}&tag={tag}") as told:
        for line in told:
            if json.loads(line).get("status") == moment:
                break
        engine.kill()
    engine.start()
    assert heavy not in docker.out("images", "--format", "{{.Repository}}:{{.Tag}}")
    docker("pull", "-q", heavy)
    told_sum = docker.run("--rm", heavy, "sh", "-c", "cat /data*/* | md5sum")
    assert told_sum.split()[0] == expected_sum()


@cache
def expected_sum() -> str:
    """What md5sum says of all files of the heavy image, in the order of the shell."""
    files: dict[str, bytes] = {}
    for layer in heavy_layers(6, 30_000_000):
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            for member in tar:
                if member.isreg():
                    opened_file = tar.extractfile(member)
                    assert opened_file
                    files[member.name] = opened_file.read()
    return hashlib.md5(b"".join(files[name] for name in sorted(files, key=glob_order))).hexdigest()


def glob_order(name: str) -> tuple[str, ...]:
    """As the shell sorts `/data*/*` in the C locale."""
    return tuple(name.split("/"))


@pytest.fixture(scope="module")
def heavy(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of 30 MB in six layers, in the registry."""
    path = tmp_path_factory.mktemp("heavy") / "heavy.tar"
    path.write_bytes(saved(["heavy:1"], [busybox_layer(), *heavy_layers(6, 30_000_000)]))
    return registry.push(path, "heavy:1")


def whole(engine: Daemon) -> None:
    """Nothing is wrong with what is stored."""
    if isinstance(engine, Engine):
        assert engine.store_complaints() == []


@pytest.mark.parametrize("moment", ["Preparing", "Pushing"])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_a_push_it_can_be_pushed_again(
    engine: Daemon, docker: DockerCLI, registry: Registry, heavy: str, moment: str
) -> None:
    docker("pull", "-q", heavy)
    target = f"{registry.name}/again-{moment.lower()}"
    docker("tag", heavy, f"{target}:1")
    with engine.http.stream("POST", f"/images/{target}/push?tag=1", {}) as told:
        for line in told:
            if json.loads(line).get("status") == moment:
                break
        engine.kill()
    engine.start()
    whole(engine)
    docker("push", "-q", f"{target}:1")
    docker("rmi", heavy, f"{target}:1")
    docker("pull", "-q", f"{target}:1")
    whole(engine)


@pytest.mark.parametrize("after_s", [0.05, 0.2])
@pytest.mark.parametrize("verb", ["commit", "import", "rmi"])
@pytest.mark.usefixtures("spotless")
def test_killed_amid_a_change_of_images_the_store_is_whole(
    engine: Daemon, docker: DockerCLI, tmp_path: Path, verb: str, after_s: float
) -> None:
    match verb:
        case "commit":
            script = "i=0; while [ $i -lt 500 ]; do echo $i >/f$i; i=$((i+1)); done"
            command = ["commit", docker.run("-d", "busybox", "sh", "-c", f"{script}; sleep 600"), "made:1"]
        case "import":
            (tmp_path / "root.tar").write_bytes(next(heavy_layers(1, 20_000_000)))
            command = ["import", str(tmp_path / "root.tar"), "made:1"]
        case _:
            (tmp_path / "made.tar").write_bytes(saved(["made:1"], list(heavy_layers(3, 5_000_000))))
            docker("load", "-i", tmp_path / "made.tar")
            command = ["rmi", "made:1"]
    client = docker.spawn(*command)
    # a pause of any length is a moment of its own: none of them may leave anything
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(timeout=after_s)
    engine.kill()
    client.communicate()
    engine.start()
    whole(engine)
    assert docker(*command, check=False).code == 0 or verb == "rmi"


@pytest.mark.usefixtures("spotless")
def test_killed_amid_a_load_leaves_nothing(engine: Daemon, docker: DockerCLI, tmp_path: Path) -> None:
    data = saved(["loaded:1"], [busybox_layer(), *heavy_layers(2, 40_000_000)])
    with docker.spawn("load", stdin=subprocess.PIPE) as client:
        assert client.stdin
        client.stdin.write(data[: len(data) // 2])
        client.stdin.flush()
        engine.kill()
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()
    engine.start()
    assert "loaded" not in docker.out("images")
    whole(engine)
    docker("load", stdin=data)


@pytest.mark.beyond_dockerd
@pytest.mark.usefixtures("spotless")
def test_a_container_outlives_its_monitor_and_its_code_is_known(
    engine: Daemon, docker: DockerCLI, gate: Path
) -> None:
    cid = docker.run("-d", *gated(gate), "busybox", "sh", "-c", f"echo one; {PASS}; echo two; exit 9")
    pid = docker.inspect(cid)["State"]["Pid"]
    os.kill(parent(pid), signal.SIGKILL)
    assert docker.inspect(cid)["State"]["Running"]
    opened(gate)
    assert docker.out("wait", cid) == "9"
    assert docker.out("logs", cid).split() == ["one", "two"]


@pytest.mark.beyond_dockerd
@pytest.mark.usefixtures("spotless")
def test_monitor_and_engine_killed_together_leave_a_true_state(
    engine: Daemon, docker: DockerCLI, gate: Path
) -> None:
    cid = docker.run("-d", *gated(gate), "busybox", "sh", "-c", f"{PASS}; exit 9")
    pid = docker.inspect(cid)["State"]["Pid"]
    monitor = parent(pid)
    engine.kill()
    os.kill(monitor, signal.SIGKILL)
    engine.start()
    true_states(engine)
    docker("rm", "-f", cid)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.beyond_dockerd
@pytest.mark.usefixtures("spotless")
def test_a_monitor_that_hangs_keeps_no_engine_from_starting(
    engine: Daemon, docker: DockerCLI, gate: Path
) -> None:
    cid = docker.run("-d", *gated(gate), "busybox", "sh", "-c", f"{PASS}; exit 9")
    monitor = parent(docker.inspect(cid)["State"]["Pid"])
    engine.kill()
    os.kill(monitor, signal.SIGSTOP)
    engine.start()
    assert docker.inspect(cid)["State"]["Running"]
    opened(gate)
    assert docker.out("wait", cid) == "9"


@pytest.mark.usefixtures("spotless")
def test_an_engine_that_is_stopped_leaves_containers_running(engine: Daemon, docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    pid = docker.inspect(cid)["State"]["Pid"]
    assert engine.stop() == 0
    assert Path(f"/proc/{pid}").exists()
    engine.start()
    assert docker.inspect(cid)["State"]["Pid"] == pid
