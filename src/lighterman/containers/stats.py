"""What a container uses: all counters of its cgroup and its network, as dockerd tells them.

dockerd answers after two samples, so after one to two seconds. Here a one shot is answered at once: every ten
seconds the processor's counter of each running container is kept, so there is a sample to compare with. A
container that is younger than that is compared with its own beginning.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

from msgspec import structs

from lighterman.apitypes.stats import (
    NO_CPU,
    BlkioStatEntry,
    BlkioStats,
    CpuStats,
    CpuUsage,
    MemoryStats,
    NetworkStats,
    PidsStats,
    StatsResponse,
    StorageStats,
    ThrottlingData,
)
from lighterman.containers.life import LIVING, Running
from lighterman.containers.network_owner import network_owner
from lighterman.containers.samples import CpuSample
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import NotFound
from lighterman.lib.go_time import ZERO_TIME, rfc3339_nano
from lighterman.linux import cgroup
from lighterman.linux.counters import SystemCpu, links_of, system_cpu
from lighterman.runtime import ProcessGone

EVERY_S = 1.0
KEPT_EVERY_S = 10.0

MEMORY_V1 = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "total_")
    for name in (
        *("active_anon", "active_file", "cache", "dirty", "inactive_anon", "inactive_file", "mapped_file"),
        *("pgfault", "pgmajfault", "pgpgin", "pgpgout", "rss", "rss_huge", "unevictable", "writeback"),
    )
) | {"hierarchical_memory_limit", "hierarchical_memsw_limit"}
MEMORY_V2 = frozenset(
    [
        *("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty"),
        *("file_writeback", "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file"),
        *("unevictable", "slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault"),
        *("workingset_refault", "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan"),
        *("pgsteal", "pgactivate", "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc"),
        "thp_collapse_alloc",
    ]
)
"""What of memory.stat is told. Source: statsV1 and statsV2 of moby's daemon."""


def stats(cs: Containers, ref: str) -> StatsResponse:
    """What the container uses now. Raises: NoSuchContainer. Source: ContainerStats, stream=0."""
    return _sample(cs, cs.find(ref))


def uncompared(sample: StatsResponse) -> StatsResponse:
    """The sample without the one before it: for who compares it himself with what he had asked for."""
    return structs.replace(sample, preread=ZERO_TIME, precpu_stats=NO_CPU)


def stats_stream(cs: Containers, ref: str) -> AsyncIterator[StatsResponse]:
    """The same once a second until the container is removed; while it rests, nothing but its name.

    Raises at once: NoSuchContainer. Source: ContainerStats.
    """
    return _listen(cs, cs.find(ref).id)


async def _listen(cs: Containers, container_id: str) -> AsyncIterator[StatsResponse]:
    if container_id not in cs:
        return
    samples = cs.live(container_id).samples
    samples.listeners += 1
    try:
        if not samples.sampling:
            samples.sampling = True
            cs.later.start(_take_samples, cs, container_id)
        number = 0
        while (news := await samples.after(number)) is not None:
            number, sample = news
            yield sample
    finally:
        samples.listeners -= 1


async def _take_samples(cs: Containers, container_id: str) -> None:
    """Sample one container for all who listen, until nobody does or it is gone."""
    live, previous = cs.live(container_id), NO_SAMPLE
    while live.samples.listeners and container_id in cs:
        sample = _sample(cs, cs.find(container_id))
        if sample.read == ZERO_TIME:  # it rests: what it used last is still told, as dockerd does
            sample = structs.replace(sample, preread=previous.read, precpu_stats=previous.cpu_stats)
        live.samples.publish(sample)
        previous = sample
        await asyncio.wait([live.removed], timeout=EVERY_S)
    live.samples.publish(None)


async def keep_samples(cs: Containers) -> None:
    """Keep a sample of every running container now and then, as long as the engine lives."""
    while True:
        for container in cs:
            if isinstance(container.life, Running):
                _keep(cs, container)
                await asyncio.sleep(0)  # others in between: it may be hundreds
        await asyncio.sleep(KEPT_EVERY_S)


def _keep(cs: Containers, container: Container) -> None:
    try:
        usage = cs.runtime.cgroup(container.id).cpu_stats()
    except (OSError, ProcessGone):  # it has just ended
        return
    if container.id in cs:
        cs.live(container.id).samples.keep(CpuSample(time.time_ns(), cpu_stats(usage, system_cpu())))


