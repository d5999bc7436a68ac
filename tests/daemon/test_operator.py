"""What an operator decides, seen through the unchanged docker command line: one engine with many options."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.cli import DOCKER, DockerCLI, Result
from tests.support.engines import Engine, configured
from tests.support.http import Http
from tests.support.images import BUSYBOX, saved
from tests.support.waiting import until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
]
TLS_PORT, METRICS_PORT = 2376, 9323
WISHES: dict[str, Any] = {
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 4000, "Soft": 3000}},
    "default-shm-size": "16m",
    "default-ipc-mode": "shareable",
    "default-cgroupns-mode": "private",
    "no-new-privileges": True,
    "init": True,
    "labels": ["place=harbour"],
    "metrics-addr": f"127.0.0.1:{METRICS_PORT}",
    "proxies": {"https-proxy": "http://user:secret@proxy.example:3128", "no-proxy": "example.org"},
    "log-format": "json",
    "group": "0",
}
ROLES = {"look": "role=read-only", "tend": "role=no-exec", "team": "label=team=a&group=65534"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def engine(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine()
    try:
        home = authority.issue(engine.root / "tls", client=False)
        own = engine.root / "seccomp.json"
        own.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [NO_MKDIR]}))
        tls = {f"tls{name}": str(home / f"{file}.pem") for name, file in FILES.items()}
        beside = {
            "restricted-hosts": [f"unix://{engine.root}/{name}.sock?{role}" for name, role in ROLES.items()],
            "audit-log": f"{engine.root}/audit.log",
        }
        settings = {**WISHES, **beside, **tls, "tlsverify": True, "seccomp-profile": str(own)}
        path = configured(engine, **settings)
        engine.options = [f"--config-file={path}", f"--host=tcp://127.0.0.1:{TLS_PORT}"]
        engine.start()
        archive = tmp_path_factory.mktemp("image") / "busybox.tar"
        archive.write_bytes(saved([BUSYBOX]))
        engine.docker("load", "-i", archive)
        yield engine
    finally:
        engine.close()


FILES = {"cacert": "ca", "cert": "cert", "key": "key"}
NO_MKDIR = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}


def by_tls(engine: Engine, place: Path, *argv: str, stdin: bytes = b"") -> Result:
    """docker --tlsverify in the engine's network, with the certificates of `place`."""
    files = [f"--tls{name}={place}/{file}.pem" for name, file in FILES.items()]
    command = [DOCKER, f"--host=tcp://127.0.0.1:{TLS_PORT}", "--tlsverify", *files, *argv]
    env = {**engine.docker.env}
    del env["DOCKER_HOST"]
    done = subprocess.run(
        engine.net.entered(command), input=stdin, capture_output=True, timeout=60, env=env, check=False
    )
    return Result(done.stdout.decode(), done.stderr.decode(), done.returncode)


