"""COPY and ADD on disk: what sources mean, where they go, whose they are; layers that are kept and merged."""

import os
import stat
from pathlib import Path

import pytest
from tests.content.archives import archive, directory, file

from lighterman.content.copy_sources import Copier
from lighterman.content.find_sources import Missing, Outside, found
from lighterman.content.jobs import Layer, Source
from lighterman.content.keep_layer import keep
from lighterman.content.merge_layers import merge
from lighterman.content.tree import Refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and trusted xattrs need root")

OPAQUE = "trusted.overlay.opaque"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files in it, and a neighbour outside."""
    (tmp_path / "outside").write_text("canary")
    root = tmp_path / "root"
    for name, text in {"a": "A", "b.txt": "B", "c.txt": "C", "d/x": "X", "d/e/y": "Y"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for path in (root / "d", root / "d/e"):
        path.chmod(0o755)
    (root / "link").symlink_to("d")
    (root / "out").symlink_to("../outside")
    return root


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def sources(root: Path, *patterns: str) -> list[Source]:
    fd = os.open(root, os.O_RDONLY)
    try:
        return found(fd, [pattern.encode() for pattern in patterns], None, unpack=False)
    finally:
        os.close(fd)


def copy(
    root: Path,
    into: Path,
    source: str,
    target: str,
    *,
    owner: tuple[int, int] | None = (0, 0),
    mode: int | None = None,
    unpack: bool = False,
) -> None:
    here, there = os.open(root, os.O_RDONLY), os.open(into, os.O_RDONLY)
    copier = Copier(here, there, owner, mode)
    for each in found(here, [source.encode()], None, unpack=unpack):
        copier.copy(each, target.encode())
    os.close(here)
    os.close(there)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a", ["a"]),
        ("/a", ["a"]),
        ("./a", ["a"]),
        ("d/", ["d"]),
        (".", [""]),
        ("*.txt", ["b.txt", "c.txt"]),
        ("[bc].txt", ["b.txt", "c.txt"]),
        ("[^b].txt", ["c.txt"]),
        ("?", ["a", "d"]),
        ("d/*", ["d/e", "d/x"]),
        ("*/x", ["d/x"]),
        ("link/x", ["d/x"]),
        ("link", ["d"]),
        ("nothing*", []),
        ("*b*.*t*x*t*", ["b.txt"]),
        ("*b*.t*x*t*t*", []),
        ("*" * 40 + "z", []),
        ("[a-c].t?t", ["b.txt", "c.txt"]),
        (r"\a", []),
    ],
)
def test_patterns_mean_what_go_means(root: Path, pattern: str, paths: list[str]) -> None:
    if pattern == r"\a":  # no wildcard, so a name with a backslash: there is none
        with pytest.raises(Missing):
            sources(root, pattern)
        return
    assert [each.path.decode() for each in sources(root, pattern)] == paths


def test_links_lead_nowhere_outside_of_the_root(root: Path) -> None:
    with pytest.raises(Missing):
        sources(root, "out")


@pytest.mark.parametrize("pattern", ["../a", "d/../../a", ".."])
def test_a_path_that_leads_out_is_told(root: Path, pattern: str) -> None:
    with pytest.raises(Outside):
        sources(root, pattern)


def test_a_directorys_digest_tells_what_is_in_it_but_no_time(root: Path) -> None:
    (before,) = sources(root, "d")
    os.utime(root / "d/x", (1, 1))
    assert sources(root, "d") == [before]
    (root / "d/e/y").write_text("changed")
    assert sources(root, "d") != [before]


def test_a_file_goes_to_its_name_or_into_a_directory(root: Path, into: Path) -> None:
    (into / "there").mkdir()
    copy(root, into, "a", "/new/name")
    copy(root, into, "a", "/dir/")
    copy(root, into, "a", "/there")
    assert all((into / name).read_text() == "A" for name in ("new/name", "dir/a", "there/a"))


def test_a_directory_is_merged_and_what_is_in_the_way_replaced(root: Path, into: Path) -> None:
    (into / "t/x/deep").mkdir(parents=True)
    (into / "t/kept").write_text("kept")
    (into / "t/e").write_text("a file")
    copy(root, into, "d", "/t")
    assert (into / "t/x").read_text() == "X"
    assert (into / "t/e/y").read_text() == "Y"
    assert (into / "t/kept").read_text() == "kept"


def test_links_to_the_target_are_followed_in_its_root(root: Path, into: Path) -> None:
    (into / "real").mkdir()
    (into / "way").symlink_to("/real")
    (into / "up").symlink_to("../../..")
    copy(root, into, "d", "/way")
    copy(root, into, "a", "/up/a")
    assert (into / "real/x").read_text() == "X"
    assert (into / "a").read_text() == "A"


def test_owners_and_modes_are_taken_or_given(root: Path, into: Path) -> None:
    os.chown(root / "d/x", 5, 6)
    os.chmod(root / "d/x", 0o4755)
    copy(root, into, "d", "/kept", owner=None)
    copy(root, into, "d", "/given", owner=(7, 8))
    copy(root, into, "d", "/mode", mode=0o700)

    def facts(name: str) -> tuple[int, int, int]:
        found = (into / name).stat()
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    assert facts("kept/x") == (5, 6, 0o4755)
    assert facts("given") == facts("given/e") == (7, 8, 0o755)
    assert facts("given/x") == (7, 8, 0o755)  # whoever gets a file gets no setuid bit with it
    assert facts("mode/e") == facts("mode/x") == (0, 0, 0o700)


def test_hard_links_stay_together_and_times_stay(root: Path, into: Path) -> None:
    os.link(root / "d/x", root / "d/z")
    os.utime(root / "d/x", (3, 3))
    copy(root, into, "d", "/t")
    assert (into / "t/x").stat().st_ino == (into / "t/z").stat().st_ino
    assert (into / "t/x").stat().st_mtime == 3


def test_an_archive_is_unpacked_for_add_and_copied_for_copy(root: Path, into: Path) -> None:
    data = archive(directory("in", uid=5), file("in/f", b"1", mode=0o600, uid=5, gid=6))
    (root / "x.tar").write_bytes(data)
    copy(root, into, "x.tar", "/added", unpack=True, owner=(9, 9))
    copy(root, into, "x.tar", "/copied")
    copy(root, into, "a", "/plain", unpack=True)
    assert (into / "added/in/f").stat().st_gid == 6  # as the archive says, whatever --chown says
    assert (into / "copied").read_bytes() == data
    assert (into / "plain").read_text() == "A"


# Layers


def kept(upper: Path, tmp_path: Path, *stubs: bytes) -> Layer:
    fd = os.open(upper, os.O_RDONLY)
    blob = os.open(tmp_path / "blob", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return keep(fd, blob, stubs)
    finally:
        os.close(fd)
        os.close(blob)


def test_a_kept_layer_is_told_by_its_files(root: Path, tmp_path: Path) -> None:
    first = kept(root, tmp_path)
    assert first == kept(root, tmp_path)
    assert first.size_bytes == 5
    assert first.blob_bytes == (tmp_path / "blob").stat().st_size


def test_what_was_made_to_mount_on_goes_unless_something_is_in_it(root: Path, tmp_path: Path) -> None:
    (root / "m/n").mkdir(parents=True)
    (root / "way").symlink_to("../other")
    (tmp_path / "other").mkdir()
    kept(root, tmp_path, b"m", b"m/n", b"d", b"way", b"nothing")
    assert not (root / "m").exists()
    assert (root / "d/x").exists()
    assert (tmp_path / "other").exists()


def test_a_name_that_would_hide_files_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "d/.wh.x").write_text("")
    with pytest.raises(Refused, match="cannot be in an image"):
        kept(root, tmp_path)


def test_merged_layers_are_what_they_were_together(tmp_path: Path) -> None:
    low, high, target = (tmp_path / name for name in ("low", "high", "target"))
    for path in (low / "gone", low / "opaque/old", low / "both", high / "opaque", high / "both", target):
        path.mkdir(parents=True)
    (low / "gone/f").write_text("x")
    (low / "both/low").write_text("1")
    (low / "file").write_text("low")
    (high / "both/high").write_text("2")
    (high / "file").write_text("high")
    os.setxattr(high / "opaque", OPAQUE, b"y")
    os.mknod(high / "gone", stat.S_IFCHR)
    fd = os.open(target, os.O_RDONLY)
    for layer in (low, high):
        merge(os.open(layer, os.O_RDONLY), fd)
    os.close(fd)
    assert stat.S_ISCHR((target / "gone").lstat().st_mode)
    assert os.listdir(target / "opaque") == []
    assert os.getxattr(target / "opaque", OPAQUE) == b"y"
    assert sorted(os.listdir(target / "both")) == ["high", "low"]
    assert (target / "file").read_text() == "high"
