"""Restart policies: who starts again, after how long, how often, and across lives of the engine."""

from itertools import pairwise

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.told import actions, events
from tests.support.waiting import until

FAILS = ("busybox", "sh", "-c", "exit 3")


def rests(docker: DockerCLI, cid: str) -> bool:
    return bool(docker.inspect(cid)["State"]["Status"] == "exited")


def count(docker: DockerCLI, cid: str) -> int:
    return int(docker.inspect(cid)["RestartCount"])


def restarting(docker: DockerCLI, policy: str = "always", *, times: int = 3) -> str:
    """A container that has failed so often that it waits for its next start for a while."""
    cid = docker.run("-d", "--restart", policy, *FAILS)
    until(
        lambda: count(docker, cid) >= times and docker.inspect(cid)["State"]["Status"] == "restarting",
        what="the wait for a start",
    )
    return cid


def waited_s(http: Http, cid: str) -> list[float]:
    """The seconds between each end and the start that followed it."""
    ends = [(event["Action"], event["timeNano"] / 1e9) for event in events(http, cid)]
    ends = [each for each in ends if each[0] in ("start", "die")]
    return [later - earlier for (action, earlier), (_, later) in pairwise(ends) if action == "die"]


def test_on_failure_tries_as_often_as_it_may(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--restart", "on-failure:2", *FAILS)
    until(lambda: rests(docker, cid), what="the last end")
    state = docker.inspect(cid)
    assert (state["RestartCount"], state["State"]["ExitCode"]) == (2, 3)
    assert [each for each in actions(http, cid) if each in ("start", "die")] == ["start", "die"] * 3
    docker("start", cid)
    assert count(docker, cid) <= 2


@pytest.mark.parametrize("policy", ["no", "on-failure", "on-failure:5"])
def test_success_is_no_reason_to_start_again(docker: DockerCLI, http: Http, policy: str) -> None:
    cid = docker.run("-d", "--restart", policy, "busybox", "true")
    docker("wait", cid)
    until(lambda: rests(docker, cid), what="its end")
    assert actions(http, cid).count("start") == 1


def test_the_wait_doubles_from_a_tenth_of_a_second(docker: DockerCLI, http: Http) -> None:
    cid = restarting(docker, times=4)
    docker("stop", cid)
    waits = waited_s(http, cid)
    assert [wait > least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)] == [True] * 3
    assert waits[0] < 0.1 + 1.4  # and what a start takes on a machine that others use


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_a_container_that_waits_for_its_start_can_be_told_to_rest(docker: DockerCLI, verb: str) -> None:
    cid = restarting(docker)
    docker(verb, cid)
    assert rests(docker, cid)
    starts = docker.inspect(cid)["State"]["StartedAt"]
    docker("run", "--rm", "busybox", "sleep", "0.9")
    assert (rests(docker, cid), docker.inspect(cid)["State"]["StartedAt"]) == (True, starts)


def test_a_container_that_waits_for_its_start_is_removed_by_force_only(docker: DockerCLI, http: Http) -> None:
    cid = restarting(docker)
    answer = http("DELETE", f"/containers/{cid}")
    assert (answer.status, "restarting container" in answer.json["message"]) == (409, True)
    docker("rm", "-f", cid)
    assert http("GET", f"/containers/{cid}/json").status == 404


def test_it_is_shown_as_restarting(docker: DockerCLI) -> None:
    cid = restarting(docker)
    state = docker.inspect(cid)["State"]
    assert (state["Restarting"], state["Running"], state["ExitCode"]) == (True, True, 3)
    assert docker.out("ps", "--format", "{{.Status}}").startswith("Restarting (3)")


@pytest.mark.beyond_dockerd
def test_count_and_wait_go_on_with_the_next_engine(docker: DockerCLI, http: Http, engine: Daemon) -> None:
    cid = restarting(docker, times=4)
    before = count(docker, cid)
    engine.restart_killed()
    until(lambda: count(docker, cid) > before, what="the next restart")
    docker("stop", cid)
    assert waited_s(http, cid)[3] > 0.8


def test_who_was_stopped_rests_unless_it_is_always(docker: DockerCLI, engine: Daemon) -> None:
    names = ("always", "unless-stopped", "on-failure", "no")
    for name in names:
        docker.run("-d", "--name", name, "--restart", name, "busybox", "sleep", "600")
    docker("kill", *names)
    assert all(rests(docker, name) for name in names)
    engine.restart_killed()
    until(lambda: not rests(docker, "always"), what="always to start")
    assert [rests(docker, name) for name in names] == [False, True, True, True]