def test_docker_tlsverify_works_and_each_direction_of_a_stream_ends_alone(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    place = authority.issue(tmp_path, client=True)
    assert by_tls(engine, place, "version", "--format={{.Server.Os}}").stdout == "linux\n"
    text = b"all of it\n" * 50_000
    sent = by_tls(engine, place, "run", "--rm", "-i", "busybox", "wc", "-c", stdin=text)
    assert (sent.code, sent.stdout.strip()) == (0, str(len(text)))
    back = by_tls(engine, place, "run", "--rm", "-i", "busybox", "cat", stdin=text)
    assert (back.code, back.stdout.encode()) == (0, text)


def test_a_client_that_others_vouch_for_is_turned_away(
    engine: Engine, authority: Authority, tmp_path: Path
) -> None:
    place = Authority("stranger").issue(tmp_path, client=True)
    (place / "ca.pem").write_bytes((engine.root / "tls" / "ca.pem").read_bytes())
    refused = by_tls(engine, place, "version")
    assert refused.code == 1
    assert "tls" in refused.stderr


def test_containers_get_what_the_operator_decided(engine: Engine) -> None:
    script = (
        "ulimit -n; ulimit -Hn; grep NoNewPrivs /proc/self/status; df -k /dev/shm | tail -1; cat /proc/1/comm"
    )
    said = engine.docker.run("--rm", "busybox", "sh", "-c", script).split()
    assert said[:4] == ["3000", "4000", "NoNewPrivs:", "1"]
    assert said[5] == "16384"
    assert "init" in said[-1]


def test_a_container_shows_no_init_that_it_did_not_ask_for(engine: Engine) -> None:
    made = engine.docker.out("create", "busybox")
    assert "Init" not in engine.http.ok("GET", f"/containers/{made}/json")["HostConfig"]
    engine.docker("rm", made)


def test_a_container_that_says_otherwise_is_asked_first(engine: Engine) -> None:
    script = "ulimit -n; grep NoNewPrivs /proc/self/status; cat /proc/1/comm; :"
    said = engine.docker.run(
        *("--rm", "--init=false", "--ulimit=nofile=50", "--security-opt=no-new-privileges=false"),
        *("busybox", "sh", "-c", script),
    ).split()
    assert said == ["50", "NoNewPrivs:", "0", "sh"]


def test_the_seccomp_profile_of_the_operator_holds_unless_another_is_named(engine: Engine) -> None:
    refused = engine.docker("run", "--rm", "busybox", "mkdir", "/x", check=False)
    assert "not supported" in refused.stderr
    engine.docker.run("--rm", "--security-opt=seccomp=unconfined", "busybox", "mkdir", "/x")


def test_info_tells_what_was_decided(engine: Engine) -> None:
    info = engine.http.ok("GET", "/info")
    assert info["Labels"] == ["place=harbour"]
    assert (info["HttpsProxy"], info["NoProxy"]) == ("http://xxxxx:xxxxx@proxy.example:3128", "example.org")
    assert f"name=seccomp,profile={engine.root}/seccomp.json" in info["SecurityOptions"]
    assert "name=no-new-privileges" in info["SecurityOptions"]


def test_metrics_are_served_for_prometheus(engine: Engine) -> None:
    engine.http.ok("GET", "/containers/json")
    with engine.net.connect(("127.0.0.1", METRICS_PORT)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: client.recv(1 << 16), b"")).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "text/plain" in head
    assert 'engine_daemon_container_states_containers{state="running"} 0.0\n' in body
    assert 'lighterman_request_seconds_count{code="200",operation="ContainerList"}' in body
    assert "process_resident_memory_bytes" in body


def test_lines_of_the_log_are_objects(engine: Engine) -> None:
    lines = [json.loads(line) for line in engine.log.splitlines() if line.startswith("{")]
    assert any(line["msg"].startswith("op=start-engine") and line["level"] == "info" for line in lines)


def test_through_a_read_only_listener_nothing_changes(engine: Engine) -> None:
    look = Http(engine.root / "look.sock")
    box = engine.docker.run("-d", "busybox", "sleep", "60")
    assert look.ok("GET", "/containers/json")[0]["Id"] == box
    assert look("GET", f"/containers/{box}/logs?stdout=1").status == 200
    for method, path in (
        ("POST", f"/containers/{box}/stop?t=0"),
        ("POST", f"/containers/{box}/exec"),
        ("POST", f"/containers/{box}/attach?stream=1"),
        ("GET", f"/containers/{box}/attach/ws"),
        ("GET", f"/containers/{box}/archive?path=/etc/passwd"),
        ("DELETE", f"/containers/{box}?force=1"),
        ("POST", "/images/create?fromImage=x"),
    ):
        answer = look(method, path)
        assert (answer.status, "read-only" in answer.json["message"]) == (403, True), path
    assert engine.docker.inspect(box)["State"]["Running"]
    engine.docker("rm", "-f", box)


