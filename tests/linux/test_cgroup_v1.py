"""v1 on the real hierarchies of this machine, in cgroups of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.linux.cgroup import BlkioEntry, Layout, Limits, PidsStats, Throttles, open_cgroup
from lighterman.linux.cgroup.v1 import CgroupV1
from lighterman.linux.host import probe_host

LAYOUT = probe_host().cgroup
PARENT = f"/lighterman-test-{os.getpid()}"

pytestmark = pytest.mark.skipif(
    LAYOUT.mode not in ("v1", "hybrid") or os.geteuid() != 0, reason="needs cgroup v1 and root"
)


@pytest.fixture
def cgroup() -> Iterator[CgroupV1]:
    """A cgroup in every hierarchy, ready for processes; removed behind the test."""
    for name, mount in LAYOUT.v1.items():
        directory = mount / PARENT.lstrip("/") / "c"
        directory.mkdir(parents=True, exist_ok=True)
        if name == "cpuset":
            for level in (directory.parent, directory):
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (level / file).write_text((mount / file).read_text())
    yield CgroupV1(LAYOUT, f"{PARENT}/c")
    CgroupV1(LAYOUT, PARENT).kill()
    CgroupV1(LAYOUT, PARENT).remove()


def enter(cgroup: CgroupV1, pid: int) -> None:
    for mount in set(LAYOUT.v1.values()):
        (mount / cgroup.path.lstrip("/") / "cgroup.procs").write_text(str(pid))


def test_a_process_is_seen_frozen_thawed_killed_and_its_cgroup_removed(cgroup: CgroupV1) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        enter(cgroup, sleeper.pid)
        assert cgroup.pids() == [sleeper.pid]
        cgroup.freeze()
        assert cgroup.frozen()
        cgroup.thaw()
        assert not cgroup.frozen()
        cgroup.kill()
        assert sleeper.wait() == -9
    cgroup.remove()
    assert not cgroup.exists()
    assert not any((mount / cgroup.path.lstrip("/")).exists() for mount in LAYOUT.v1.values())
    cgroup.remove()


def test_a_frozen_process_can_be_killed(cgroup: CgroupV1) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        enter(cgroup, sleeper.pid)
        cgroup.freeze()
        cgroup.kill()
        assert sleeper.wait() == -9


def test_processes_below_count_and_go_with_it(cgroup: CgroupV1) -> None:
    inner = LAYOUT.v1["freezer"] / cgroup.path.lstrip("/") / "inner"
    inner.mkdir()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        (inner / "cgroup.procs").write_text(str(sleeper.pid))
        assert cgroup.pids() == [sleeper.pid]
        cgroup.kill()
        sleeper.wait()
    cgroup.remove()
    assert not inner.exists()


def test_what_a_process_used_is_counted(cgroup: CgroupV1) -> None:
    with subprocess.Popen(
        ["sh", "-c", "read x; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"], stdin=-1
    ) as busy:
        enter(cgroup, busy.pid)
        assert cgroup.stats().pids == PidsStats(1, None)
        busy.communicate(b"\n")
    stats = cgroup.stats()
    assert stats.cpu.usage_ns > 0
    assert sum(stats.cpu.per_cpu_ns) == stats.cpu.usage_ns
    assert stats.memory.max_usage_bytes > 0
    assert stats.memory.limit_bytes is None
    assert "inactive_file" in stats.memory.stat


def test_limits_change_up_and_down_in_any_order(cgroup: CgroupV1) -> None:
    mib = 1 << 20
    for memory_bytes, swap_bytes in (
        (64 * mib, 128 * mib),
        (256 * mib, 256 * mib),
        (32 * mib, 32 * mib),
        (-1, -1),
    ):
        cgroup.set_limits(Limits(memory_bytes=memory_bytes, memory_swap_bytes=swap_bytes))
        assert cgroup.stats().memory.limit_bytes == (None if memory_bytes == -1 else memory_bytes)
    cgroup.set_limits(
        Limits(cpu_shares=512, cpu_period_us=20000, cpu_quota_us=10000, pids=7, cpuset_cpus="0")
    )
    assert cgroup.stats().pids.limit == 7
    cpu = LAYOUT.v1["cpu"] / cgroup.path.lstrip("/")
    assert [
        (cpu / f"cpu.{name}").read_text().strip() for name in ("shares", "cfs_period_us", "cfs_quota_us")
    ] == [
        "512",
        "20000",
        "10000",
    ]
    cgroup.set_limits(Limits(pids=-1, cpu_quota_us=-1))
    assert cgroup.stats().pids.limit is None


def limits_of(cgroup: CgroupV1) -> list[str]:
    """What the files of limits say, in one order."""
    below = cgroup.path.lstrip("/")
    return [
        (LAYOUT.v1[controller] / below / file).read_text().strip()
        for controller, file in (
            ("memory", "memory.limit_in_bytes"),
            ("memory", "memory.memsw.limit_in_bytes"),
            ("memory", "memory.swappiness"),
            ("cpu", "cpu.cfs_quota_us"),
            ("pids", "pids.max"),
        )
    ]


def test_a_change_that_is_refused_half_way_changes_nothing(cgroup: CgroupV1) -> None:
    before = limits_of(cgroup)
    with pytest.raises(OSError, match="cpuset"):
        cgroup.set_limits(
            Limits(memory_bytes=64 << 20, memory_swap_bytes=64 << 20, cpu_quota_us=5000, cpuset_cpus="4711")
        )
    assert limits_of(cgroup) == before


def test_a_change_is_taken_back_by_its_answer(cgroup: CgroupV1) -> None:
    cgroup.set_limits(Limits(memory_bytes=64 << 20, memory_swap_bytes=128 << 20, pids=9))
    before = limits_of(cgroup)
    take_back = cgroup.set_limits(
        Limits(memory_bytes=-1, memory_swap_bytes=-1, memory_swappiness=7, cpu_quota_us=5000, pids=-1)
    )
    assert limits_of(cgroup) != before
    take_back()
    assert limits_of(cgroup) == before


def test_a_device_is_throttled_and_let_go(cgroup: CgroupV1) -> None:
    numbers = next(Path("/sys/block").iterdir()) / "dev"
    device = numbers.read_text().strip()
    file = LAYOUT.v1["blkio"] / cgroup.path.lstrip("/") / "blkio.throttle.read_bps_device"
    take_back = cgroup.set_limits(Limits(throttles=Throttles(read_bps={device: 1 << 20})))
    assert file.read_text() == f"{device} 1048576\n"
    cgroup.set_limits(Limits(throttles=Throttles(read_bps={device: 0})))
    assert file.read_text() == ""
    take_back()


def test_the_killer_is_switched_off_and_on(cgroup: CgroupV1) -> None:
    control = LAYOUT.v1["memory"] / cgroup.path.lstrip("/") / "memory.oom_control"
    take_back = cgroup.set_limits(Limits(oom_kill_disable=True))
    assert "oom_kill_disable 1" in control.read_text()
    take_back()
    assert "oom_kill_disable 0" in control.read_text()


def test_a_kill_for_memory_is_counted_and_told(cgroup: CgroupV1) -> None:
    cgroup.set_limits(Limits(memory_bytes=16 << 20, memory_swap_bytes=16 << 20))
    told = cgroup.watch_oom()
    with pytest.raises(BlockingIOError):
        os.read(told, 8)
    eater = "import sys; sys.stdin.read(1); x = bytearray(64 << 20)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", eater], stdin=-1) as process:
        enter(cgroup, process.pid)
        process.communicate(b"\n")
        assert process.returncode == -9
    assert cgroup.oom_kills() == 1
    assert int.from_bytes(os.read(told, 8), "little") >= 1
    os.close(told)


def test_counters_of_devices_are_read_with_and_without_operations(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    for name, text in {
        "blkio.bfq.io_serviced_recursive": "8:0 Read 3\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n",
        "blkio.bfq.sectors_recursive": "8:0 12\n",
        "blkio.throttle.io_serviced_recursive": "9:0 Read 1\n",
    }.items():
        (directory / name).write_text(text)
    blkio = CgroupV1(Layout("v1", {"blkio": tmp_path}, None, frozenset({"blkio"})), "/c").stats().blkio
    assert blkio.serviced[0] == BlkioEntry(8, 0, "read", 3)
    assert blkio.sectors == (BlkioEntry(8, 0, "", 12),)


@pytest.mark.skipif(LAYOUT.mode != "hybrid", reason="needs a hybrid layout")
def test_the_directory_that_the_v2_mount_hides_is_removed_too() -> None:
    hidden = f"{LAYOUT.unified}{PARENT}"
    script = "umount {0} && {1}"
    make = script.format(LAYOUT.unified, f"mkdir -p {hidden}/c && echo 1 >{hidden}/c/cgroup.procs")
    subprocess.run(["unshare", "-m", "sh", "-c", make], check=True)
    open_cgroup(LAYOUT, PARENT).remove()
    seen = subprocess.run(["unshare", "-m", "sh", "-c", script.format(LAYOUT.unified, f"test -e {hidden}")])
    assert seen.returncode == 1
