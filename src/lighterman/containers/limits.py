"""The limits of a container: which are refused, and which this kernel cannot hold. Pure."""

from collections.abc import Iterator
from typing import TypeVar

from msgspec import UNSET, structs

from lighterman.apitypes.container import HostConfig, Resources, Ulimit
from lighterman.containers.merge import given
from lighterman.errdefs import InvalidParameter
from lighterman.linux.host import Host, LimitSupport

R = TypeVar("R", bound=Resources)

MAX_CPU_SHARES = 262144
MAX_PIDS = 4194304
"""PID_MAX_LIMIT of a 64-bit kernel: no cgroup takes more for its pids.max."""
MIN_MEMORY_BYTES = 6 * 1024 * 1024
NANO = 10**9


def check_limits(wish: R, host: Host, *, update: bool = False) -> tuple[R, list[str]]:
    """The limits that will act, and a warning for each that this kernel does not have.

    Raises InvalidParameter in Docker's words. Source: verifyPlatformContainerResources of moby 20.10.
    """
    if wish.memory_swappiness == -1:  # old clients write "not given" so
        wish = structs.replace(wish, memory_swappiness=None)
    wish, warnings = _supported(wish, host.limits)
    _check_memory(wish, update=update)
    _check_cpu(wish, host)
    _check_blkio(wish)
    if (wish.pids_limit or 0) > MAX_PIDS:
        raise InvalidParameter(f"invalid PidsLimit {wish.pids_limit}: the kernel has no more than {MAX_PIDS}")
    return wish, warnings


def _supported(wish: R, kernel: LimitSupport) -> tuple[R, list[str]]:
    dropped: dict[str, object] = {}
    warnings = []
    for missing, changes, warning in _unsupported(wish, kernel):
        if missing:
            dropped |= changes
            if warning:
                warnings.append(warning)
    return structs.replace(wish, **dropped), warnings


def _unsupported(wish: Resources, kernel: LimitSupport) -> Iterator[tuple[bool, dict[str, object], str]]:
    """(wished but not to be had, what takes its place, the warning), row by row."""
    gone = "or the cgroup is not mounted."
    yield (
        wish.memory > 0 and not kernel.memory_limit,
        {"memory": 0, "memory_swap": -1},
        f"Your kernel does not support memory limit capabilities {gone} Limitation discarded.",
    )
    yield (
        wish.memory > 0 and wish.memory_swap != -1 and not kernel.swap_limit,
        {"memory_swap": -1},
        f"Your kernel does not support swap limit capabilities {gone} Memory limited without swap.",
    )
    yield (
        wish.memory_swappiness is not None and not kernel.memory_swappiness,
        {"memory_swappiness": None},
        f"Your kernel does not support memory swappiness capabilities {gone} Memory swappiness discarded.",
    )
    yield (
        wish.memory_reservation > 0 and not kernel.memory_reservation,
        {"memory_reservation": 0},
        f"Your kernel does not support memory soft limit capabilities {gone} Limitation discarded.",
    )
    yield (
        wish.kernel_memory > 0,
        {},
        "Kernel memory limits are gone from the kernel; KernelMemory is kept but limits nothing.",
    )
    yield (
        wish.kernel_memory_tcp > 0,
        {},
        "KernelMemoryTCP is kept but limits nothing: no runtime sets it any more.",
    )
    yield (
        wish.oom_kill_disable is not None and not kernel.oom_kill_disable,
        {"oom_kill_disable": None},
        "Your kernel does not support OomKillDisable. OomKillDisable discarded."
        if wish.oom_kill_disable
        else "",
    )
    yield (
        bool(wish.oom_kill_disable) and wish.memory == 0,
        {},
        "OOM killer is disabled for the container, but no memory limit is set, "
        "this can result in the system running out of resources.",
    )
    yield (
        (wish.pids_limit or 0) > 0 and not kernel.pids_limit,
        {"pids_limit": None},
        f"Your kernel does not support pids limit capabilities {gone} PIDs limit discarded.",
    )
    yield (
        wish.cpu_shares > 0 and not kernel.cpu_shares,
        {"cpu_shares": 0},
        f"Your kernel does not support CPU shares {gone} Shares discarded.",
    )
    yield (
        (wish.cpu_period != 0 or wish.cpu_quota != 0) and not kernel.cpu_cfs,
        {"cpu_period": 0, "cpu_quota": 0},
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
    )
    yield (
        wish.cpu_percent > 0,
        {"cpu_percent": 0},
        "linux does not support CPU percent. Percent discarded.",
    )
    yield (wish.cpu_count > 0, {"cpu_count": 0}, "linux does not support CPU count. Count discarded.")
    yield (
        given(wish.disk_quota) not in (0, None),
        {"disk_quota": UNSET},
        "linux does not support a disk quota. Quota discarded.",
    )
    yield (
        bool(wish.cpuset_cpus or wish.cpuset_mems) and not kernel.cpuset,
        {"cpuset_cpus": "", "cpuset_mems": ""},
        f"Your kernel does not support cpuset {gone} Cpuset discarded.",
    )
    yield (
        wish.blkio_weight > 0 and not kernel.blkio_weight,
        {"blkio_weight": 0},
        f"Your kernel does not support Block I/O weight {gone} Weight discarded.",
    )
    yield (
        bool(wish.blkio_weight_device) and not kernel.blkio_weight_device,
        {"blkio_weight_device": []},
        f"Your kernel does not support Block I/O weight_device {gone} Weight-device discarded.",
    )
    for name, words, unit in (
        ("blkio_device_read_bps", "BPS Block I/O read", "Block I/O BPS read"),
        ("blkio_device_write_bps", "BPS Block I/O write", "Block I/O BPS write"),
        ("blkio_device_read_iops", "IOPS Block read", "Block I/O IOPS read"),
        ("blkio_device_write_iops", "IOPS Block write", "Block I/O IOPS write"),
    ):
        yield (
            bool(getattr(wish, name)) and not kernel.blkio_throttle,
            {name: []},
            f"Your kernel does not support {words} limit {gone} {unit} limit discarded.",
        )