def test_without_exec_containers_are_tended_and_not_entered(engine: Engine) -> None:
    tend = DockerCLI(engine.root / "tend.sock", engine.root / "cli")
    box = engine.docker.run("-di", "busybox", "sh", "-c", "read line; echo got $line")
    ways_in: list[tuple[str, ...]] = [
        ("exec", box, "true"),
        ("cp", "/etc/hostname", f"{box}:/"),
        ("run", "-v", "/:/host", "busybox", "true"),
        ("run", "--privileged", "busybox", "true"),
        ("run", "--pid=host", "busybox", "true"),
        ("run", "--network", f"container:{box}", "busybox", "true"),
    ]
    for argv in ways_in:
        refused = tend(*argv, check=False)
        assert "this listener is no-exec" in refused.stderr, argv
    with_input: list[tuple[str, ...]] = [("attach", box), ("run", "-i", "busybox", "true")]
    for argv in with_input:
        assert "received 403" in tend(*argv, check=False).stderr
    with socket(AF_UNIX) as client:  # who is attached to the output alone, and writes all the same
        client.connect(str(engine.root / "tend.sock"))
        client.sendall(b"POST /containers/%s/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n" % box.encode())
        client.sendall(b"Upgrade: tcp\r\nConnection: Upgrade\r\n\r\nearly\n")
        assert client.recv(12) == b"HTTP/1.1 101"
        client.sendall(b"late\n")
        engine.docker("attach", box, stdin=b"the operators\n")
    assert engine.docker.out("logs", box) == "got the operators"
    assert tend.run("--rm", "-m", "64m", "--tmpfs=/x", "-v", "/y", "busybox", "echo", "hi") == "hi"
    tend("restart", "-t", "0", box)
    tend("rm", "-f", box)


def test_through_a_listener_with_a_label_only_what_carries_it_is_there(engine: Engine) -> None:
    assert (engine.root / "team.sock").stat().st_gid == 65534
    team = DockerCLI(engine.root / "team.sock", engine.root / "cli")
    other = engine.docker.run("-d", "--name=other", "--label=team=b", "busybox", "sleep", "60")
    listening = Http(engine.root / "team.sock").stream("GET", "/events?since=1")
    mine = team.run("-d", "--name=mine", "busybox", "sleep", "60")
    assert json.loads(listening.readline())["id"] == mine  # and nothing of the other, before or after
    listening.close()
    assert team.out("ps", "-aq", "--no-trunc") == mine
    assert team.inspect("mine")["Config"]["Labels"] == {"team": "a"}
    assert team.out("exec", "mine", "echo", "in") == "in"
    elsewhere = engine.docker("exec", "-d", other, "sleep", "60")
    assert elsewhere.code == 0
    (running,) = engine.docker.inspect(other)["ExecIDs"]
    raw = Http(engine.root / "team.sock")
    assert raw("GET", f"/exec/{running}/json").status == 404
    others: list[tuple[str, ...]] = [
        ("container", "inspect", other),
        ("logs", "other"),
        ("exec", other[:12], "true"),
        ("rm", "-f", "other"),
        ("cp", "other:/etc/passwd", "-"),
    ]
    for argv in others:
        assert "No such" in team(*argv, check=False).stderr, argv
    beyond: list[tuple[str, ...]] = [
        ("run", "--label=team=b", "busybox"),
        ("run", "-v", "/var/run:/x", "busybox"),
        ("exec", "--privileged", "mine", "true"),
        ("volume", "create", "x"),
        ("system", "df"),
        ("commit", "mine"),
    ]
    for argv in beyond:
        assert "this listener is label team=a" in team(*argv, check=False).stderr, argv
    team("container", "prune", "-f")
    team("rm", "-f", "mine")
    assert engine.docker.inspect(other)["State"]["Running"]
    engine.docker("rm", "-f", other)


def test_who_changes_something_is_written_down(engine: Engine, authority: Authority, tmp_path: Path) -> None:
    place = authority.issue(tmp_path, client=True)
    assert by_tls(engine, place, "volume", "create", "far").code == 0
    engine.docker("volume", "rm", "far")
    look = Http(engine.root / "look.sock")
    look("POST", "/containers/a%0Ab/stop")
    file = engine.root / "audit.log"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    by_name = {line["operation"]: line for line in lines}
    made, removed, refused = (by_name[key] for key in ("VolumeCreate", "VolumeDelete", "ContainerStop"))
    assert (made["certificate"], made["status"]) == ("client", 201)
    assert made["address"].startswith("127.0.0.1:")
    assert (removed["uid"], removed["gid"], removed["target"], removed["status"]) == (
        0,
        0,
        {"name": "far"},
        204,
    )
    assert removed["pid"] > 0
    assert (made["made"], made["outcome"]) == ("far", "done")
    assert (refused["target"], refused["status"], refused["outcome"]) == ({"id": "a\nb"}, 403, "refused")
    assert refused["role"] == "read-only"
    assert "SystemPing" not in by_name


