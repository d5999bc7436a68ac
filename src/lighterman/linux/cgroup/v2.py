"""cgroup v2: one hierarchy for all controllers, with other files and other units than v1."""

import errno
import select
import time
from collections.abc import Callable, Iterator, Mapping

from lighterman.linux.cgroup.files import (
    WAIT_S,
    Write,
    kill_all,
    overwrite,
    pids_below,
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
from lighterman.linux.inotify import IN_MODIFY, open_watch

MEMORY_MAX, CPU_MAX, IO_MAX = "memory.max", "cpu.max", "io.max"
NO_THROTTLE = "rbps=max wbps=max riops=max wiops=max"


class CgroupV2(Cgroup):
    def __init__(self, layout: Layout, path: str) -> None:
        super().__init__(path)
        assert layout.unified is not None
        self._directory = layout.unified / path.lstrip("/")

    def exists(self) -> bool:
        return self._directory.exists()

    def pids(self) -> list[int]:
        return sorted(pids_below(self._directory))

    def freeze(self) -> None:
        (self._directory / "cgroup.freeze").write_text("1")
        if not self._wait_frozen():
            self.thaw()
            raise TimeoutError(errno.ETIMEDOUT, "processes do not freeze", str(self._directory))

    def thaw(self) -> None:
        (self._directory / "cgroup.freeze").write_text("0")

    def frozen(self) -> bool:
        asked = self._directory / "cgroup.freeze"
        return asked.exists() and asked.read_text().strip() == "1"

    def oom_kills(self) -> int:
        """Counted with all below it: `memory.events` is hierarchical."""
        return read_counter(self._directory / "memory.events", "oom_kill")

    def stats(self) -> Stats:
        return Stats(self.cpu_stats(), self._memory(), self._pids(), self._blkio())

    def watch_oom(self) -> int:
        return open_watch(str(self._directory / "memory.events"), IN_MODIFY)

    def set_limits(self, limits: Limits) -> Callable[[], None]:
        return write_all(self._writes(limits))

    def _writes(self, limits: Limits) -> Iterator[Write]:
        now = {
            name: (self._directory / name).read_text().strip()
            for name in (MEMORY_MAX, CPU_MAX)
            if (self._directory / name).exists()
        }
        for file, text in limit_writes(limits, now, self._io_weight_file()):
            yield overwrite(self._directory / file, text)
        for file, device, text in device_writes(limits, self._io_weight_file()):
            otherwise = NO_THROTTLE if file == IO_MAX else "default"
            before = read_devices(self._directory / file).get(device, otherwise)
            yield Write(self._directory / file, f"{device} {text}", f"{device} {before}")

    def kill(self) -> None:
        at_once = self._directory / "cgroup.kill"  # 5.14
        if at_once.exists():
            at_once.write_text("1")
        else:
            kill_all(self.pids)

    def remove(self) -> None:
        remove_tree(self._directory)

    def _wait_frozen(self) -> bool:
        """Whether all processes stand still within WAIT_S; the kernel tells by POLLPRI on cgroup.events."""
        deadline = time.monotonic() + WAIT_S
        with (self._directory / "cgroup.events").open() as events:
            changed = select.poll()
            changed.register(events, select.POLLPRI)
            while "frozen 1" not in events.read():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                changed.poll(left_s * 1000)
                events.seek(0)
        return True

    def cpu_stats(self) -> CpuStats:
        stat = read_flat(self._directory / "cpu.stat")  # there without the controller as well
        return CpuStats(
            usage_ns=stat["usage_usec"] * 1000,
            user_ns=stat["user_usec"] * 1000,
            system_ns=stat["system_usec"] * 1000,
            periods=stat.get("nr_periods", 0),
            throttled_periods=stat.get("nr_throttled", 0),
            throttled_ns=stat.get("throttled_usec", 0) * 1000,
        )

    def _memory(self) -> MemoryStats:
        if not (self._directory / "memory.current").exists():
            return MemoryStats()
        peak = self._directory / "memory.peak"
        return MemoryStats(
            usage_bytes=int((self._directory / "memory.current").read_text()),
            max_usage_bytes=int(peak.read_text()) if peak.exists() else 0,
            limit_bytes=read_number(self._directory / MEMORY_MAX),
            failures=read_flat(self._directory / "memory.events").get("oom", 0),
            stat=read_flat(self._directory / "memory.stat"),
        )

    def _pids(self) -> PidsStats:
        if not (self._directory / "pids.current").exists():
            return PidsStats()
        current = int((self._directory / "pids.current").read_text())
        return PidsStats(current, read_number(self._directory / "pids.max"))

    def _blkio(self) -> BlkioStats:
        if not (self._directory / "io.stat").exists():
            return BlkioStats()
        service_bytes, serviced = [], []
        for line in (self._directory / "io.stat").read_text().splitlines():
            device, *counters = line.split()
            major, minor = (int(number) for number in device.split(":"))
            for key, _, value in (counter.partition("=") for counter in counters):
                if key in BYTES:
                    service_bytes.append(BlkioEntry(major, minor, BYTES[key], int(value)))
                elif key in OPERATIONS:
                    serviced.append(BlkioEntry(major, minor, OPERATIONS[key], int(value)))
        return BlkioStats(tuple(service_bytes), tuple(serviced))

    def _io_weight_file(self) -> str:
        bfq = "io.bfq.weight"
        return bfq if (self._directory / bfq).exists() else "io.weight"


BYTES = {"rbytes": "read", "wbytes": "write", "dbytes": "discard"}
OPERATIONS = {"rios": "read", "wios": "write", "dios": "discard"}


def limit_writes(limits: Limits, now: Mapping[str, str], io_weight_file: str) -> list[tuple[str, str]]:
    """Which file gets which text, in order, so that `limits` hold.

    `now` has the present texts of memory.max and cpu.max, for limits that v2 keeps in one file or as a
    difference with another. Source: the formulas of runc and crun for v1's words (OCI, config-linux.md).
    """
    writes: list[tuple[str, str]] = []

    def write(file: str, value: int | str | None) -> None:
        if value is not None:
            writes.append((file, "max" if value == -1 else str(value)))

    write(MEMORY_MAX, limits.memory_bytes)
    write("memory.swap.max", _swap_bytes(limits, now.get(MEMORY_MAX, "max")))
    write("memory.low", limits.memory_reservation_bytes)
    write("cpu.weight", None if limits.cpu_shares is None else cpu_weight(limits.cpu_shares))
    if limits.cpu_quota_us is not None or limits.cpu_period_us is not None:
        quota, period = now.get(CPU_MAX, "max 100000").split()
        if limits.cpu_quota_us is not None:
            quota = "max" if limits.cpu_quota_us <= 0 else str(limits.cpu_quota_us)
        write(CPU_MAX, f"{quota} {limits.cpu_period_us or period}")
    write("cpuset.cpus", limits.cpuset_cpus)
    write("cpuset.mems", limits.cpuset_mems)
    write("pids.max", limits.pids)
    if limits.blkio_weight is not None:
        weight = limits.blkio_weight
        write(io_weight_file, weight if "bfq" in io_weight_file else io_weight(weight))
    return writes


def device_writes(limits: Limits, io_weight_file: str) -> Iterator[tuple[str, str, str]]:
    """(file, device, text) of what is limited by the device; what a text does not name stays."""
    throttles = limits.throttles
    for key, values in (
        ("rbps", throttles.read_bps),
        ("wbps", throttles.write_bps),
        ("riops", throttles.read_iops),
        ("wiops", throttles.write_iops),
    ):
        for device, value in values.items():
            yield IO_MAX, device, f"{key}={value or 'max'}"
    for device, weight in limits.blkio_weight_device.items():
        own = weight if "bfq" in io_weight_file else io_weight(weight)
        yield io_weight_file, device, str(own) if weight else "default"


def cpu_weight(shares: int) -> int:
    """1..10000 for v1's 2..262144."""
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def io_weight(weight: int) -> int:
    """1..10000 for v1's 10..1000."""
    return 1 + (weight - 10) * 9999 // 990


def _swap_bytes(limits: Limits, memory_max: str) -> int | None:
    """Swap alone, as v2 counts it, from v1's sum of both."""
    if limits.memory_swap_bytes is None or limits.memory_swap_bytes == -1:
        return limits.memory_swap_bytes
    memory_bytes = limits.memory_bytes
    if memory_bytes is None:
        memory_bytes = -1 if memory_max == "max" else int(memory_max)
    # Without a limit of memory the sum limits nothing that v2 could say.
    return None if memory_bytes == -1 else max(0, limits.memory_swap_bytes - memory_bytes)
