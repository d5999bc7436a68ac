"""Which hierarchies the host has: found once from the mounts, then only asked."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from lighterman.linux.mountinfo import Mount

Mode = Literal["v1", "hybrid", "v2", "none"]

V1_CONTROLLERS = frozenset(
    [
        *("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc"),
        *("net_cls", "net_prio", "perf_event", "pids", "rdma"),
    ]
)


class Layout(Struct, frozen=True):
    """`v1`: controller -> its mount. `unified`: the mount of cgroup2, the only one in mode v2."""

    mode: Mode
    v1: Mapping[str, Path]
    unified: Path | None
    controllers: frozenset[str]  # usable by containers: cpu, memory, ...; v2's spelled as in v1 (io: blkio)

    @property
    def version(self) -> int:
        """1 or 2 as `docker info` says it; a hybrid is 1."""
        return 2 if self.mode == "v2" else 1


def find_layout(mounts: Iterable[Mount], sys_fs_cgroup: Path = Path("/sys/fs/cgroup")) -> Layout:
    """The layout that these mounts make. Reads `cgroup.controllers` of a v2 root, nothing else.

    cgroup2 on /sys/fs/cgroup itself is v2; anywhere else beside v1 mounts it is a hybrid. A named hierarchy
    (`name=systemd`) counts as a controller of that name: containers get directories in it as well.
    """
    v1: dict[str, Path] = {}
    unified: Path | None = None
    for mount in mounts:
        point = Path(mount.point)
        if mount.type == "cgroup2" and point.is_relative_to(sys_fs_cgroup):
            unified = point
        elif mount.type == "cgroup" and point.is_relative_to(sys_fs_cgroup):
            for option in mount.super_options:
                if option in V1_CONTROLLERS or option.startswith("name="):
                    v1[option] = point
    if unified == sys_fs_cgroup:
        return Layout("v2", {}, unified, _v2_controllers(unified))
    if v1:
        return Layout("hybrid" if unified else "v1", v1, unified, frozenset(v1) & V1_CONTROLLERS)
    return Layout("none", {}, None, frozenset())


def _v2_controllers(root: Path) -> frozenset[str]:
    offered = (root / "cgroup.controllers").read_text().split()
    # Freezing, accounting of cpu time and device rules (BPF) are no controllers in v2: always there.
    return frozenset("blkio" if name == "io" else name for name in offered) | {
        "freezer",
        "devices",
        "cpuacct",
    }
