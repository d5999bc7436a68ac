"""What a cgroup's path and a host's layout are; the two versions have their own files."""

from pathlib import Path

import pytest

from lighterman.linux.cgroup import cgroup_path, find_layout, open_cgroup
from lighterman.linux.cgroup.v1 import CgroupV1
from lighterman.linux.cgroup.v2 import CgroupV2
from lighterman.linux.mountinfo import parse_mountinfo

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", "/docker/4f"),
        ("/docker", "/docker/4f"),
        ("foo", "/foo/4f"),
        ("/a/b/", "/a/b/4f"),
        ("../../etc", "/etc/4f"),
        ("/a/../../b", "/b/4f"),
        ("//x", "/x/4f"),
        ("/", "/4f"),
    ],
)
def test_a_containers_cgroup_lies_below_its_parent_and_never_above_the_root(parent: str, path: str) -> None:
    assert cgroup_path("4f", parent) == path


@pytest.mark.parametrize("path", ["", "/", "/docker/../..", "//"])
def test_the_root_of_the_hierarchies_is_nobodys_cgroup(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a cgroup"):
        open_cgroup(find_layout(parse_mountinfo(V1)), path)


def test_v1_controllers_may_share_a_mount_and_names_are_hierarchies_too() -> None:
    layout = find_layout(parse_mountinfo(V1))
    assert layout.mode == "v1"
    assert layout.version == 1
    assert layout.v1["cpu"] == layout.v1["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert layout.v1["name=systemd"] == Path("/sys/fs/cgroup/systemd")
    assert layout.controllers == {"cpu", "cpuacct", "memory"}
    assert isinstance(open_cgroup(layout, "/x"), CgroupV1)


def test_a_v2_mount_beside_v1_is_a_hybrid_and_counts_as_v1() -> None:
    layout = find_layout(parse_mountinfo(V1 + UNIFIED))
    assert (layout.mode, layout.version, layout.unified) == ("hybrid", 1, Path("/sys/fs/cgroup/unified"))


def test_a_v2_mount_at_the_top_is_v2_with_controllers_in_v1s_words(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    layout = find_layout(parse_mountinfo(f"29 23 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw"), tmp_path)
    assert (layout.mode, layout.version) == ("v2", 2)
    assert layout.controllers >= {"cpu", "cpuset", "blkio", "memory", "pids", "freezer", "devices"}
    assert isinstance(open_cgroup(layout, "/x"), CgroupV2)


def test_mounts_of_others_make_no_layout() -> None:
    elsewhere = UNIFIED.replace("/sys/fs/cgroup/unified", "/tmp/chroot/sys/fs/cgroup")
    assert find_layout(parse_mountinfo(elsewhere)).mode == "none"
