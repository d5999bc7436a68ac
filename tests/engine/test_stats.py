"""stats: what a container uses, told at once and once a second."""

import json
import time
from http.client import HTTPResponse
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.waiting import until

BUSY = ("busybox", "sh", "-c", "while :; do :; done")
ZERO = "0001-01-01T00:00:00Z"


def once(http: Http, name: str) -> Any:
    return http.ok("GET", f"/containers/{name}/stats?stream=0")


def percent(told: Any) -> float:
    """The load as the docker command computes it."""
    now, before = told["cpu_stats"], told["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    system = now["system_cpu_usage"] - before["system_cpu_usage"]
    return float(used / system * now["online_cpus"] * 100)


@pytest.mark.beyond_dockerd
def test_one_sample_is_told_at_once_and_has_something_to_compare_with(docker: DockerCLI, http: Http) -> None:
    docker.run("-d", "--name", "busy", "--cpus", "0.5", *BUSY)
    until(lambda: once(http, "busy")["cpu_stats"]["cpu_usage"]["total_usage"] > 3e8, what="some use")
    asked = time.monotonic()
    told = once(http, "busy")
    assert time.monotonic() - asked < 0.9  # dockerd: a second at least
    assert 1 < percent(told) < 75  # of a machine that others use too
    assert told["cpu_stats"]["throttling_data"]["periods"] > 0
    assert ZERO < told["preread"] < told["read"]


def test_each_number_is_what_the_container_uses(docker: DockerCLI, http: Http) -> None:
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; ping -c 2 -i 0.1 172.17.0.1; sleep 600"
    cid = docker.run("-d", "-m", "64m", "--pids-limit", "7", "busybox", "sh", "-c", script)
    until(lambda: once(http, cid)["networks"]["eth0"]["tx_packets"] >= 2, what="two packets")
    told = once(http, cid)
    assert (told["id"], told["name"]) == (cid, docker.inspect(cid)["Name"])
    assert told["pids_stats"] in ({"current": 1, "limit": 7}, {"current": 2, "limit": 7})
    assert told["memory_stats"]["limit"] == 64 << 20
    assert 20 << 20 < told["memory_stats"]["usage"] <= told["memory_stats"]["max_usage"] < 64 << 20
    assert told["networks"]["eth0"]["tx_bytes"] > 100
    assert list(told["networks"]) == ["eth0"]
    cpu = told["cpu_stats"]["cpu_usage"]
    assert cpu["total_usage"] == pytest.approx(sum(cpu["percpu_usage"]))


@pytest.mark.parametrize("network", ["host", "none"])
def test_without_a_network_of_its_own_no_links_are_told(network: str, docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--network", network, "busybox", "sleep", "600")
    assert "networks" not in once(http, cid)


def test_the_network_of_another_container_is_told_too(docker: DockerCLI, http: Http) -> None:
    docker.run("-d", "--name", "owner", "busybox", "sleep", "600")
    cid = docker.run("-d", "--network", "container:owner", "busybox", "sleep", "600")
    assert list(once(http, cid)["networks"]) == ["eth0"]


def test_nothing_is_told_of_a_container_that_rests(docker: DockerCLI, http: Http) -> None:
    cid = docker.out("create", "--name", "rests", "busybox")
    assert http("GET", f"/containers/{cid}/stats?stream=0").body == (
        b'{"read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},'
        b'"blkio_stats":{"io_service_bytes_recursive":null,"io_serviced_recursive":null,'
        b'"io_queue_recursive":null,"io_service_time_recursive":null,"io_wait_time_recursive":null,'
        b'"io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},"num_procs":0,'
        b'"storage_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,'
        b'"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},'
        b'"precpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},'
        b'"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"memory_stats":{},'
        b'"name":"/rests","id":"' + cid.encode() + b'"}\n'
    )


def test_nobody_is_not_found(http: Http) -> None:
    for query in ("", "?stream=0"):
        answer = http("GET", f"/containers/nope/stats{query}")
        assert (answer.status, answer.json) == (404, {"message": "No such container: nope"})


def following(stream: HTTPResponse) -> Any:
    return json.loads(stream.readline())


def test_a_stream_goes_on_while_the_container_rests_and_ends_with_it(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    streams = [http.stream("GET", f"/containers/{cid}/stats") for _ in range(3)]
    first = [following(stream) for stream in streams]
    assert all(told["pids_stats"]["current"] == 1 for told in first)
    docker("kill", cid)
    until(lambda: following(streams[0])["read"] == ZERO, what="the rest to be told")
    docker("start", cid)
    until(lambda: following(streams[1])["read"] != ZERO, what="the new run to be told")
    docker("rm", "-f", cid)
    for stream in streams:
        stream.read()  # to its end, which has to come
        assert stream.isclosed()


def test_the_command_shows_a_table(docker: DockerCLI, engine: Daemon) -> None:
    docker.run("-d", "--name", "one", "busybox", "sleep", "600")
    shown = docker.out("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}} {{.CPUPerc}}")
    name, pids, *_, load = shown.split()
    assert (name, pids, load[-1]) == ("one", "1", "%")
    with docker.spawn("stats", "--format", "{{.Name}}") as watching:
        assert watching.stdout
        assert b"one" in watching.stdout.readline()
