"""Memory that runs out: told when it happens, whoever was killed for it."""

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.told import actions
from tests.support.waiting import until

LIMITS = ("-m", "16m", "--memory-swap", "16m")
# The kernel may look for a second victim while the first one dies: it shall not be the first process.
EAT = "echo 1000 >/proc/self/oom_score_adj; head -c 128m /dev/zero | tail"


def test_a_first_process_killed_for_memory_is_told_before_its_end(docker: DockerCLI, http: Http) -> None:
    docker("run", "--name", "eater", *LIMITS, "busybox", "tail", "/dev/zero", check=False)
    state = docker.inspect("eater")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    told = actions(http, docker.inspect("eater")["Id"])
    assert told[-2:] == ["oom", "die"]


@pytest.mark.beyond_dockerd
def test_a_child_killed_for_memory_is_told_while_the_first_process_lives(
    docker: DockerCLI, http: Http
) -> None:
    cid = docker.run("-d", *LIMITS, "busybox", "sh", "-c", f"({EAT}) >/dev/null 2>&1; sleep 600")
    until(lambda: docker.inspect(cid)["State"]["OOMKilled"], what="the kill to be told")
    state = docker.inspect(cid)["State"]
    assert (state["Running"], state["ExitCode"]) == (True, 0)
    assert actions(http, cid).count("oom") == 1
    docker("kill", cid)
    assert docker.inspect(cid)["State"]["OOMKilled"]
    assert actions(http, cid).count("oom") == 1
    docker("start", cid)
    docker("kill", cid)


@pytest.mark.beyond_dockerd
def test_a_kill_that_no_engine_saw_is_told_by_the_next(docker: DockerCLI, http: Http, engine: Daemon) -> None:
    script = f"while ! test -e /go; do sleep 0.05; done; ({EAT}) >/dev/null 2>&1; touch /done; sleep 600"
    cid = docker.run(
        "-d",
        *LIMITS,
        "-v",
        "shared:/s",
        "busybox",
        "sh",
        "-c",
        script.replace("/go", "/s/go").replace("/done", "/s/done"),
    )
    shared = engine.data / "volumes/shared/_data"
    engine.kill()
    (shared / "go").touch()
    until((shared / "done").exists, what="the kill")
    engine.start()
    until(lambda: docker.inspect(cid)["State"]["OOMKilled"], what="the kill to be told")
    assert actions(http, cid).count("oom") == 1
