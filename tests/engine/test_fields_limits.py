"""HostConfig's limits, read where they act: in the files of the container's own cgroup, from inside."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.inside import inside, made, refused, running

pytestmark = pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory").exists(), reason="the files are those of cgroup v1"
)
MIB = 1 << 20
DISK = next((path.name for path in Path("/sys/block").glob("[vsx]*d[a-z]")), "")
NUMBERS = (Path("/sys/block") / DISK / "dev").read_text().strip() if DISK else ""


def of_disk(value: int) -> list[dict[str, Any]]:
    return [{"Path": f"/dev/{DISK}", "Rate": value}]


FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "Memory": ({"Memory": 64 * MIB}, "memory/memory.limit_in_bytes", str(64 * MIB)),
    "MemorySwap": (
        {"Memory": 64 * MIB, "MemorySwap": 96 * MIB},
        "memory/memory.memsw.limit_in_bytes",
        str(96 * MIB),
    ),
    "MemorySwap, twice the memory by default": (
        {"Memory": 64 * MIB},
        "memory/memory.memsw.limit_in_bytes",
        str(128 * MIB),
    ),
    "MemorySwap, without limit": (
        {"Memory": 64 * MIB, "MemorySwap": -1},
        "memory/memory.memsw.limit_in_bytes",
        "9223372036854771712",
    ),
    "MemoryReservation": (
        {"MemoryReservation": 32 * MIB},
        "memory/memory.soft_limit_in_bytes",
        str(32 * MIB),
    ),
    "MemorySwappiness": ({"MemorySwappiness": 7}, "memory/memory.swappiness", "7"),
    "MemorySwappiness, none at all": ({"MemorySwappiness": 0}, "memory/memory.swappiness", "0"),
    "OomKillDisable": (
        {"Memory": 64 * MIB, "OomKillDisable": True},
        "memory/memory.oom_control",
        r"oom_kill_disable 1\n.*",
    ),
    "CpuShares": ({"CpuShares": 300}, "cpu/cpu.shares", "300"),
    "CpuPeriod": ({"CpuPeriod": 50000}, "cpu/cpu.cfs_period_us", "50000"),
    "CpuQuota": ({"CpuQuota": 20000}, "cpu/cpu.cfs_quota_us", "20000"),
    "NanoCpus": ({"NanoCpus": 500_000_000}, "cpu/cpu.cfs_quota_us", "50000"),
    "CpusetCpus": ({"CpusetCpus": "0"}, "cpuset/cpuset.cpus", "0"),
    "CpusetMems": ({"CpusetMems": "0"}, "cpuset/cpuset.mems", "0"),
    "CpuRealtimeRuntime": ({"CpuRealtimeRuntime": 5000}, "cpu/cpu.rt_runtime_us", "5000"),
    "CpuRealtimePeriod": (
        {"CpuRealtimePeriod": 500000, "CpuRealtimeRuntime": 4000},
        "cpu/cpu.rt_period_us",
        "500000",
    ),
    "PidsLimit": ({"PidsLimit": 9}, "pids/pids.max", "9"),
    "PidsLimit, without limit": ({"PidsLimit": -1}, "pids/pids.max", "max"),
    "BlkioDeviceReadBps": (
        {"BlkioDeviceReadBps": of_disk(MIB)},
        "blkio/blkio.throttle.read_bps_device",
        f"{NUMBERS} {MIB}",
    ),
    "BlkioDeviceWriteBps": (
        {"BlkioDeviceWriteBps": of_disk(MIB)},
        "blkio/blkio.throttle.write_bps_device",
        f"{NUMBERS} {MIB}",
    ),
    "BlkioDeviceReadIOps": (
        {"BlkioDeviceReadIOps": of_disk(50)},
        "blkio/blkio.throttle.read_iops_device",
        f"{NUMBERS} 50",
    ),
    "BlkioDeviceWriteIOps": (
        {"BlkioDeviceWriteIOps": of_disk(50)},
        "blkio/blkio.throttle.write_iops_device",
        f"{NUMBERS} 50",
    ),
}


@pytest.mark.parametrize(("host", "file", "text"), FILES.values(), ids=FILES)
def test_a_limit_is_in_the_kernel(http: Http, host: dict[str, Any], file: str, text: str) -> None:
    assert re.fullmatch(text, inside(http, f"cat /sys/fs/cgroup/{file}", host), re.DOTALL)


def test_cpuset_cpus_leaves_one_processor(http: Http) -> None:
    assert inside(http, "grep Cpus_allowed_list /proc/self/status; nproc", {"CpusetCpus": "1"}).split()[
        1:
    ] == [
        "1",
        "1",
    ]


def test_pids_limit_holds_a_fork_bomb(http: Http) -> None:
    told = inside(http, "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done; wait", {"PidsLimit": 5})
    assert "can't fork" in told


def test_memory_ends_who_takes_more(http: Http) -> None:
    assert "Killed" in inside(http, "(tail /dev/zero); true", {"Memory": 8 * MIB, "MemorySwap": 8 * MIB})


def test_cgroup_parent_is_above_the_containers_cgroup(http: Http, engine: Daemon) -> None:
    parent = f"/{engine.cgroup_parent}/deeper"
    assert f"memory:{parent}/" in inside(http, "cat /proc/self/cgroup", {"CgroupParent": parent})
    for made_for_it in Path("/sys/fs/cgroup").glob(
        f"*{parent}"
    ):  # it stays, as with dockerd: it may be shared
        made_for_it.rmdir()


@pytest.mark.beyond_dockerd
def test_kernel_memory_is_kept_and_said_to_limit_nothing(http: Http) -> None:
    body = {"Image": "busybox", "HostConfig": {"KernelMemory": 64 * MIB}}
    answer = http.ok("POST", "/containers/create", body)
    assert "KernelMemory" in answer["Warnings"][0]
    shown = http.ok("GET", f"/containers/{answer['Id']}/json")["HostConfig"]
    assert shown["KernelMemory"] == 64 * MIB


def test_blkio_weight_is_set_or_said_not_to_be(http: Http) -> None:
    body = {"Image": "busybox", "HostConfig": {"BlkioWeight": 300}}
    answer = http.ok("POST", "/containers/create", body)
    if answer["Warnings"]:
        assert answer["Warnings"] == [
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
        ]
        assert http.ok("GET", f"/containers/{answer['Id']}/json")["HostConfig"]["BlkioWeight"] == 0
    else:
        assert "300" in inside(http, "cat /sys/fs/cgroup/blkio/blkio*.weight", {"BlkioWeight": 300})


def test_blkio_weight_of_a_device_is_set_or_said_not_to_be(http: Http) -> None:
    host = {"BlkioWeightDevice": [{"Path": f"/dev/{DISK}", "Weight": 300}]}
    answer = http.ok("POST", "/containers/create", {"Image": "busybox", "HostConfig": host})
    if answer["Warnings"]:
        assert "does not support Block I/O weight_device" in answer["Warnings"][0]
    else:
        assert f"{NUMBERS} 300" in inside(http, "cat /sys/fs/cgroup/blkio/blkio*.weight_device", host)


def test_limits_come_back_with_the_next_start(http: Http, docker: DockerCLI) -> None:
    cid = running(http, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes", {"Memory": 64 * MIB})
    docker("wait", cid)
    docker("start", cid)
    docker("wait", cid)
    assert docker.out("logs", cid).split() == [str(64 * MIB)] * 2


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Memory": ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
    "MemorySwap, less than memory": (
        {"Memory": 64 * MIB, "MemorySwap": 32 * MIB},
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    "MemorySwap, without memory": (
        {"MemorySwap": 32 * MIB},
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    ),
    "MemorySwap, less than none": (
        {"Memory": 64 * MIB, "MemorySwap": -2},
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    "MemorySwappiness": (
        {"MemorySwappiness": 101},
        "Invalid value: 101, valid memory swappiness range is 0-100",
    ),
    "MemoryReservation": (
        {"Memory": 64 * MIB, "MemoryReservation": 96 * MIB},
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    "NanoCpus": (
        {"NanoCpus": 10**12},
        "Range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available",
    ),
    "NanoCpus and CpuQuota": (
        {"NanoCpus": 10**9, "CpuQuota": 5000},
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    ),
    "CpuPeriod": (
        {"CpuPeriod": 5},
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    "CpuQuota": ({"CpuQuota": 5}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    "CpuQuota, less than none": ({"CpuQuota": -5}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    "CpuRealtimeRuntime": (
        {"CpuRealtimePeriod": 1000, "CpuRealtimeRuntime": 2000},
        "cpu real-time runtime cannot be higher than cpu real-time period",
    ),
    "CpusetCpus": (
        {"CpusetCpus": "0-99"},
        "Requested CPUs are not available - requested 0-99, available: {cpus}",
    ),
    "CpusetCpus, no list": ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
    "BlkioDeviceReadBps": (
        {"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 1}]},
        "stat /dev/nope: no such file or directory",
    ),
    "BlkioDeviceWriteIOps": (
        {"BlkioDeviceWriteIOps": of_disk(-1)},
        f"a rate cannot be negative: -1 of /dev/{DISK}",
    ),
    "IOMaximumIOps": (
        {"IOMaximumIOps": 5},
        "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
    ),
    "IOMaximumBandwidth": (
        {"IOMaximumBandwidth": 5},
        "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
    ),
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("host", "text"), REFUSED.values(), ids=REFUSED)
def test_a_limit_that_cannot_be_is_refused(http: Http, host: dict[str, Any], text: str) -> None:
    info = http.ok("GET", "/info")
    cpus = Path("/sys/fs/cgroup/cpuset/cpuset.cpus").read_text().strip()
    assert refused(http, host) == (400, text.format(n=info["NCPU"], cpus=cpus))


DISCARDED = {
    "CpuCount": "linux does not support CPU count. Count discarded.",
    "CpuPercent": "linux does not support CPU percent. Percent discarded.",
    "DiskQuota": "linux does not support a disk quota. Quota discarded.",
    "KernelMemoryTCP": "KernelMemoryTCP is kept but limits nothing: no runtime sets it any more.",
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("field", "warning"), DISCARDED.items())
def test_a_limit_that_no_kernel_has_is_said_to_limit_nothing(http: Http, field: str, warning: str) -> None:
    newer = Http(http.socket, prefix="/v1.40")
    answer = newer.ok("POST", "/containers/create", {"Image": "busybox", "HostConfig": {field: 5}})
    assert answer["Warnings"] == [warning]


def test_oom_kill_disable_without_a_limit_is_warned_of(http: Http) -> None:
    answer = http.ok(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"OomKillDisable": True}}
    )
    assert "no memory limit is set" in answer["Warnings"][0]
    assert made(http, "true", {"OomKillDisable": False})
