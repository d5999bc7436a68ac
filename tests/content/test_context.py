"""Contexts of builds: what they become on disk, their digests, and what no archive can do outside of them."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from tests.content.archives import Member, archive, file, hardlink, symlink
from tests.content.test_unpack import HARMLESS, HOSTILE

from lighterman.content.context import unpack
from lighterman.content.tree import Refused
from lighterman.lib import tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")


def unpacked(root: Path, *members: Member) -> dict[bytes, str]:
    fd = os.open(root, os.O_RDONLY)
    try:
        return unpack(fd, iter([archive(*members)]))[0]
    finally:
        os.close(fd)


def test_everything_belongs_to_root_and_keeps_mode_and_time(root: Path) -> None:
    unpacked(root, file("d/f", b"x", mode=0o750, uid=7, gid=8, mtime_ns=5 * 10**9))
    facts = (root / "d/f").stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777, facts.st_mtime) == (0, 0, 0o750, 5)


def test_digests_are_those_of_dockerd(root: Path) -> None:
    """Recorded from dockerd 20.10.24: the COPY of a file `a` that holds an A."""
    sums = unpacked(root, file("a", b"A"))
    assert sums[b"a"] == "0c47bc12c43334d1e14eaf2030d3cebd5eec1a30f547e318b8fd6b13a060f833"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (file("f", b"x"), file("f", b"x", mtime_ns=10**18), True),
        (file("f", b"x"), file("f", b"y"), False),
        (file("f", b"x"), file("f", b"x", mode=0o755), False),
        (file("f", b"x"), file("f", b"x", uid=1), False),
        (symlink("f", "a"), symlink("f", "b"), False),
    ],
)
def test_a_digest_tells_all_but_the_time(tmp_path: Path, one: Member, other: Member, same: bool) -> None:
    found = []
    for name, member in (("one", one), ("other", other)):
        (tmp_path / name).mkdir()
        found.append(unpacked(tmp_path / name, member)[b"f"])
    assert (found[0] == found[1]) is same


def test_a_hard_link_counts_with_what_it_leads_to(tmp_path: Path) -> None:
    found = []
    for name, data in (("one", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        found.append(unpacked(tmp_path / name, file("f", data), hardlink("l", "f"))[b"l"])
    assert found[0] != found[1]


def test_of_two_entries_with_one_name_the_later_counts(root: Path) -> None:
    sums = unpacked(root, file("a", b"B"), file("a", b"A"))
    assert (root / "a").read_bytes() == b"A"
    assert sums[b"a"] == "0c47bc12c43334d1e14eaf2030d3cebd5eec1a30f547e318b8fd6b13a060f833"


@pytest.mark.parametrize(
    ("name", "found"),
    [("../canary", "canary"), ("a/../../x", "x"), ("//../neighbour/canary", "neighbour/canary")],
)
def test_no_name_leads_out(root: Path, name: str, found: str) -> None:
    """The context is the root of everything, as for a process in a chroot."""
    assert list(unpacked(root, file(name, b"evil"))) == [found.encode()]
    assert (root / found).read_bytes() == b"evil"


@pytest.mark.parametrize("target", ["../neighbour", "/", "/../neighbour"])
def test_no_link_leads_out(root: Path, target: str) -> None:
    with suppress(FileExistsError):  # to nothing: then there is no directory
        unpacked(root, symlink("l", target), file("l/canary", b"evil"))
    assert not (root.parent / "canary").exists()


def test_a_hard_link_reaches_nothing_outside(root: Path) -> None:
    with pytest.raises((Refused, OSError)):
        unpacked(root, symlink("l", "../neighbour"), hardlink("h", "l/canary"))
    with pytest.raises(FileNotFoundError):
        unpacked(root, hardlink("h", "../neighbour/canary"))


@pytest.mark.parametrize("members", [*HOSTILE.values(), *HARMLESS.values()], ids=[*HOSTILE, *HARMLESS])
def test_what_is_hostile_as_a_layer_harms_nobody_as_a_context(root: Path, members: list[Member]) -> None:
    with suppress(Refused, OSError, tar.TarError):  # what is strange only as a layer may be kept
        unpacked(root, *members)


def test_names_of_whiteouts_are_names_in_a_context(root: Path) -> None:
    unpacked(root, file("a", b"1"), file(".wh.a", b""))
    assert sorted(os.listdir(root)) == [".wh.a", "a"]


def test_a_broken_archive_is_told(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY)
    with pytest.raises(tar.TarError):
        unpack(fd, iter([archive(file("a", b"A" * 2000))[:1024]]))
    os.close(fd)