def _sample(cs: Containers, container: Container) -> StatsResponse:
    """One look at all counters, compared with a kept one. Takes about 0.3 ms."""
    if not isinstance(container.life, LIVING):
        return _named(NO_SAMPLE, container)
    try:
        counted = cs.runtime.cgroup(container.id).stats()
        networks = _networks(cs, container)
    except (OSError, ProcessGone):  # it has just ended
        return _named(NO_SAMPLE, container)
    now = CpuSample(time.time_ns(), cpu_stats(counted.cpu, system_cpu()))
    samples = cs.live(container.id).samples
    before = samples.before(now.at_ns, since_ns=container.life.started_ns)
    before = before or beginning(container.life.started_ns, now)
    samples.keep(now)
    return structs.replace(
        _named(NO_SAMPLE, container),
        read=rfc3339_nano(now.at_ns),
        preread=rfc3339_nano(before.at_ns),
        pids_stats=PidsStats(counted.pids.current, counted.pids.limit or 0),
        blkio_stats=blkio_stats(counted.blkio, version=cs.host.cgroup.version),
        cpu_stats=now.cpu,
        precpu_stats=before.cpu,
        memory_stats=memory_stats(
            counted.memory, version=cs.host.cgroup.version, total_bytes=cs.host.mem_total_bytes
        ),
        networks=networks,
    )


NO_SAMPLE = StatsResponse(
    read=ZERO_TIME,
    preread=ZERO_TIME,
    pids_stats=PidsStats(),
    blkio_stats=BlkioStats(),
    num_procs=0,
    storage_stats=StorageStats(),
    cpu_stats=NO_CPU,
    precpu_stats=NO_CPU,
    memory_stats=MemoryStats(),
)
"""What is told of a container without a process. Source: measured on dockerd 20.10.24."""


def _named(sample: StatsResponse, container: Container) -> StatsResponse:
    return structs.replace(sample, name=f"/{container.name}", id=container.id)


def beginning(started_ns: int, now: CpuSample) -> CpuSample:
    """The sample that would have been taken when the process was started: it had used nothing."""
    elapsed_ns = max(0, now.at_ns - started_ns) * now.cpu.online_cpus
    usage = CpuUsage(
        total_usage=0,
        percpu_usage=[0 for _ in now.cpu.cpu_usage.percpu_usage],
        usage_in_kernelmode=0,
        usage_in_usermode=0,
    )
    system_ns = max(0, now.cpu.system_cpu_usage - elapsed_ns)
    return CpuSample(started_ns, structs.replace(now.cpu, cpu_usage=usage, system_cpu_usage=system_ns))


def cpu_stats(used: cgroup.CpuStats, system: SystemCpu) -> CpuStats:
    """The processor's part in the API's words."""
    return CpuStats(
        cpu_usage=CpuUsage(
            total_usage=used.usage_ns,
            percpu_usage=list(used.per_cpu_ns),
            usage_in_kernelmode=used.system_ns,
            usage_in_usermode=used.user_ns,
        ),
        system_cpu_usage=system.total_ns,
        online_cpus=system.online,
        throttling_data=ThrottlingData(used.periods, used.throttled_periods, used.throttled_ns),
    )


def memory_stats(used: cgroup.MemoryStats, *, version: int, total_bytes: int) -> MemoryStats:
    """Memory in the API's words; the limit of a container without one is the machine's memory."""
    told = MEMORY_V2 if version == 2 else MEMORY_V1
    return MemoryStats(
        usage=used.usage_bytes,
        max_usage=used.max_usage_bytes,
        stats={name: used.stat[name] for name in sorted(told & used.stat.keys())},
        failcnt=used.failures,
        limit=min(used.limit_bytes or total_bytes, total_bytes),
    )


def blkio_stats(used: cgroup.BlkioStats, *, version: int) -> BlkioStats:
    """Devices in the API's words; what v2 does not count at all is null."""

    def rows(entries: Iterable[cgroup.BlkioEntry]) -> list[BlkioStatEntry] | None:
        told = [BlkioStatEntry(each.major, each.minor, each.op, each.value) for each in entries]
        return told if told or version == 1 else None

    return BlkioStats(
        io_service_bytes_recursive=rows(used.service_bytes),
        io_serviced_recursive=rows(used.serviced),
        io_queue_recursive=rows(used.queued),
        io_service_time_recursive=rows(used.service_time),
        io_wait_time_recursive=rows(used.wait_time),
        io_merged_recursive=rows(used.merged),
        io_time_recursive=rows(used.time),
        sectors_recursive=rows(used.sectors),
    )


def _networks(cs: Containers, container: Container) -> dict[str, NetworkStats]:
    """The links that the container was given, also by another container's network; none of the host's."""
    wanted = _links(cs, container)
    if not wanted:
        return {}
    counted = links_of(container.pid)
    return {name: NetworkStats(**structs.asdict(counted[name])) for name in sorted(wanted) if name in counted}


def _links(cs: Containers, container: Container) -> set[str]:
    try:
        sandbox = cs.networks.sandbox(network_owner(container, cs.find).id)
    except NotFound:  # removed, while its network lives on in this one
        return set()
    return {end.interface for end in sandbox.endpoints if end.interface} if sandbox else set()