def test_who_hangs_up_is_written_down_too(engine: Engine) -> None:
    engine.docker("volume", "create", "unwaited")

    def written() -> bool:
        with socket(AF_UNIX) as client:  # again and again: who is fast enough to go has not been heard
            client.connect(str(engine.socket))
            client.sendall(b"DELETE /volumes/unwaited HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = [json.loads(line) for line in (engine.root / "audit.log").read_text().splitlines()]
        named = [line for line in lines if line.get("target") == {"name": "unwaited"}]
        return "done" in [line["outcome"] for line in named if line["operation"] == "VolumeDelete"]

    until(written, what="the line about it", timeout_s=60)


def test_a_signal_brings_in_another_configuration_and_an_event_tells_it(engine: Engine) -> None:
    assert engine.process is not None
    path = engine.root / "daemon.json"
    before = path.read_text()
    crun = shutil.which("crun") or shutil.which("runc")
    settings = {
        **json.loads(before),
        "runtimes": {"other": {"path": crun}},
        "labels": ["place=sea"],
        "default-shm-size": "8m",
        "debug": True,
        "mtu": 1400,
    }
    assert engine.http("GET", "/debug/vars").status == 404
    listening = engine.http.stream("GET", '/events?filters={"event":["reload"]}')
    path.write_text(json.dumps(settings))
    engine.process.send_signal(signal.SIGHUP)
    event = json.loads(listening.readline())
    listening.close()
    assert (event["Type"], event["Action"]) == ("daemon", "reload")
    told = event["Actor"]["Attributes"]
    assert (told["labels"], told["debug"], told["default-shm-size"]) == ('["place=sea"]', "true", "8388608")
    assert event["Actor"]["ID"] == engine.http.ok("GET", "/info")["ID"]
    assert engine.http.ok("GET", "/info")["Labels"] == ["place=sea"]
    assert engine.docker.run("--rm", "busybox", "df", "-k", "/dev/shm").split()[-5] == "8192"
    assert engine.http.ok("GET", "/debug/vars")["pid"] == engine.process.pid
    assert "other" in told["runtimes"]
    assert engine.docker.run("--rm", "--runtime=other", "busybox", "echo", "hi") == "hi"
    assert "restart the engine to bring in mtu" in engine.log
    path.write_text('{"labels": 5}')
    engine.process.send_signal(signal.SIGHUP)
    until(lambda: "op=reload outcome=refused" in engine.log, what="the refusal")
    assert engine.http.ok("GET", "/info")["Labels"] == ["place=sea"]
    path.write_text(before)
    engine.process.send_signal(signal.SIGHUP)
    wish = {"Image": "busybox", "HostConfig": {"Runtime": "other"}}
    until(lambda: engine.http("POST", "/containers/create", wish).status == 400, what="the runtime to go")


def test_a_signal_writes_down_what_every_task_does(engine: Engine) -> None:
    assert engine.process is not None
    engine.process.send_signal(signal.SIGUSR1)
    until(lambda: list(engine.exec.glob("stacks-*.log")), what="the dump")
    (dump,) = engine.exec.glob("stacks-*.log")
    assert dump.stat().st_mode & 0o777 == 0o600
    until(lambda: "thread MainThread" in dump.read_text(), what="the stacks")
    dump.unlink()


VERSIONS = ("1.24", "1.30", "1.36", "1.40", "1.41", "1.44")
"""What clients of 2016 to 2024 speak, and what docker CLI 29 and Compose 5 ask for at least."""


def pinned(engine: Engine, version: str) -> Callable[..., str]:
    """The docker command line speaking this version: what it prints, and it must succeed."""
    env = {**engine.docker.env, "DOCKER_API_VERSION": version, "DOCKER_BUILDKIT": "0"}

    def docker(*argv: object, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [DOCKER, *map(str, argv)], input=stdin, capture_output=True, timeout=60, env=env, check=False
        )
        assert done.returncode == 0, (argv, done.stderr)
        return done.stdout.decode()

    return docker


@pytest.mark.parametrize("version", VERSIONS)
def test_docker_pinned_to_a_version_works(engine: Engine, version: str) -> None:
    docker = pinned(engine, version)
    assert docker("version", "--format={{.Client.APIVersion}} {{.Server.APIVersion}}") == f"{version} 1.44\n"
    name = f"of-{version}"
    assert docker("run", "-i", f"--name={name}", "busybox", "cat", stdin=b"in and out") == "in and out"
    docker("rename", name, f"{name}-again")
    assert docker("logs", f"{name}-again") == "in and out"
    assert f"{name}-again" in docker("ps", "-a", "--format={{.Names}}")
    docker("run", "-d", "--name=sleeper", "busybox", "sleep", "60")
    assert docker("exec", "sleeper", "echo", "hello") == "hello\n"
    assert docker("stats", "--no-stream", "--format={{.Name}}", "sleeper") == "sleeper\n"
    docker("stop", "-t", "0", "sleeper")
    docker("rm", "-v", "sleeper", f"{name}-again")
    assert "busybox" in docker("images", "--format={{.Repository}}")
    docker("network", "create", "n")
    assert docker("network", "inspect", "--format={{.Name}}", "n") == "n\n"
    docker("network", "rm", "n")
    docker("volume", "create", "kept")
    if version != "1.24":  # no prune then
        docker("volume", "prune", "-f")
        assert ("kept" in docker("volume", "ls", "-q")) == (version == "1.44")
    if "kept" in docker("volume", "ls", "-q"):
        docker("volume", "rm", "kept")


@pytest.mark.parametrize("version", VERSIONS)
def test_docker_pinned_to_a_version_builds_copies_and_tells(
    engine: Engine, version: str, tmp_path: Path
) -> None:
    docker = pinned(engine, version)
    began = int(time.time())
    docker("build", "-t", "made", "-", stdin=b"FROM busybox\nRUN echo built >/file\nCMD sleep 60\n")
    assert docker("run", "--rm", "made", "cat", "/file") == "built\n"
    assert "built" in docker("history", "--no-trunc", "made")
    docker("run", "-d", "--name=box", "--network=bridge", "-p=127.0.0.1::80", "--memory=64m", "made")
    assert docker("inspect", "--format={{.HostConfig.Memory}}", "box") == f"{64 << 20}\n"
    assert docker("port", "box").startswith("80/tcp -> 127.0.0.1:")
    docker("update", "--memory=32m", "--memory-swap=32m", "box")
    assert "sleep 60" in docker("top", "box")
    (tmp_path / "in").write_text("copied")
    docker("cp", tmp_path / "in", "box:/in")
    docker("cp", "box:/in", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "copied"
    assert "A /in\n" in docker("diff", "box")
    docker("network", "create", "side")
    docker("network", "connect", "side", "box")
    docker("commit", "--change=LABEL a=b", "box", "kept")
    docker("kill", "box")
    assert docker("wait", "box") == "137\n"
    told = docker("events", f"--since={began}", f"--until={time.time():.9f}", "--format={{.Action}}").split()
    assert {"create", "start", "connect", "commit", "kill", "die"} <= set(told)
    docker("rm", "-f", "box")
    docker("network", "rm", "side")
    docker("save", "-o", tmp_path / "kept.tar", "kept")
    docker("rmi", "kept", "made")
    assert "Loaded image: kept:latest" in docker("load", "-i", tmp_path / "kept.tar")
    assert docker("image", "inspect", "--format={{.Config.Labels.a}}", "kept") == "b\n"
    docker("rmi", "kept")
    if version != "1.24":  # the client asks for none then
        assert "Build Cache" in docker("system", "df")


def test_without_a_version_1_36_is_meant(engine: Engine) -> None:
    bare = Http(engine.socket, prefix="")
    made = bare.ok(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Annotations": {"a": "b"}}}
    )
    shown = bare.ok("GET", f"/containers/{made['Id']}/json")
    assert "Annotations" not in shown["HostConfig"]
    assert "DNSNames" not in shown["NetworkSettings"]["Networks"]["bridge"]
    newest = Http(engine.socket, prefix="/v1.44").ok("GET", f"/containers/{made['Id']}/json")
    assert "DNSNames" in newest["NetworkSettings"]["Networks"]["bridge"]
    assert bare("GET", "/v1.45/info").status == bare("GET", "/v1.23/info").status == 400
    bare("DELETE", f"/containers/{made['Id']}")
