"""Counters of the kernel in the API's words, and the samples that are kept."""

import asyncio

import msgspec
import pytest
from msgspec import structs

from lighterman.apitypes.stats import BlkioStatEntry, CpuUsage
from lighterman.containers.samples import APART_NS, CpuSample, Samples
from lighterman.containers.stats import (
    NO_SAMPLE,
    beginning,
    blkio_stats,
    cpu_stats,
    memory_stats,
    uncompared,
)
from lighterman.linux import cgroup
from lighterman.linux.counters import SystemCpu

SECOND = 10**9
USED = cgroup.CpuStats(
    usage_ns=300, user_ns=100, system_ns=200, per_cpu_ns=(100, 200), periods=5, throttled_periods=2
)
CPU = cpu_stats(USED, SystemCpu(total_ns=4 * SECOND, online=2))


def test_the_processor_is_told_with_its_systems_time() -> None:
    assert msgspec.json.encode(CPU) == (
        b'{"cpu_usage":{"total_usage":300,"percpu_usage":[100,200],"usage_in_kernelmode":200,'
        b'"usage_in_usermode":100},"system_cpu_usage":4000000000,"online_cpus":2,'
        b'"throttling_data":{"periods":5,"throttled_periods":2,"throttled_time":0}}'
    )


def test_v2_has_no_numbers_of_single_processors() -> None:
    one = cpu_stats(cgroup.CpuStats(usage_ns=300), SystemCpu(0, 2))
    assert b"percpu_usage" not in msgspec.json.encode(one)


def test_memory_of_v1_is_told_in_dockers_choice_of_names() -> None:
    stat = {"cache": 1, "rss": 2, "total_rss": 3, "swap": 4, "hierarchical_memory_limit": 5, "shmem": 6}
    used = cgroup.MemoryStats(usage_bytes=10, max_usage_bytes=20, limit_bytes=None, failures=0, stat=stat)
    assert msgspec.json.encode(memory_stats(used, version=1, total_bytes=4096)) == (
        b'{"usage":10,"max_usage":20,"stats":{"cache":1,"hierarchical_memory_limit":5,"rss":2,"total_rss":3},'
        b'"limit":4096}'
    )


def test_memory_of_v2_is_told_in_dockers_choice_of_names() -> None:
    stat = {"anon": 1, "file": 2, "shmem": 3, "zswap": 4, "rss": 5}
    used = cgroup.MemoryStats(usage_bytes=10, limit_bytes=99, failures=7, stat=stat)
    assert msgspec.json.encode(memory_stats(used, version=2, total_bytes=4096)) == (
        b'{"usage":10,"stats":{"anon":1,"file":2,"shmem":3},"failcnt":7,"limit":99}'
    )


@pytest.mark.parametrize(("limit", "told"), [(None, 100), (50, 50), (500, 100)])
def test_the_limit_is_never_more_than_the_machine_has(limit: int | None, told: int) -> None:
    assert memory_stats(cgroup.MemoryStats(limit_bytes=limit), version=1, total_bytes=100).limit == told


def test_devices_are_told_and_what_v2_does_not_count_is_null() -> None:
    used = cgroup.BlkioStats(service_bytes=(cgroup.BlkioEntry(8, 0, "read", 7),))
    v1, v2 = (blkio_stats(used, version=version) for version in (1, 2))
    assert v1.io_service_bytes_recursive == [BlkioStatEntry(8, 0, "read", 7)]
    assert v1.io_serviced_recursive == []
    assert v2.io_service_bytes_recursive == v1.io_service_bytes_recursive
    assert v2.io_serviced_recursive is None


def test_a_young_container_is_compared_with_its_own_beginning() -> None:
    first = beginning(started_ns=9 * SECOND, now=CpuSample(10 * SECOND, CPU))
    assert (first.at_ns, first.cpu.cpu_usage.total_usage) == (9 * SECOND, 0)
    assert first.cpu.cpu_usage.percpu_usage == [0, 0]
    assert CPU.system_cpu_usage - first.cpu.system_cpu_usage == 2 * SECOND  # one second of two processors


def test_who_compares_himself_is_told_of_no_sample_before() -> None:
    told = structs.replace(NO_SAMPLE, cpu_stats=CPU, precpu_stats=CPU, read="later", preread="earlier")
    assert uncompared(told) == structs.replace(NO_SAMPLE, cpu_stats=CPU, read="later")


def sample(at_ns: int) -> CpuSample:
    usage = CpuUsage(total_usage=at_ns, usage_in_kernelmode=0, usage_in_usermode=0)
    return CpuSample(at_ns, structs.replace(CPU, cpu_usage=usage))


async def test_two_samples_are_kept_half_a_second_apart() -> None:
    samples = Samples()
    for at in (1, 2, 3):  # the later ones are too close
        samples.keep(sample(at * SECOND // 10))
    assert samples.before(SECOND // 2, since_ns=0) is None
    assert samples.before(SECOND, since_ns=0) == sample(SECOND // 10)
    samples.keep(sample(SECOND))
    assert samples.before(SECOND + 1, since_ns=0) == sample(SECOND // 10)
    assert samples.before(SECOND + APART_NS, since_ns=0) == sample(SECOND)


async def test_samples_of_an_earlier_run_are_nothing_to_compare_with() -> None:
    samples = Samples()
    samples.keep(sample(SECOND))
    assert samples.before(9 * SECOND, since_ns=2 * SECOND) is None


async def test_all_who_listen_hear_the_latest_and_the_end() -> None:
    samples = Samples()
    samples.sampling = True
    waiting = [asyncio.ensure_future(samples.after(0)) for _ in range(3)]
    await asyncio.sleep(0)
    samples.publish(NO_SAMPLE)
    assert [await each for each in waiting] == [(1, NO_SAMPLE)] * 3
    samples.publish(NO_SAMPLE)
    samples.publish(NO_SAMPLE)
    assert await samples.after(1) == (3, NO_SAMPLE)  # one was missed, none is queued
    late = asyncio.ensure_future(samples.after(3))
    await asyncio.sleep(0)
    samples.publish(None)
    assert await late is None
