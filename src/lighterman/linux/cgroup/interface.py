"""What a cgroup is to the rest of the engine, whatever version the host has.

Values out (`Stats`, pids), values in (`Limits`); bytes and ns, and None where the kernel says "max". All of
it reads and writes small files of the kernel: tens of us, so the readers may run on the event loop; `freeze`
and `remove` may wait for the kernel and belong in a thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from msgspec import Struct, field


class CpuStats(Struct, frozen=True):
    usage_ns: int = 0
    user_ns: int = 0
    system_ns: int = 0
    per_cpu_ns: tuple[int, ...] = ()  # v1 only
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


class MemoryStats(Struct, frozen=True):
    usage_bytes: int = 0
    max_usage_bytes: int = 0  # 0 where the kernel keeps no peak (v2 before 5.19)
    limit_bytes: int | None = None
    failures: int = 0  # v1: times the limit was hit (failcnt); v2: times that ended in an OOM
    stat: Mapping[str, int] = field(default_factory=dict)  # memory.stat as it is


class PidsStats(Struct, frozen=True):
    current: int = 0
    limit: int | None = None


class BlkioEntry(Struct, frozen=True):
    """A counter of one device; `op` is read, write, ..., or "" for counters that know none."""

    major: int
    minor: int
    op: str
    value: int


class BlkioStats(Struct, frozen=True):
    """The counters of v1, hierarchical. v2 knows the first two only."""

    service_bytes: tuple[BlkioEntry, ...] = ()
    serviced: tuple[BlkioEntry, ...] = ()
    queued: tuple[BlkioEntry, ...] = ()
    service_time: tuple[BlkioEntry, ...] = ()
    wait_time: tuple[BlkioEntry, ...] = ()
    merged: tuple[BlkioEntry, ...] = ()
    time: tuple[BlkioEntry, ...] = ()
    sectors: tuple[BlkioEntry, ...] = ()


class Stats(Struct, frozen=True):
    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: PidsStats = PidsStats()
    blkio: BlkioStats = BlkioStats()


class Throttles(Struct, frozen=True):
    """What block devices ("8:0") may do in a second, for the devices named; 0 is no limit."""

    read_bps: Mapping[str, int] = field(default_factory=dict)
    write_bps: Mapping[str, int] = field(default_factory=dict)
    read_iops: Mapping[str, int] = field(default_factory=dict)
    write_iops: Mapping[str, int] = field(default_factory=dict)


class Limits(Struct, frozen=True):
    """What to change; None leaves it as it is, -1 is no limit.

    In the words of v1, as Docker has them: `memory_swap_bytes` is memory and swap together, `cpu_shares` is
    2..262144, `blkio_weight` 10..1000. v2 gets them translated.
    """

    memory_bytes: int | None = None
    memory_swap_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swappiness: int | None = None
    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids: int | None = None
    blkio_weight: int | None = None
    blkio_weight_device: Mapping[str, int] = field(default_factory=dict)
    throttles: Throttles = Throttles()
    oom_kill_disable: bool | None = None  # v1
    realtime_period_us: int | None = None  # v1
    realtime_runtime_us: int | None = None  # v1


class Cgroup(ABC):
    """The cgroup of one container, by its path below the hierarchies' roots ("/docker/<id>").

    It need not exist: what is not there has no processes and no counts, and removing it is no error.
    """

    def __init__(self, path: str) -> None:
        if ".." in path.split("/") or not path.strip("/"):
            raise ValueError(f"not the path of a cgroup: {path!r}")  # remove() takes all that is below it
        self.path = path

    @abstractmethod
    def exists(self) -> bool:
        """Whether the kernel still has it."""

    @abstractmethod
    def pids(self) -> list[int]:
        """All processes in it and below it, as this process sees their ids, ascending."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop all processes; returns when they stand still. Blocks: up to 2 s.

        Raises: TimeoutError when a process cannot be stopped (it waits for a device, say); then it is thawed.
        OSError when there is no such cgroup.
        """

    @abstractmethod
    def thaw(self) -> None:
        """Let all processes go on. Raises OSError when there is no such cgroup."""

    @abstractmethod
    def frozen(self) -> bool:
        """Whether it was asked to freeze, by whomever, itself."""

    @abstractmethod
    def oom_kills(self) -> int:
        """How many processes the kernel killed because the cgroup had no memory left."""

    @abstractmethod
    def stats(self) -> Stats:
        """All counters now. Raises FileNotFoundError when there is no such cgroup."""

    @abstractmethod
    def cpu_stats(self) -> CpuStats:
        """The processor's part of them alone. Raises FileNotFoundError when there is no such cgroup."""

    @abstractmethod
    def watch_oom(self) -> int:
        """A non-blocking, close-on-exec fd that is readable when memory ran out; owned by the caller.

        What is read from it says nothing; reading it waits for the next time. It is readable too when the
        cgroup is removed. Raises: OSError (FileNotFoundError: no such cgroup, or no limits of memory).
        """

    @abstractmethod
    def set_limits(self, limits: Limits) -> Callable[[], None]:
        """Change limits of a living cgroup, each in the order that the kernel allows: all of them or none.

        The answer takes the change back. Raises: OSError with the file that refused (EBUSY: more memory is
        in use than is allowed); what was written before it is taken back then.
        """

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL to all processes in it and below it; they may need time to end."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it and all below it, in every hierarchy; idempotent. Blocks: up to 2 s for ending processes.

        Raises: OSError (EBUSY) when processes are left in it.
        """
