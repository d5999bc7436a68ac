"""The wait of moves between cgroups is had beforehand, and moves nothing."""

import os
from pathlib import Path

import pytest

from lighterman.linux.cgroup import Layout, hasten_moves
from lighterman.linux.cgroup.haste import own_cgroup
from lighterman.linux.host import probe_host

V1 = Layout("v1", {"cpu": Path("/c/cpu"), "name=systemd": Path("/c/systemd")}, None, frozenset())
V2 = Layout("v2", {}, Path("/c"), frozenset())


def test_a_process_is_found_in_any_hierarchy_that_is_mounted() -> None:
    assert own_cgroup(V1, "9:freezer:/x\n8:cpu,cpuacct:/a/b\n0::/z\n") == Path("/c/cpu/a/b")
    assert own_cgroup(V1, "1:name=systemd:/\n") == Path("/c/systemd")
    assert own_cgroup(V2, "0::/system.slice/x.service\n") == Path("/c/system.slice/x.service")
    with pytest.raises(FileNotFoundError):
        own_cgroup(V1, "0::/z\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")
def test_nothing_is_moved() -> None:
    before = Path("/proc/self/cgroup").read_text()
    hasten_moves(probe_host().cgroup)
    assert Path("/proc/self/cgroup").read_text() == before
