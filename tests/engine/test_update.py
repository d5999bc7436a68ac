"""update: limits and the restart policy of a container change while it runs, and after."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.http import Http

MIB = 1 << 20
SLEEPER = ("busybox", "sleep", "600")


def cgroup(docker: DockerCLI, cid: str, controller: str) -> Path:
    """The directory of a running container's cgroup."""
    pid = docker.inspect(cid)["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path("/sys/fs/cgroup") / controller / path.lstrip("/")
    raise AssertionError(f"no cgroup of {controller}")


def file(docker: DockerCLI, cid: str, name: str) -> str:
    """A file of the cgroup: its first word names the controller, but for cpu's time."""
    return (cgroup(docker, cid, name.partition(".")[0]) / name).read_text().strip()


def change(http: Http, cid: str, body: Any) -> Any:
    return http.ok("POST", f"/containers/{cid}/update", body)


def test_limits_change_while_it_runs(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "-m", "64m", *SLEEPER)
    docker("update", "-m", "96m", "--memory-swap", "128m", "--memory-reservation", "32m", cid)
    docker("update", "--cpu-shares", "256", "--cpu-period", "20000", "--cpu-quota", "5000", cid)
    docker("update", "--cpuset-cpus", "0", "--cpuset-mems", "0", cid)
    told = {
        name: file(docker, cid, name)
        for name in (
            *("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"),
            *("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpuset.cpus", "cpuset.mems"),
        )
    }
    assert told == {
        "memory.limit_in_bytes": str(96 * MIB),
        "memory.memsw.limit_in_bytes": str(128 * MIB),
        "memory.soft_limit_in_bytes": str(32 * MIB),
        "cpu.shares": "256",
        "cpu.cfs_period_us": "20000",
        "cpu.cfs_quota_us": "5000",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
    }
    shown = docker.inspect(cid)["HostConfig"]
    assert (shown["Memory"], shown["MemorySwap"], shown["CpuShares"]) == (96 * MIB, 128 * MIB, 256)
    docker("restart", "-t", "0", cid)
    assert file(docker, cid, "memory.limit_in_bytes") == str(96 * MIB)


@pytest.mark.beyond_dockerd
def test_limits_that_the_command_has_no_option_for_change_too(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", *SLEEPER)
    device = next(Path("/sys/block").glob("[vs]d*")).name
    numbers = (Path("/sys/block") / device / "dev").read_text().strip()
    rate = [{"Path": f"/dev/{device}", "Rate": MIB}]
    change(http, cid, {"NanoCpus": 250_000_000, "MemorySwappiness": 3, "OomKillDisable": True})
    change(http, cid, {"BlkioDeviceReadBps": rate, "BlkioDeviceWriteIOps": rate})
    assert file(docker, cid, "cpu.cfs_quota_us") == "25000"
    assert file(docker, cid, "memory.swappiness") == "3"
    assert "oom_kill_disable 1" in file(docker, cid, "memory.oom_control")
    assert file(docker, cid, "blkio.throttle.read_bps_device") == f"{numbers} {MIB}"
    change(http, cid, {"BlkioDeviceReadBps": [], "OomKillDisable": False})
    assert file(docker, cid, "blkio.throttle.read_bps_device") == ""
    assert file(docker, cid, "blkio.throttle.write_iops_device") == f"{numbers} {MIB}"


CHANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "Memory": ({"Memory": 96 * MIB, "MemorySwap": 128 * MIB}, "memory/memory.limit_in_bytes", str(96 * MIB)),
    "MemorySwap": ({"MemorySwap": 160 * MIB}, "memory/memory.memsw.limit_in_bytes", str(160 * MIB)),
    "MemoryReservation": (
        {"MemoryReservation": 32 * MIB},
        "memory/memory.soft_limit_in_bytes",
        str(32 * MIB),
    ),
    "MemorySwappiness": ({"MemorySwappiness": 3}, "memory/memory.swappiness", "3"),
    "OomKillDisable": ({"OomKillDisable": True}, "memory/memory.oom_control", "oom_kill_disable 1"),
    "CpuShares": ({"CpuShares": 256}, "cpu/cpu.shares", "256"),
    "CpuPeriod": ({"CpuPeriod": 20000}, "cpu/cpu.cfs_period_us", "20000"),
    "CpuQuota": ({"CpuQuota": 5000}, "cpu/cpu.cfs_quota_us", "5000"),
    "CpusetCpus": ({"CpusetCpus": "1"}, "cpuset/cpuset.cpus", "1"),
    "CpusetMems": ({"CpusetMems": "0"}, "cpuset/cpuset.mems", "0"),
    "CpuRealtimePeriod": ({"CpuRealtimePeriod": 500000}, "cpu/cpu.rt_period_us", "500000"),
    "CpuRealtimeRuntime": ({"CpuRealtimeRuntime": 4000}, "cpu/cpu.rt_runtime_us", "4000"),
    "PidsLimit": ({"PidsLimit": 33}, "pids/pids.max", "33"),
}


@pytest.mark.beyond_dockerd
def test_each_limit_of_a_running_container_changes_under_its_eyes(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "-m", "64m", *SLEEPER)
    newest = Http(http.socket, prefix="/v1.44")
    for body, _, _ in CHANGES.values():
        change(newest, cid, body)
    files = [f"/sys/fs/cgroup/{file}" for _, file, _ in CHANGES.values()]
    told = docker.out("exec", cid, "head", "-qn1", *files).splitlines()
    assert dict(zip(CHANGES, told, strict=True)) == {name: text for name, (_, _, text) in CHANGES.items()}


def test_before_1_40_the_limit_of_processes_stays(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "--pids-limit", "50", *SLEEPER)
    change(http, cid, {"PidsLimit": 7})
    assert file(docker, cid, "pids.max") == "50"


@pytest.mark.beyond_dockerd
def test_a_change_that_the_kernel_refuses_leaves_everything(docker: DockerCLI, http: Http) -> None:
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null && echo up && sleep 600"
    cid = docker.run("-d", "-m", "64m", "--memory-swap", "64m", "busybox", "sh", "-c", script)
    with docker.spawn("logs", "-f", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"up\n"
        follower.kill()
    wish = {"CpuShares": 77, "Memory": 8 * MIB, "MemorySwap": 8 * MIB}
    answer = http("POST", f"/containers/{cid}/update", wish)
    assert answer.status == 409
    assert f"Cannot update container {cid}: " in answer.json["message"]
    told = {name: file(docker, cid, name) for name in ("memory.limit_in_bytes", "cpu.shares")}
    assert told == {"memory.limit_in_bytes": str(64 * MIB), "cpu.shares": "1024"}
    assert docker.inspect(cid)["HostConfig"]["CpuShares"] == 0


def test_what_rests_has_its_limits_at_the_next_start(docker: DockerCLI) -> None:
    cid = docker.out("create", *SLEEPER)
    docker("update", "--cpu-shares", "300", cid)
    docker("start", cid)
    assert file(docker, cid, "cpu.shares") == "300"
    docker("pause", cid)
    docker("update", "--cpu-shares", "400", cid)
    assert file(docker, cid, "cpu.shares") == "400"
    docker("unpause", cid)


@pytest.mark.beyond_dockerd
def test_what_a_start_sets_changes_while_it_rests(docker: DockerCLI, http: Http) -> None:
    cid = docker.out("create", "busybox", "sh", "-c", "ulimit -n")
    change(http, cid, {"Ulimits": [{"Name": "nofile", "Soft": 123, "Hard": 321}]})
    assert docker.out("start", "-a", cid) == "123"


def test_refusals_are_in_dockers_words(docker: DockerCLI, http: Http) -> None:
    cid = docker.out("create", "-m", "64m", "--rm", *SLEEPER)
    for body, status, text in (
        ({"Memory": 1}, 400, "Minimum memory limit allowed is 6MB"),
        ({"RestartPolicy": {"Name": "foo"}}, 400, "invalid restart policy 'foo'"),
        (
            {"Memory": 300 * MIB},
            409,
            f"Cannot update container {cid}: Memory limit should be smaller than already set memoryswap "
            "limit, update the memoryswap at the same time",
        ),
        (
            {"RestartPolicy": {"Name": "always"}},
            409,
            f"Cannot update container {cid}: Restart policy cannot be updated because AutoRemove is enabled "
            "for the container",
        ),
    ):
        answer = http("POST", f"/containers/{cid}/update", body)
        assert (answer.status, answer.json) == (status, {"message": text})
    assert http("POST", "/containers/nope/update", {"CpuShares": 5}).status == 404


@pytest.mark.beyond_dockerd
def test_what_only_a_start_sets_is_refused_while_it_runs(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", *SLEEPER)
    wishes: dict[str, Any] = {
        "Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 9}],
        "DeviceCgroupRules": ["c 1:11 rwm"],
        "Devices": [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "r"}],
        "CgroupParent": "/elsewhere",
    }
    for name, value in wishes.items():
        answer = http("POST", f"/containers/{cid}/update", {name: value})
        text = f"{name} cannot be changed while the container runs: stop it first"
        assert (answer.status, answer.json["message"]) == (409, f"Cannot update container {cid}: {text}")
    answer = http("POST", f"/containers/{cid}/update", {"DeviceRequests": [{"Count": -1}]})
    assert (answer.status, "DeviceRequests cannot be changed" in answer.json["message"]) == (400, True)


def test_a_restart_policy_changes_what_comes_after(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", "busybox", "sh", "-c", "test -e /again && sleep 600; touch /again; sleep 0.3")
    with docker.spawn("events", "--filter", "event=update", "--filter", "event=start") as told:
        assert http.ok("POST", f"/containers/{cid}/update", {"RestartPolicy": {"Name": "always"}}) == {
            "Warnings": None
        }
        assert told.stdout
        assert b"container start " in next(line for line in told.stdout if b" update " not in line)
        told.kill()
    shown = docker.inspect(cid)
    assert (shown["State"]["Running"], shown["RestartCount"]) == (True, 1)
    assert json.dumps(shown["HostConfig"]["RestartPolicy"]) == '{"Name": "always", "MaximumRetryCount": 0}'
