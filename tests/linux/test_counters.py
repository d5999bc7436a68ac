"""Counters of /proc, from texts as the kernel writes them."""

import os

from lighterman.linux.counters import (
    LinkCounters,
    SystemCpu,
    links_of,
    parse_net_dev,
    parse_stat,
    system_cpu,
)

STAT = b"""cpu  10 1 5 100 2 0 1 3 7 0
cpu0 5 1 2 50 1 0 1 1 0 0
cpu3 5 0 3 50 1 0 0 2 0 0
intr 12345 0 9
cpufreq 1
"""
NET_DEV = b"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0: 486 5 1 2 0 0 0 0 70 3 4 5 0 0 0 0
"""  # noqa: E501 the kernel's own titles


def test_guest_and_steal_time_are_no_further_time_and_gaps_are_not_counted() -> None:
    assert parse_stat(STAT) == SystemCpu((10 + 1 + 5 + 100 + 2 + 0 + 1) * 10_000_000, 2)


def test_each_link_has_eight_counters() -> None:
    assert parse_net_dev(NET_DEV)["eth0"] == LinkCounters(486, 5, 1, 2, 70, 3, 4, 5)


def test_this_machine_is_read() -> None:
    assert system_cpu().online == os.cpu_count()
    assert "lo" in links_of(os.getpid())
