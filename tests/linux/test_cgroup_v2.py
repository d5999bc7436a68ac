"""v2 by files: a tree as cgroupfs has it for the readers, and the real v2 mount of a hybrid if there is one.

That mount has no controllers, so limits are proven as the texts that would be written.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.linux.cgroup import BlkioEntry, Layout, Limits, PidsStats, Stats, Throttles
from lighterman.linux.cgroup.v2 import CgroupV2, cpu_weight, device_writes, io_weight, limit_writes
from lighterman.linux.host import probe_host

FILES = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"
    "nr_periods 7\nnr_throttled 3\nthrottled_usec 9\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "max\n",
    "memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\n",
    "memory.stat": "anon 100\nfile 200\ninactive_file 50\n",
    "pids.current": "2\n",
    "pids.max": "64\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    "cgroup.procs": "12\n3\n",
    "cgroup.freeze": "1\n",
}


def tree(root: Path, files: dict[str, str]) -> CgroupV2:
    """A cgroup "/docker/c" with these files, in a layout of its own."""
    (root / "docker/c/inner").mkdir(parents=True)
    for name, text in files.items():
        (root / "docker/c" / name).write_text(text)
    (root / "docker/c/inner/cgroup.procs").write_text("40\n")
    return CgroupV2(Layout("v2", {}, root, frozenset()), "/docker/c")


def test_counters_are_read_in_ns_and_bytes(tmp_path: Path) -> None:
    stats = tree(tmp_path, FILES).stats()
    assert (stats.cpu.usage_ns, stats.cpu.user_ns, stats.cpu.system_ns) == (1_500_000, 1_000_000, 500_000)
    assert (stats.cpu.periods, stats.cpu.throttled_periods, stats.cpu.throttled_ns) == (7, 3, 9000)
    assert (stats.memory.usage_bytes, stats.memory.max_usage_bytes, stats.memory.limit_bytes) == (
        4096,
        8192,
        None,
    )
    assert (stats.memory.failures, stats.memory.stat["inactive_file"]) == (2, 50)
    assert stats.pids == PidsStats(2, 64)
    assert stats.blkio.service_bytes[:2] == (BlkioEntry(8, 0, "read", 10), BlkioEntry(8, 0, "write", 20))
    assert stats.blkio.serviced[:2] == (BlkioEntry(8, 0, "read", 1), BlkioEntry(8, 0, "write", 2))


def test_controllers_that_are_off_count_nothing(tmp_path: Path) -> None:
    cgroup = tree(tmp_path, {"cpu.stat": "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"})
    assert cgroup.stats().memory == Stats().memory
    assert cgroup.stats().pids == PidsStats(0, None)
    assert cgroup.oom_kills() == 0


def test_pids_are_those_of_the_whole_tree(tmp_path: Path) -> None:
    assert tree(tmp_path, FILES).pids() == [3, 12, 40]


def test_oom_kills_and_freezing_are_told_by_their_files(tmp_path: Path) -> None:
    cgroup = tree(tmp_path, FILES)
    assert (cgroup.oom_kills(), cgroup.frozen()) == (1, True)


def test_what_is_not_there_is_empty_and_removed_already(tmp_path: Path) -> None:
    cgroup = CgroupV2(Layout("v2", {}, tmp_path, frozenset()), "/docker/gone")
    assert (cgroup.exists(), cgroup.pids(), cgroup.frozen(), cgroup.oom_kills()) == (False, [], False, 0)
    cgroup.remove()
    with pytest.raises(FileNotFoundError):
        cgroup.stats()


MIB = 1 << 20
LIMITS = [
    (Limits(), {}, []),
    (Limits(memory_bytes=64 * MIB), {}, [("memory.max", "67108864")]),
    (
        Limits(memory_bytes=64 * MIB, memory_swap_bytes=96 * MIB),
        {},
        [("memory.max", "67108864"), ("memory.swap.max", "33554432")],
    ),
    (Limits(memory_swap_bytes=96 * MIB), {"memory.max": "67108864"}, [("memory.swap.max", "33554432")]),
    (Limits(memory_swap_bytes=96 * MIB), {"memory.max": "max"}, []),
    (
        Limits(memory_bytes=-1, memory_swap_bytes=-1),
        {},
        [("memory.max", "max"), ("memory.swap.max", "max")],
    ),
    (Limits(memory_reservation_bytes=MIB), {}, [("memory.low", "1048576")]),
    (Limits(cpu_quota_us=50000), {"cpu.max": "max 20000"}, [("cpu.max", "50000 20000")]),
    (Limits(cpu_period_us=50000), {"cpu.max": "10000 20000"}, [("cpu.max", "10000 50000")]),
    (Limits(cpu_quota_us=-1), {}, [("cpu.max", "max 100000")]),
    (Limits(cpu_shares=1024), {}, [("cpu.weight", "39")]),
    (Limits(cpuset_cpus="0-1"), {}, [("cpuset.cpus", "0-1")]),
    (Limits(pids=-1), {}, [("pids.max", "max")]),
    (Limits(blkio_weight=500), {}, [("io.weight", "4950")]),
]


@pytest.mark.parametrize(("limits", "now", "writes"), LIMITS)
def test_limits_are_said_in_the_files_of_v2(
    limits: Limits, now: dict[str, str], writes: list[tuple[str, str]]
) -> None:
    assert limit_writes(limits, now, "io.weight") == writes


def test_bfq_has_v1s_weights() -> None:
    assert limit_writes(Limits(blkio_weight=500), {}, "io.bfq.weight") == [("io.bfq.weight", "500")]


DEVICE_LIMITS = [
    (Limits(throttles=Throttles(read_bps={"8:0": 7}, write_iops={"8:0": 9})), ["rbps=7", "wiops=9"]),
    (Limits(throttles=Throttles(write_bps={"8:0": 0}, read_iops={"8:0": 1})), ["wbps=max", "riops=1"]),
    (Limits(blkio_weight_device={"8:0": 1000}), ["10000"]),
    (Limits(blkio_weight_device={"8:0": 0}), ["default"]),
]


@pytest.mark.parametrize(("limits", "texts"), DEVICE_LIMITS)
def test_limits_of_devices_are_said_in_the_words_of_v2(limits: Limits, texts: list[str]) -> None:
    told = list(device_writes(limits, "io.weight"))
    assert [text for _, _, text in told] == texts
    assert {device for _, device, _ in told} == {"8:0"}


def test_what_a_device_could_before_is_brought_back(tmp_path: Path) -> None:
    cgroup = tree(tmp_path, {"io.max": "8:0 rbps=5 wbps=max riops=max wiops=max\n"})
    io_max = tmp_path / "docker/c/io.max"
    take_back = cgroup.set_limits(Limits(throttles=Throttles(read_bps={"8:0": 7})))
    assert io_max.read_text() == "8:0 rbps=7"
    take_back()
    assert io_max.read_text() == "8:0 rbps=5 wbps=max riops=max wiops=max"


def test_running_out_of_memory_is_told_by_memory_events(tmp_path: Path) -> None:
    told = tree(tmp_path, FILES).watch_oom()
    with pytest.raises(BlockingIOError):
        os.read(told, 4096)
    (tmp_path / "docker/c/memory.events").write_text("oom_kill 2\n")
    assert os.read(told, 4096)
    os.close(told)


def test_weights_meet_at_both_ends() -> None:
    assert [cpu_weight(shares) for shares in (0, 2, 262144, 999999)] == [1, 1, 10000, 10000]
    assert [io_weight(weight) for weight in (10, 1000)] == [1, 10000]


def test_limits_are_written_to_the_files(tmp_path: Path) -> None:
    cgroup = tree(tmp_path, {**FILES, "cpu.max": "max 100000\n"})
    cgroup.set_limits(Limits(pids=5, cpu_quota_us=30000))
    assert (tmp_path / "docker/c/pids.max").read_text() == "5"
    assert (tmp_path / "docker/c/cpu.max").read_text() == "30000 100000"


UNIFIED = probe_host().cgroup.unified


@pytest.fixture
def real() -> Iterator[CgroupV2]:
    """A cgroup of the kernel's own v2 mount, removed behind the test."""
    if UNIFIED is None or os.geteuid() != 0:
        pytest.skip("needs a cgroup2 mount and root")
    cgroup = CgroupV2(Layout("v2", {}, UNIFIED, frozenset()), f"/lighterman-test-{os.getpid()}/c")
    (UNIFIED / cgroup.path.lstrip("/") / "inner").mkdir(parents=True)
    yield cgroup
    CgroupV2(Layout("v2", {}, UNIFIED, frozenset()), f"/lighterman-test-{os.getpid()}").remove()


def test_a_real_cgroup_freezes_thaws_kills_and_goes(real: CgroupV2) -> None:
    assert UNIFIED is not None
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        (UNIFIED / real.path.lstrip("/") / "inner/cgroup.procs").write_text(str(sleeper.pid))
        assert real.pids() == [sleeper.pid]
        real.freeze()
        assert real.frozen()
        real.thaw()
        assert not real.frozen()
        assert real.stats().cpu.usage_ns >= 0
        real.kill()
        assert sleeper.wait() == -9
    real.remove()
    assert not real.exists()
