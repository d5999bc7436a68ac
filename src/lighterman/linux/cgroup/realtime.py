"""A share of the real-time budget (v1, RT_GROUP_SCHED): a cgroup can have no more than those above it have.

Docker has an option of its daemon for the budget of all containers, which nobody sets. Here the cgroups above
a container are given what it asks for, from what the root has left. Source: sched-rt-group.rst of the kernel.
"""

import math
from contextlib import suppress
from pathlib import Path

from lighterman.linux.cgroup.files import read, read_number
from lighterman.linux.cgroup.layout import Layout

REALTIME_PERIOD_US = 1_000_000
"""The kernel's own."""


def grant_realtime(layout: Layout, path: str, *, runtime_us: int, period_us: int) -> None:
    """Let the cgroups above `path` have what those below them use, and `runtime_us` of `period_us` more.

    Raises: OSError (EINVAL: not so much is left).
    """
    directory = layout.v1["cpu"]
    for name in path.strip("/").split("/")[:-1]:
        directory /= name
        directory.mkdir(exist_ok=True)
        _grant(directory, path, runtime_us / period_us)


def give_back_realtime(directory: Path) -> None:
    """Take a cgroup's share away before it is removed: for a moment the kernel counts the dead as well."""
    file = directory / "cpu.rt_runtime_us"
    with suppress(FileNotFoundError):
        if read(file).strip() != b"0":
            file.write_text("0")


def _grant(directory: Path, path: str, share: float) -> None:
    name = path.rpartition("/")[2]
    used = sum(_share(below) for below in directory.iterdir() if below.is_dir() and below.name != name)
    period_us = read_number(directory / "cpu.rt_period_us") or 0
    needed_us = math.ceil((used + share) * period_us)
    if (read_number(directory / "cpu.rt_runtime_us") or 0) < needed_us:
        (directory / "cpu.rt_runtime_us").write_text(str(needed_us))


def _share(directory: Path) -> float:
    runtime_us, period_us = (read_number(directory / f"cpu.rt_{name}_us") for name in ("runtime", "period"))
    return (runtime_us or 0) / (period_us or 1)