def _check_memory(wish: Resources, *, update: bool) -> None:
    if wish.memory != 0 and wish.memory < MIN_MEMORY_BYTES:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if wish.memory_swap < -1 or (wish.memory > 0 and 0 < wish.memory_swap < wish.memory):
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if wish.memory == 0 and wish.memory_swap > 0 and not update:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if wish.memory_swappiness is not None and not 0 <= wish.memory_swappiness <= 100:
        raise InvalidParameter(
            f"Invalid value: {wish.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    if 0 < wish.memory_reservation < MIN_MEMORY_BYTES:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < wish.memory < wish.memory_reservation:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _check_cpu(wish: Resources, host: Host) -> None:
    if wish.nano_cpus > 0 and wish.cpu_period > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if wish.nano_cpus > 0 and wish.cpu_quota > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if wish.nano_cpus > 0 and not host.limits.cpu_cfs:
        raise InvalidParameter(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler "
            "or the cgroup is not mounted"
        )
    if not 0 <= wish.nano_cpus <= host.ncpu * NANO:
        raise InvalidParameter(
            f"Range of CPUs is from 0.01 to {host.ncpu}.00, as there are only {host.ncpu} CPUs available"
        )
    if wish.cpu_shares < 0:
        raise InvalidParameter(f"invalid CPU shares ({wish.cpu_shares}): value must be a positive integer")
    if wish.cpu_shares == 1:
        raise InvalidParameter("the minimum allowed cpu-shares is 2")
    if wish.cpu_shares > MAX_CPU_SHARES:
        raise InvalidParameter(f"the maximum allowed cpu-shares is {MAX_CPU_SHARES}")
    if wish.cpu_period != 0 and not 1000 <= wish.cpu_period <= 1000000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if wish.cpu_quota < -1 or 0 < wish.cpu_quota < 1000:  # -1 is none
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if (wish.cpu_realtime_period or wish.cpu_realtime_runtime) and not host.limits.cpu_realtime:
        raise InvalidParameter("Your kernel does not support cgroup cpu real-time period/runtime")
    if 0 < wish.cpu_realtime_period < wish.cpu_realtime_runtime:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")
    _check_set(wish.cpuset_cpus, host.cpus, "cpuset cpus", "CPUs")
    _check_set(wish.cpuset_mems, host.mems, "cpuset mems", "memory nodes")


def _check_set(wished: str, available: str, name: str, things: str) -> None:
    try:
        members = number_set(wished)
    except ValueError as error:
        raise InvalidParameter(f"Invalid value {wished} for {name}: {error}") from error
    if not members <= number_set(available):
        raise InvalidParameter(
            f"Requested {things} are not available - requested {wished}, available: {available}"
        )


def number_set(text: str) -> set[int]:
    """The members of a kernel's list such as "0-3,6". Raises ValueError.

    A range ends at 8192, the most processors that Linux knows (CVE: "0-2147483647" ate all memory).
    """
    members: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"invalid format: {text}")
        low, high = int(first), int(last or first)
        if low > high or high > 8192:
            raise ValueError(f"invalid format: {text}")
        members.update(range(low, high + 1))
    return members


def _check_blkio(wish: Resources) -> None:
    if wish.blkio_weight != 0 and not 10 <= wish.blkio_weight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    for weight in wish.blkio_weight_device or ():
        if not 10 <= weight.weight <= 1000:
            raise InvalidParameter(f"Range of blkio weight is from 10 to 1000: {weight.path}")
    for throttled in (
        *(wish.blkio_device_read_bps or ()),
        *(wish.blkio_device_write_bps or ()),
        *(wish.blkio_device_read_iops or ()),
        *(wish.blkio_device_write_iops or ()),
    ):
        if throttled.rate < 0:
            raise InvalidParameter(f"a rate cannot be negative: {throttled.rate} of {throttled.path}")
    if wish.io_maximum_bandwidth or wish.io_maximum_iops:
        raise InvalidParameter(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )


def with_swap_default(wish: HostConfig) -> HostConfig:
    """A memory limit without a word on swap allows as much swap again."""
    if wish.memory > 0 and wish.memory_swap == 0:
        return structs.replace(wish, memory_swap=2 * wish.memory)
    return wish


ULIMITS = {
    name: f"RLIMIT_{name.upper()}"
    for name in (
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
        "rss", "rtprio", "rttime", "sigpending", "stack",
    )
}  # fmt: skip


def check_ulimit(ulimit: Ulimit) -> None:
    """Raises InvalidParameter for a limit that is none."""
    if ulimit.name not in ULIMITS:
        raise InvalidParameter(f"invalid ulimit type: {ulimit.name}")
    soft, hard = (limit if limit >= 0 else 2**64 for limit in (ulimit.soft, ulimit.hard))
    if soft > hard:
        raise InvalidParameter(
            f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}"
        )
