"""version, info, ping and events, as clients meet them first."""

import json
import re
import select
import time
from typing import Any

from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http


def test_version_tells_client_and_server(docker: DockerCLI) -> None:
    told = json.loads(docker.out("version", "--format", "{{json .}}"))
    assert told["Client"]["Version"].startswith("28.")
    server = told["Server"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", server["Version"])
    assert (server["Os"], server["Arch"], server["MinAPIVersion"] <= "1.24") == ("linux", "amd64", True)
    assert "Server:" in docker.out("version")


def test_info_counts_what_there_is(docker: DockerCLI) -> None:
    docker.run("-d", "busybox", "sleep", "600")
    docker("create", "busybox")
    info = json.loads(docker.out("info", "--format", "{{json .}}"))
    counted = {key: info[key] for key in ("Containers", "ContainersRunning", "ContainersStopped")}
    assert counted == {"Containers": 2, "ContainersRunning": 1, "ContainersStopped": 1}
    assert info["Images"] >= 1
    assert not info.get("ServerErrors")
    assert info["OSType"] == "linux"
    assert "name=seccomp,profile=default" in ",".join(info["SecurityOptions"])


def test_info_reads_well(docker: DockerCLI) -> None:
    told = docker.out("info")
    for line in ("Storage Driver:", "Cgroup Version:", "Kernel Version:", "Docker Root Dir:"):
        assert line in told


def test_every_answer_carries_the_versions(http: Http) -> None:
    for path in ("/_ping", "/version", "/containers/json", "/containers/nope/json"):
        answer = http("GET", path)
        assert answer.header("Api-Version"), path
        assert answer.header("Ostype") == "linux", path
        assert answer.header("Docker-Experimental") == "false", path
        assert (answer.header("Server") or "").startswith("Docker/"), path


def test_a_ping_is_ok_with_get_and_empty_with_head(engine: Daemon) -> None:
    bare = Http(engine.socket, prefix="")
    got, head = bare("GET", "/_ping"), bare("HEAD", "/_ping")
    assert (got.status, got.body, head.status, head.body) == (200, b"OK", 200, b"")
    assert got.header("Cache-Control") == "no-cache, no-store, must-revalidate"
    assert head.header("Api-Version") == got.header("Api-Version")


def test_versions_outside_the_span_are_refused(engine: Daemon) -> None:
    old, new = (
        Http(engine.socket, "/v1.11")("GET", "/version"),
        Http(engine.socket, "/v1.99")("GET", "/version"),
    )
    assert (old.status, new.status) == (400, 400)
    assert b"client version 1.11 is too old" in old.body
    assert b"client version 1.99 is too new" in new.body


def test_unknown_routes_and_methods_are_page_not_found(http: Http) -> None:
    for method, path in (("GET", "/nowhere"), ("PUT", "/containers/json"), ("GET", "/containers/json/")):
        answer = http(method, path)
        assert (answer.status, answer.json) == (404, {"message": "page not found"}), (method, path)


def heard(engine: Daemon, since_s: float, **filters: list[str]) -> list[dict[str, Any]]:
    """The events since then, as they are stored."""
    asked = f"/events?since={since_s:.9f}&until={time.time():.9f}&filters={json.dumps(filters)}"
    body = engine.http("GET", asked.replace(" ", "").replace('"', "%22")).body
    return [json.loads(line) for line in body.splitlines()]


def actions(engine: Daemon, since_s: float) -> list[str]:
    """type:action of the events since then."""
    return [f"{event['Type']}:{event['Action']}" for event in heard(engine, since_s)]


def test_a_run_with_rm_tells_its_whole_life(engine: Daemon, docker: DockerCLI) -> None:
    since = time.time()
    docker.run("--rm", "-v", "/anonymous", "busybox", "true")
    assert [event for event in actions(engine, since) if not event.endswith((":resize", ":attach"))] == [
        "volume:create",
        "container:create",
        "network:connect",
        "volume:mount",
        "container:start",
        "container:die",
        "network:disconnect",
        "volume:unmount",
        "volume:destroy",
        "container:destroy",
    ]


def test_a_stop_a_restart_and_a_forced_removal_tell_each_step(engine: Daemon, docker: DockerCLI) -> None:
    docker.run(
        "-d", "--name", "box", "-v", "kept:/v", "busybox", "sh", "-c", "trap 'exit 3' TERM; sleep 600 & wait"
    )
    ended = ["container:kill", "container:die", "network:disconnect", "volume:unmount"]
    began = ["network:connect", "volume:mount", "container:start"]
    since = time.time()
    docker("stop", "box")
    assert actions(engine, since) == [*ended, "container:stop"]
    since = time.time()
    docker("restart", "box")
    assert actions(engine, since) == [*began, "container:restart"]
    since = time.time()
    docker("restart", "box")
    assert actions(engine, since) == [*ended, "container:stop", *began, "container:restart"]
    since = time.time()
    docker("rm", "-f", "box")
    assert actions(engine, since) == [*ended, "container:destroy"]


def test_a_start_that_fails_takes_its_network_back_and_never_dies(engine: Daemon, docker: DockerCLI) -> None:
    docker("create", "--name", "box", "busybox", "nosuchcmd")
    since = time.time()
    docker("start", "box", check=False)
    assert actions(engine, since) == ["network:connect", "network:disconnect"]


def test_die_tells_the_exit_code_and_the_labels(engine: Daemon, docker: DockerCLI) -> None:
    since = time.time()
    docker("run", "--name", "box", "-l", "color=red", "busybox", "sh", "-c", "exit 7", check=False)
    (died,) = heard(engine, since, event=["die"])
    told = died["Actor"]["Attributes"]
    assert (told["exitCode"], told["color"], told["name"], told["image"]) == ("7", "red", "box", "busybox")
    assert (died["status"], died["from"], died["scope"]) == ("die", "busybox", "local")


def test_an_exec_tells_create_start_and_die(engine: Daemon, docker: DockerCLI) -> None:
    docker.run("-d", "--name", "box", "busybox", "sleep", "600")
    since = time.time()
    docker("exec", "box", "sh", "-c", "exit 4", check=False)
    assert actions(engine, since) == [
        "container:exec_create: sh -c exit 4",
        "container:exec_start: sh -c exit 4",
        "container:exec_die",
    ]


def test_events_are_streamed_as_they_happen(docker: DockerCLI) -> None:
    with docker.spawn("events", "--filter", "type=container", "--format", "{{.Action}} {{.ID}}") as listener:
        assert listener.stdout
        cid = docker.out("create", "busybox")
        while not select.select([listener.stdout], [], [], 0.1)[0]:  # it does not listen yet: once more
            cid = docker.out("create", "busybox")
        docker("rm", cid)
        while (line := listener.stdout.readline()) != f"destroy {cid}\n".encode():
            assert line.startswith(b"create ")
        listener.kill()
