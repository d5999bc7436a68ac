"""v1 on the real hierarchies of this machine, in cgroups of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.linux.cgroup import BlkioEntry, Layout, Limits, PidsStats, open_cgroup
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


def test_a_kill_for_memory_is_counted(cgroup: CgroupV1) -> None:
    cgroup.set_limits(Limits(memory_bytes=16 << 20, memory_swap_bytes=16 << 20))
    eater = "import sys; sys.stdin.read(1); x = bytearray(64 << 20)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", eater], stdin=-1) as process:
        enter(cgroup, process.pid)
        process.communicate(b"\n")
        assert process.returncode == -9
    assert cgroup.oom_kills() == 1


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
