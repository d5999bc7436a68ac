"""cgroups: one interface, v1 (and hybrid) and v2 behind it, chosen once from the host's layout.

Three words. A *layout* is which hierarchies the host has mounted; a *path* names a container's cgroup below
each of them ("/docker/<id>"); *stats* are its counters as values. The OCI runtime makes cgroups and puts
processes into them; here they are read, frozen, limited and removed.

Source: cgroups(7); the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import posixpath

from lighterman.linux.cgroup.haste import hasten_moves
from lighterman.linux.cgroup.interface import (
    BlkioEntry,
    BlkioStats,
    Cgroup,
    CpuStats,
    Limits,
    MemoryStats,
    PidsStats,
    Stats,
    Throttles,
)
from lighterman.linux.cgroup.layout import Layout, Mode, find_layout
from lighterman.linux.cgroup.realtime import REALTIME_PERIOD_US, grant_realtime
from lighterman.linux.cgroup.v1 import CgroupV1
from lighterman.linux.cgroup.v2 import CgroupV2

__all__ = [
    "REALTIME_PERIOD_US",
    "BlkioEntry",
    "BlkioStats",
    "Cgroup",
    "CpuStats",
    "Layout",
    "Limits",
    "MemoryStats",
    "Mode",
    "PidsStats",
    "Stats",
    "Throttles",
    "cgroup_path",
    "find_layout",
    "grant_realtime",
    "hasten_moves",
    "open_cgroup",
]


def cgroup_path(id: str, parent: str = "") -> str:
    """The path of a container's cgroup, for `open_cgroup` and for `cgroupsPath` of its spec.

    `parent` is CgroupParent ("" is dockerd's own, "/docker"). It is absolute always: the runtimes would take
    a relative path below the cgroup of the daemon, where nobody looks for it; and it cannot climb with "..".
    """
    return posixpath.join(posixpath.normpath("/" + (parent or "docker")).replace("//", "/"), id)


def open_cgroup(layout: Layout, path: str) -> Cgroup:
    """The cgroup at `path`, which need not exist (yet). Touches nothing."""
    return CgroupV2(layout, path) if layout.mode == "v2" else CgroupV1(layout, path)
