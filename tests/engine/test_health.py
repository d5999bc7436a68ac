"""Health checks: probed while it runs, shown, told, and going on whatever happens to the engine."""

import re
import time
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.images import BUSYBOX, saved
from tests.support.told import actions, told
from tests.support.waiting import until

FAST = ("--health-interval", "100ms", "--health-retries", "2")
WELL = ("--health-cmd", "test -e /well", *FAST)


def health(docker: DockerCLI, cid: str) -> Any:
    return docker.inspect(cid)["State"].get("Health")


def becomes(docker: DockerCLI, cid: str, status: str) -> Any:
    """Its health, once it has this status."""
    return until(lambda: (found := health(docker, cid))["Status"] == status and found, what=status)


def statuses(http: Http, cid: str) -> list[str]:
    """What was told of its health."""
    return [action for action in actions(http, cid) if action.startswith("health_status")]


def test_health_goes_from_starting_to_healthy_to_unhealthy_and_back(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--name", "ill", *WELL, "busybox", "sleep", "600")
    assert health(docker, cid)["Status"] in ("starting", "unhealthy")
    found = becomes(docker, cid, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert (found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (1, "")
    assert docker.out("ps", "--format", "{{.Status}}").endswith("(unhealthy)")
    docker("exec", cid, "touch", "/well")
    assert becomes(docker, cid, "healthy")["FailingStreak"] == 0
    assert docker.out("ps", "--format", "{{.Status}}").endswith("(healthy)")
    assert docker.out("ps", "-q", "--no-trunc", "--filter", "health=healthy") == cid
    assert docker.out("ps", "-q", "--filter", "health=none") == ""
    assert statuses(http, cid) == ["health_status: unhealthy", "health_status: healthy"]
    docker("kill", cid)
    assert health(docker, cid)["Status"] == "unhealthy"


def test_the_log_of_a_check_that_was_never_made_is_empty_and_not_null(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--health-cmd", "true", "--health-interval", "1h", "busybox", "sleep", "600")
    assert health(docker, cid) == {"Status": "starting", "FailingStreak": 0, "Log": []}


def test_each_probe_is_an_exec_that_is_told(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--health-cmd", "echo fine", *FAST, "busybox", "sleep", "600")
    found = until(lambda: (log := health(docker, cid)["Log"]) and len(log) == 5 and log, what="five probes")
    assert {(probe["ExitCode"], probe["Output"]) for probe in found} == {(0, "fine\n")}
    assert [probe["Start"] for probe in found] == sorted(probe["Start"] for probe in found)
    assert all(probe["Start"] < probe["End"] for probe in found)
    events = list(told(http, cid))
    first = next(number for number, (action, _) in enumerate(events) if action.startswith("exec_create"))
    names, attributes = zip(*events[first : first + 4], strict=True)
    assert list(names) == [
        "exec_create: /bin/sh -c echo fine",
        "exec_start: /bin/sh -c echo fine",
        "exec_die",
        "health_status: healthy",
    ]
    assert len({each["execID"] for each in attributes[:3]}) == 1
    assert attributes[2]["exitCode"] == "0"


@pytest.mark.beyond_dockerd
def test_what_takes_too_long_is_ended_with_all_it_started(docker: DockerCLI) -> None:
    script = "echo so far; sleep 4711; true"
    cid = docker.run(
        "-d", "--health-cmd", script, "--health-timeout", "200ms", *FAST, "busybox", "sleep", "600"
    )
    found = becomes(docker, cid, "unhealthy")
    assert {probe["ExitCode"] for probe in found["Log"]} == {-1}
    assert found["Log"][0]["Output"] == "Health check exceeded timeout (200ms): so far\n"
    until(lambda: len(health(docker, cid)["Log"]) == 5, what="five probes")
    shown = docker.out("top", cid, "-eo", "pid,stat,args")
    assert shown.count("4711") <= 3, shown  # one probe: the shell twice in its words, and its child
    assert "Z" not in {line.split()[1][0] for line in shown.splitlines()[1:]}, shown


def test_a_probe_that_cannot_be_started_is_a_failure(docker: DockerCLI, http: Http) -> None:
    check = {"Test": ["CMD", "nosuch"], "Interval": 100_000_000, "Retries": 1}
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "Healthcheck": check}
    cid = http.ok("POST", "/containers/create", body)["Id"]
    http.ok("POST", f"/containers/{cid}/start")
    probe = becomes(docker, cid, "unhealthy")["Log"][0]
    assert probe["ExitCode"] == -1
    assert 'exec: "nosuch": executable file not found in $PATH' in probe["Output"]


def test_much_output_is_cut(docker: DockerCLI) -> None:
    cid = docker.run(
        "-d", "--health-cmd", "head -c 300000 /dev/zero | tr '\\0' x", *FAST, "busybox", "sleep", "600"
    )
    assert becomes(docker, cid, "healthy")["Log"][0]["Output"] == "x" * 4096 + "..."


def test_failures_do_not_count_in_the_start_period(docker: DockerCLI) -> None:
    cid = docker.run("-d", *WELL, "--health-start-period", "60s", "busybox", "sleep", "600")
    found = until(lambda: (log := health(docker, cid)["Log"]) and len(log) >= 4, what="four probes")
    assert found
    assert (health(docker, cid)["Status"], health(docker, cid)["FailingStreak"]) == ("starting", 0)
    assert docker.out("ps", "--format", "{{.Status}}").endswith("(health: starting)")


@pytest.mark.beyond_dockerd
def test_in_the_start_period_it_is_probed_as_often_as_the_start_interval_says(
    docker: DockerCLI, http: Http
) -> None:
    check = {"Test": ["CMD", "test", "-e", "/well"], "Interval": 3600 * 10**9, "StartPeriod": 600 * 10**9}
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "600"],
        "Healthcheck": {**check, "StartInterval": 50_000_000},
    }
    newest = Http(http.socket, prefix="/v1.44")
    cid = newest.ok("POST", "/containers/create", body)["Id"]
    docker("start", cid)
    until(lambda: len(health(docker, cid)["Log"]) >= 2, what="two probes, which an hour lies between else")
    docker("exec", cid, "touch", "/well")
    becomes(docker, cid, "healthy")


def test_a_frozen_container_is_not_probed(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--health-cmd", "true", *FAST, "busybox", "sleep", "600")
    becomes(docker, cid, "healthy")
    docker("pause", cid)
    before = health(docker, cid)["Log"]
    assert docker.out("ps", "--format", "{{.Status}}").endswith("(Paused)")
    docker("run", "--rm", "busybox", "sleep", "0.4")
    assert health(docker, cid)["Log"] == before
    docker("unpause", cid)
    until(lambda: health(docker, cid)["Log"] != before, what="another probe")


@pytest.mark.beyond_dockerd
def test_health_outlives_a_killed_engine(docker: DockerCLI, http: Http, engine: Daemon) -> None:
    cid = docker.run("-d", "--health-cmd", "true", *FAST, "busybox", "sleep", "600")
    becomes(docker, cid, "healthy")
    engine.restart_killed()
    found = health(docker, cid)
    assert found["Status"] == "healthy"
    until(lambda: health(docker, cid)["Log"][-1]["Start"] > found["Log"][-1]["End"], what="another probe")
    assert statuses(http, cid) == ["health_status: healthy"]


@pytest.mark.beyond_dockerd
def test_a_probe_that_lost_its_engine_is_ended_by_the_next(
    docker: DockerCLI, http: Http, engine: Daemon
) -> None:
    cid = docker.run("-d", "--health-cmd", "sleep 4711; true", *FAST, "busybox", "sleep", "600")
    probe = "exec_start: /bin/sh -c sleep 4711; true"
    until(lambda: probe in actions(http, cid), what="a probe")
    docker("exec", "-d", cid, "sleep", "815")
    killed_at = time.time()
    engine.restart_killed()
    until(lambda: probe in actions(http, cid, killed_at), what="another probe")
    shown = docker.out("top", cid, "-eo", "pid,args")
    assert shown.count("sleep 4711") <= 2, shown  # the new one: the shell, and perhaps its child by now
    assert shown.count("sleep 815") == 1


def test_a_new_run_starts_anew(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--health-cmd", "true", *FAST, "busybox", "sleep", "600")
    becomes(docker, cid, "healthy")
    docker("restart", "-t", "0", cid)
    becomes(docker, cid, "healthy")
    assert statuses(http, cid) == ["health_status: healthy"] * 2


def test_the_images_check_is_inherited_field_by_field(docker: DockerCLI) -> None:
    check = {"Test": ["CMD-SHELL", "echo of the image"], "Interval": 3600 * 10**9, "Retries": 7}
    docker("load", stdin=saved(["checked:1"], Healthcheck=check, Shell=["/bin/ash", "-ec"]))
    cid = docker.run("-d", "--health-interval", "100ms", "checked:1", "sleep", "600")
    assert becomes(docker, cid, "healthy")["Log"][0]["Output"] == "of the image\n"
    shown = docker.inspect(cid)["Config"]["Healthcheck"]
    assert shown == {**check, "Interval": 100_000_000}
    off = docker.run("-d", "--no-healthcheck", "checked:1", "sleep", "600")
    assert health(docker, off) is None


def test_without_a_check_nothing_is_shown(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--no-healthcheck", "busybox", "sleep", "600")
    assert health(docker, cid) is None
    assert docker.inspect(cid)["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert not re.search("health", docker.out("ps", "--format", "{{.Status}}"))
    assert docker.out("ps", "-q", "--no-trunc", "--filter", "health=none") == cid
    made = docker.out("create", "--health-cmd", "true", BUSYBOX)
    assert health(docker, made) is None
