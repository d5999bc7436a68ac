"""Moves between cgroups without their wait.

Whoever writes to a `cgroup.procs` waits until every processor has seen that forks and exits take the slow
way meanwhile: an RCU grace period, 6 to 14 ms measured on Linux 6.18, the largest part of a start. One that
comes within 10 to 20 ms of another does not wait again. So a move of no effect, made as soon as a start is
asked for, has its wait beside the start's other work, and the OCI runtime's own moves have none.
Source: percpu_rw_semaphore and rcu_sync of the kernel; cgroup_threadgroup_rwsem in kernel/cgroup/cgroup.c.
"""

import os
from pathlib import Path

from lighterman.linux.cgroup.layout import Layout


def hasten_moves(layout: Layout) -> None:
    """Move this process to where it is. Blocks for milliseconds: for a thread.

    Raises: OSError: it cannot be done here.
    """
    procs = os.open(own_cgroup(layout, Path("/proc/self/cgroup").read_text()) / "cgroup.procs", os.O_WRONLY)
    try:
        os.write(procs, b"%d" % os.getpid())
    finally:
        os.close(procs)


def own_cgroup(layout: Layout, memberships: str) -> Path:
    """A cgroup of the process with these memberships, in any hierarchy that is mounted.

    Raises: FileNotFoundError: there is none. Source: /proc/PID/cgroup in cgroups(7).
    """
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        mounts = [layout.v1[name] for name in controllers.split(",") if name in layout.v1]
        if not controllers and layout.unified is not None:
            mounts = [layout.unified]
        if mounts:
            return mounts[0] / path.lstrip("/")
    raise FileNotFoundError("this process is in no cgroup that is mounted")
