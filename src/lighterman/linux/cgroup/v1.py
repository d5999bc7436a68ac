"""cgroup v1, alone or beside an empty v2 mount (hybrid): each controller is a hierarchy of its own."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lighterman.linux.cgroup.files import (
    WAIT_S,
    Write,
    kill_all,
    overwrite,
    pids_below,
    read,
    read_counter,
    read_devices,
    read_flat,
    read_number,
    remove_tree,
    write_all,
)
from lighterman.linux.cgroup.interface import (
    BlkioEntry,
    BlkioStats,
    Cgroup,
    CpuStats,
    Limits,
    MemoryStats,
    PidsStats,
    Stats,
)
from lighterman.linux.cgroup.layout import Layout
from lighterman.linux.cgroup.realtime import give_back_realtime
from lighterman.linux.mount import open_tree

LIMIT, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
UNLIMITED_BYTES = 1 << 62
"""Above it a memory limit is none: the kernel says 0x7ffffffffffff000, or less with larger pages."""


class CgroupV1(Cgroup):
    def __init__(self, layout: Layout, path: str) -> None:
        super().__init__(path)
        self._layout = layout

    def exists(self) -> bool:
        return any(self._in(controller).exists() for controller in self._layout.v1)

    def pids(self) -> list[int]:
        """A process is in every hierarchy; the first controller that is there tells."""
        for controller in ("freezer", "pids", "memory", "devices", "cpu"):
            if controller in self._layout.v1:
                return sorted(pids_below(self._in(controller)))
        return []

    def freeze(self) -> None:
        state = self._in("freezer") / "freezer.state"
        deadline = time.monotonic() + WAIT_S
        # FREEZING has no notification, and a process that forks can keep it there until asked again.
        state.write_text("FROZEN")
        while state.read_text().strip() != "FROZEN":
            if time.monotonic() > deadline:
                self.thaw()
                raise TimeoutError(errno.ETIMEDOUT, "processes do not freeze", str(state))
            time.sleep(0.001)
            state.write_text("FROZEN")

    def thaw(self) -> None:
        (self._in("freezer") / "freezer.state").write_text("THAWED")

    def frozen(self) -> bool:
        asked = self._in("freezer") / "freezer.self_freezing"
        return asked.exists() and asked.read_text().strip() == "1"

    def oom_kills(self) -> int:
        return read_counter(self._in("memory") / "memory.oom_control", "oom_kill")

    def stats(self) -> Stats:
        has = self._layout.v1
        return Stats(
            cpu=self.cpu_stats() if "cpuacct" in has else CpuStats(),
            memory=self._memory() if "memory" in has else MemoryStats(),
            pids=self._pids() if "pids" in has else PidsStats(),
            blkio=self._blkio() if "blkio" in has else BlkioStats(),
        )

    def watch_oom(self) -> int:
        memory = self._in("memory")
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with (memory / "memory.oom_control").open() as control:  # the kernel keeps what it needs of it
                (memory / "cgroup.event_control").write_text(f"{fd} {control.fileno()}")
        except OSError:
            os.close(fd)
            raise
        return fd

    def set_limits(self, limits: Limits) -> Callable[[], None]:
        return write_all(self._writes(limits))

    def _writes(self, limits: Limits) -> Iterator[Write]:
        yield from self._memory_writes(limits.memory_bytes, limits.memory_swap_bytes)
        memory, cpu = self._in("memory"), self._in("cpu")
        for file, value in (
            (memory / "memory.soft_limit_in_bytes", limits.memory_reservation_bytes),
            (memory / "memory.swappiness", limits.memory_swappiness),
            (cpu / "cpu.shares", limits.cpu_shares),
            # The period first: a quota is refused that the old period cannot hold.
            (cpu / "cpu.cfs_period_us", limits.cpu_period_us),
            (cpu / "cpu.cfs_quota_us", limits.cpu_quota_us),
            (cpu / "cpu.rt_period_us", limits.realtime_period_us),
            (cpu / "cpu.rt_runtime_us", limits.realtime_runtime_us),
            (self._in("cpuset") / "cpuset.cpus", limits.cpuset_cpus),
            (self._in("cpuset") / "cpuset.mems", limits.cpuset_mems),
            (self._in("pids") / "pids.max", "max" if limits.pids == -1 else limits.pids),
            (self._in("blkio") / self._blkio_weight_file(), limits.blkio_weight),
        ):
            if value is not None:
                yield overwrite(file, str(value))
        if limits.oom_kill_disable is not None:
            control = memory / "memory.oom_control"
            now = read_flat(control)["oom_kill_disable"]
            yield Write(control, str(int(limits.oom_kill_disable)), str(now))
        yield from self._blkio_writes(limits)

    def _blkio_writes(self, limits: Limits) -> Iterator[Write]:
        blkio, throttles = self._in("blkio"), limits.throttles
        for name, values in (
            (f"{self._blkio_weight_file()}_device", limits.blkio_weight_device),
            ("blkio.throttle.read_bps_device", throttles.read_bps),
            ("blkio.throttle.write_bps_device", throttles.write_bps),
            ("blkio.throttle.read_iops_device", throttles.read_iops),
            ("blkio.throttle.write_iops_device", throttles.write_iops),
        ):
            for device, value in values.items():
                now = read_devices(blkio / name).get(device, "0")
                yield Write(blkio / name, f"{device} {value}", f"{device} {now}")

    def kill(self) -> None:
        kill_all(self.pids)
        if self.frozen():  # a frozen process of v1 ends only when it is thawed
            self.thaw()

    def remove(self) -> None:
        give_back_realtime(self._in("cpu"))
        for mount in {*self._layout.v1.values(), *([self._layout.unified] if self._layout.unified else [])}:
            remove_tree(mount / self.path.lstrip("/"))
        if self._layout.mode == "hybrid":
            self._remove_hidden()

    def _in(self, controller: str) -> Path:
        """Its directory in a hierarchy; one that does not exist when there is no such hierarchy."""
        return self._layout.v1.get(controller, Path("/nonexistent")) / self.path.lstrip("/")

    def cpu_stats(self) -> CpuStats:
        accounting = str(self._in("cpuacct"))
        ticks = read_flat(f"{accounting}/cpuacct.stat")
        throttling = read_flat(f"{self._in('cpu')}/cpu.stat") if "cpu" in self._layout.v1 else {}
        return CpuStats(
            usage_ns=int(read(f"{accounting}/cpuacct.usage")),
            user_ns=ticks["user"] * TICK_NS,
            system_ns=ticks["system"] * TICK_NS,
            per_cpu_ns=tuple(map(int, read(f"{accounting}/cpuacct.usage_percpu").split())),
            periods=throttling.get("nr_periods", 0),
            throttled_periods=throttling.get("nr_throttled", 0),
            throttled_ns=throttling.get("throttled_time", 0),
        )

    def _memory(self) -> MemoryStats:
        memory = str(self._in("memory"))
        limit = int(read(f"{memory}/{LIMIT}"))
        return MemoryStats(
            usage_bytes=int(read(f"{memory}/memory.usage_in_bytes")),
            max_usage_bytes=int(read(f"{memory}/memory.max_usage_in_bytes")),
            limit_bytes=None if limit > UNLIMITED_BYTES else limit,
            failures=int(read(f"{memory}/memory.failcnt")),
            stat=read_flat(f"{memory}/memory.stat"),
        )

    def _pids(self) -> PidsStats:
        pids = str(self._in("pids"))
        return PidsStats(int(read(f"{pids}/pids.current")), read_number(f"{pids}/pids.max"))

    def _blkio(self) -> BlkioStats:
        blkio = str(self._in("blkio"))
        # BFQ counts for devices that it schedules; for others its files are empty and the throttle counts.
        prefix = f"{blkio}/blkio.bfq."
        serviced = _read_blkio(f"{prefix}io_serviced_recursive")
        if not serviced:
            prefix = f"{blkio}/blkio.throttle."
            serviced = _read_blkio(f"{prefix}io_serviced_recursive")
        if not serviced:  # no device was used
            return BlkioStats()
        return BlkioStats(
            service_bytes=_read_blkio(f"{prefix}io_service_bytes_recursive"),
            serviced=serviced,
            queued=_read_blkio(f"{prefix}io_queued_recursive"),
            service_time=_read_blkio(f"{prefix}io_service_time_recursive"),
            wait_time=_read_blkio(f"{prefix}io_wait_time_recursive"),
            merged=_read_blkio(f"{prefix}io_merged_recursive"),
            time=_read_blkio(f"{prefix}time_recursive"),
            sectors=_read_blkio(f"{prefix}sectors_recursive"),
        )

    def _blkio_weight_file(self) -> str:
        bfq = "blkio.bfq.weight"
        return bfq if (self._in("blkio") / bfq).exists() else "blkio.weight"

    def _memory_writes(self, memory_bytes: int | None, swap_bytes: int | None) -> Iterator[Write]:
        """The kernel keeps limit <= memsw at every moment, so what grows is written first."""
        limit, swap = (self._in("memory") / name for name in (LIMIT, MEMSW))
        writes = [(limit, memory_bytes), (swap, swap_bytes)]
        if swap_bytes is not None and (swap_bytes == -1 or swap_bytes > int(swap.read_text())):
            writes.reverse()
        for file, value in writes:
            if value is not None:
                yield overwrite(file, str(value))

    def _remove_hidden(self) -> None:
        """Remove the plain directory that runtimes make where they see no v2 mount.

        They run in a mount namespace without it (crun 1.8 refuses hybrids), so below it, on the tmpfs that
        holds all hierarchies; a file lies in it where they meant cgroup.procs (crun 1.8.1, runc 1.1.5).
        A clone of that tmpfs' mount alone shows what the v2 mount hides from us.
        """
        assert self._layout.unified is not None
        tmpfs = self._layout.unified.parent
        fd = open_tree(str(tmpfs), recursive=False)
        try:
            hidden = Path(f"/proc/self/fd/{fd}") / self._layout.unified.name / self.path.lstrip("/")
            if hidden.exists():
                shutil.rmtree(hidden)
        finally:
            os.close(fd)


def _read_blkio(file: str) -> tuple[BlkioEntry, ...]:
    """Lines "8:0 Read 4096", or "8:0 12" without an operation; the line "Total 4096" has no device."""
    try:
        lines = read(file).decode().splitlines()
    except FileNotFoundError:  # of a kernel that does not count this
        return ()
    entries = []
    for line in lines:
        device, *op, value = line.split()
        if device != "Total":
            major, minor = device.split(":")
            entries.append(BlkioEntry(int(major), int(minor), op[0].lower() if op else "", int(value)))
    return tuple(entries)
