"""What a container uses. Source: ContainerStats; order, names and nulls as dockerd 20.10.24 sends them.

A field without a default is always sent, one with a default only when it says something (Go's omitempty).
Numbers are bytes, ns and counts, as the specification says.
"""

from msgspec import Struct


class PidsStats(Struct, frozen=True, omit_defaults=True):
    current: int = 0
    limit: int = 0  # 0 is none


class BlkioStatEntry(Struct, frozen=True):
    major: int
    minor: int
    op: str
    value: int


class BlkioStats(Struct, frozen=True):
    """None (null) is what the kernel does not count."""

    io_service_bytes_recursive: list[BlkioStatEntry] | None = None
    io_serviced_recursive: list[BlkioStatEntry] | None = None
    io_queue_recursive: list[BlkioStatEntry] | None = None
    io_service_time_recursive: list[BlkioStatEntry] | None = None
    io_wait_time_recursive: list[BlkioStatEntry] | None = None
    io_merged_recursive: list[BlkioStatEntry] | None = None
    io_time_recursive: list[BlkioStatEntry] | None = None
    sectors_recursive: list[BlkioStatEntry] | None = None


class StorageStats(Struct, frozen=True):
    """Of Windows."""


class CpuUsage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    total_usage: int
    percpu_usage: list[int] = []  # v1 only
    usage_in_kernelmode: int
    usage_in_usermode: int


class ThrottlingData(Struct, frozen=True):
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CpuStats(Struct, frozen=True, omit_defaults=True, kw_only=True):
    cpu_usage: CpuUsage
    system_cpu_usage: int = 0
    online_cpus: int = 0
    throttling_data: ThrottlingData


class MemoryStats(Struct, frozen=True, omit_defaults=True):
    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] = {}
    failcnt: int = 0
    limit: int = 0


class NetworkStats(Struct, frozen=True):
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


NO_CPU = CpuStats(
    cpu_usage=CpuUsage(total_usage=0, usage_in_kernelmode=0, usage_in_usermode=0),
    throttling_data=ThrottlingData(),
)


class StatsResponse(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One sample, with the processor's part of the one before it."""

    read: str
    preread: str
    pids_stats: PidsStats
    blkio_stats: BlkioStats
    num_procs: int
    storage_stats: StorageStats
    cpu_stats: CpuStats
    precpu_stats: CpuStats
    memory_stats: MemoryStats
    name: str = ""
    id: str = ""
    networks: dict[str, NetworkStats] = {}
