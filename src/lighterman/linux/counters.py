"""Counters that belong to no cgroup: the processors' time, and what the links of a network namespace carried.

They are small files of /proc, read in tens of us.
"""

from msgspec import Struct

TICK_NS = 10_000_000
"""The unit of /proc/stat: USER_HZ is 100 on every architecture that containers run on."""


class SystemCpu(Struct, frozen=True):
    """The time of all processors together, idle time included, since boot; and how many are online."""

    total_ns: int
    online: int


class LinkCounters(Struct, frozen=True):
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def system_cpu() -> SystemCpu:
    """The processors now. Source: proc_stat(5); guest time is part of user time already."""
    with open("/proc/stat", "rb") as file:
        return parse_stat(file.read())


def parse_stat(text: bytes) -> SystemCpu:
    """The lines "cpu ..." of /proc/stat, which come first."""
    total_ns, online = 0, 0
    for line in text.splitlines():
        if not line.startswith(b"cpu"):
            break
        name, *ticks = line.split()
        if name == b"cpu":
            total_ns = sum(int(each) for each in ticks[:7]) * TICK_NS
        else:
            online += 1
    return SystemCpu(total_ns, online)


def links_of(pid: int) -> dict[str, LinkCounters]:
    """The counters of each link in the network namespace of a process, by its name.

    Raises: FileNotFoundError, ProcessLookupError when the process is gone. Source: proc_pid_net(5).
    """
    with open(f"/proc/{pid}/net/dev", "rb") as file:
        return parse_net_dev(file.read())


def parse_net_dev(text: bytes) -> dict[str, LinkCounters]:
    """The lines of /proc/PID/net/dev behind its two lines of titles."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(b":")
        counters = [int(each) for each in rest.split()]
        found[name.strip().decode()] = LinkCounters(*counters[:4], *counters[8:12])
    return found
