"""Unpacking: what a layer becomes on disk, and what no archive can do outside of its root.

Each test unpacks into a directory of its own with neighbours beside it, and each hostile one looks whether
the neighbours are as they were.
"""

import os
import stat
from pathlib import Path

import pytest
from tests.content.archives import Member, archive, device, directory, file, hardlink, symlink

from lighterman.content.tree import Refused
from lighterman.content.unpack import Unpacked, unpack
from lighterman.lib import tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and trusted xattrs need root")


def unpacked(root: Path, *members: Member, bytes_max: int = 1 << 20) -> Unpacked:
    fd = os.open(root, os.O_RDONLY)
    try:
        return unpack(fd, tar.TarReader(iter([archive(*members)])), bytes_max=bytes_max)
    finally:
        os.close(fd)


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def test_files_keep_owner_mode_time_and_attributes(root: Path) -> None:
    made = file("bin/su", b"#!", mode=0o4755, uid=7, gid=8, mtime_ns=1_500_000_000_123_456_789)
    made[0].xattrs = {b"user.note": b"x", b"trusted.overlay.redirect": b"/etc"}
    assert unpacked(root, directory("bin", 0o1777), made) == Unpacked(2, 2)
    found = (root / "bin/su").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4755, 7, 8)
    assert found.st_mtime_ns == 1_500_000_000_123_456_789
    assert os.listxattr(root / "bin/su") == ["user.note"]
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o1777


def test_a_file_in_a_directory_with_setgid_has_the_group_that_the_archive_gives_it(root: Path) -> None:
    shared, given = directory("d", 0o2755), file("d/f")
    shared[0].gid = 8
    unpacked(root, shared, given)
    assert ((root / "d").stat().st_gid, (root / "d/f").stat().st_gid) == (8, 0)


def test_a_directory_has_its_own_time_whatever_was_put_into_it(root: Path) -> None:
    unpacked(root, directory("d", mtime_ns=10**18), file("d/f"))
    assert (root / "d").stat().st_mtime_ns == 10**18


def test_the_root_takes_what_the_archive_says_of_it(root: Path) -> None:
    unpacked(root, directory(".", 0o700, uid=3))
    assert (stat.S_IMODE(root.stat().st_mode), root.stat().st_uid) == (0o700, 3)


def test_names_are_bytes(root: Path) -> None:
    unpacked(root, (tar.Entry(b"\xff\n\x01"), b""))
    assert os.listdir(os.fsencode(root)) == [b"\xff\n\x01"]


def test_whiteouts_become_those_of_overlay(root: Path) -> None:
    unpacked(root, file("d/.wh.gone"), file("d/.wh..wh..opq"), file("e/.wh..wh.plnk"), file("f"))
    assert is_whiteout(root / "d/gone")
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(root)) == ["d", "f"]


def test_a_directory_made_after_its_whiteout_hides_the_one_below(root: Path) -> None:
    unpacked(root, file(".wh.d"), directory("d"), file("d/new"))
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"


def test_a_whiteout_takes_nothing_of_its_own_layer_away(root: Path) -> None:
    unpacked(root, file("f", b"x"), directory("d"), file("d/g"), file(".wh.f"), file(".wh.d"))
    assert (root / "f").read_bytes() == b"x"
    assert (root / "d/g").exists()
    assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"


def test_of_two_entries_with_one_name_the_later_counts(root: Path) -> None:
    unpacked(
        root,
        directory("a"),
        file("a/f", b"1"),
        symlink("a", "b"),
        file("a", b"2"),
        symlink("l", "x"),
        file("l", b"3"),
    )
    assert (root / "a").read_bytes() == b"2"
    assert not (root / "l").is_symlink()


def test_files_go_into_the_new_directory_after_it_was_replaced(root: Path) -> None:
    unpacked(root, file("a/f"), symlink("a", "b"), directory("a"), file("a/g"))
    assert os.listdir(root / "a") == ["g"]


def test_hard_links_are_links(root: Path) -> None:
    unpacked(root, file("a", b"x"), hardlink("d/b", "/a"), symlink("s", "a"), hardlink("t", "s"))
    assert (root / "a").stat().st_ino == (root / "d/b").stat().st_ino
    assert (root / "t").is_symlink()


def test_a_parent_that_is_a_link_is_resolved_inside_of_the_root(root: Path) -> None:
    unpacked(root, directory("usr/lib"), symlink("lib", "/usr/lib"), file("lib/x"), file("lib/deep/y"))
    assert sorted(os.listdir(root / "usr/lib")) == ["deep", "x"]


def test_more_directories_than_stay_open_are_no_limit(root: Path) -> None:
    unpacked(root, *(file(f"{n}/f") for n in range(600)), *(file(f"{n}/g") for n in range(600)))
    assert all(len(os.listdir(root / str(n))) == 2 for n in range(600))


HOSTILE = {
    "dots": [file("../neighbour/canary", b"dead")],
    "dots further in": [file("a/../../neighbour/canary", b"dead")],
    "dots as a leaf": [directory("a/..")],
    "a link out, and a file through it": [symlink("out", "../neighbour"), file("out/canary", b"dead")],
    "an absolute link out": [symlink("out", "/"), file("out/x/../../canary", b"dead")],
    "a hard link to dots": [hardlink("h", "../neighbour/canary"), file("h", b"dead")],
    "a hard link through a link": [symlink("out", "../neighbour"), hardlink("h", "out/canary")],
    "a hard link to the root": [hardlink("h", "/")],
    "a whiteout of dots": [file(".wh...", b"")],
    "a whiteout of a dot": [file(".wh..", b"")],
    "a whiteout of nothing": [file(".wh.", b"")],
    "a whiteout through a link": [symlink("out", "../neighbour"), file("out/.wh...")],
    "a device that is a whiteout": [device("null", 0, 0)],
    "a file below a file": [file("a"), file("a/b")],
    "a name that is too deep": [file("a/" * 600 + "b")],
    "a name that is too long": [file("/".join(["a" * 200] * 30))],
    "records without an end": [(tar.Entry(b"f", xattrs={b"user.x": b"x" * (2 << 20)}), b"")],
    "a name with a zero": [(tar.Entry(b"x" * 101 + b"\0y"), b"")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused_and_harms_nobody(root: Path, members: list[Member]) -> None:
    with pytest.raises((Refused, OSError, tar.TarError)):
        unpacked(root, *members)


HARMLESS = {
    "an absolute name": [file("/etc/x")],
    "a link out that nobody follows": [symlink("out", "../neighbour/canary")],
    "a file over a link out": [symlink("canary", "../neighbour/canary"), file("canary", b"dead")],
    "a whiteout over a link out": [symlink("out", "../neighbour"), file(".wh.out")],
    "a hard link to a hard link": [file("a", b"x"), hardlink("b", "a"), hardlink("c", "b"), file("b")],
    "a directory swapped for a link": [
        file("a/b"),
        symlink("a", "../neighbour"),
        directory("a"),
        file("a/canary"),
    ],
    "opaque through a link that stays inside": [symlink("a", "/"), file("a/.wh..wh..opq")],
    "a link chain that stays inside": [symlink("a", "../../.."), file("a/b", b"inside")],
}


@pytest.mark.parametrize("members", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_strange_archive_stays_inside_of_its_root(root: Path, members: list[Member]) -> None:
    unpacked(root, *members)


def test_more_bytes_than_allowed_are_refused_before_they_are_written(root: Path) -> None:
    with pytest.raises(Refused):
        unpacked(root, file("a", b"x" * 2000), bytes_max=1999)
    assert os.listdir(root) == []
