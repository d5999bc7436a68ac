"""Looking into a root that belongs to somebody hostile: packing, comparing, putting."""

import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.content.archives import archive, device, directory, file, hardlink, symlink

from lighterman.content import Change, ChangeKind
from lighterman.content.compare import changes
from lighterman.content.pack import Gzipped, Plain, pack
from lighterman.content.place import place
from lighterman.content.rooted import evaluated, look_up
from lighterman.content.tree import Refused
from lighterman.lib import tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A container's root beside a file that is none of its business."""
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_text("content")
    yield root
    assert (tmp_path / "outside").read_text() == "secret"
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "root", "upper"}


def opened(path: Path, flags: int = os.O_PATH) -> int:
    return os.open(path, flags | os.O_CLOEXEC)


def packed(root: Path, path: str, name: str, *, gzip: bool = False, closed: tuple[Path, ...] = ()) -> bytes:
    reader, writer = os.pipe()
    chunks: list[bytes] = []
    shut = {(path.stat().st_dev, path.stat().st_ino) for path in closed}
    with os.fdopen(reader, "rb") as told:
        if (pid := os.fork()) == 0:  # a pipe holds less than some archives
            os.close(reader)
            pack(
                look_up(opened(root), path.encode()),
                name.encode(),
                Gzipped(writer) if gzip else Plain(writer),
                closed=shut,
            )
            os._exit(0)
        os.close(writer)
        while chunk := told.read(1 << 16):
            chunks.append(chunk)
        assert os.waitpid(pid, 0)[1] == 0
    return b"".join(chunks)


def listed(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return found.getmembers()


def put(root: Path, where: str, *members: tuple[tar.Entry, bytes], **options: object) -> None:
    fd = opened(root)
    top = look_up(fd, where.encode() + b"/")
    writable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
    reader = tar.TarReader(iter([archive(*members)]))
    wish = {"keep_kinds": False, "owner": None, **options}
    place(fd, writable, evaluated(fd, where.encode()), reader, **wish)  # type: ignore[arg-type]


# Paths


@pytest.mark.parametrize(
    ("links", "path", "leads_to"),
    [
        ({}, "/a/b/f", "/a/b/f"),
        ({"up": "../../../../a"}, "/up/b", "/a/b"),
        ({"abs": "/a"}, "/abs/../abs/b", "/a/b"),
        ({"x": "y", "y": "/a/b"}, "x/f", "/a/b/f"),
        ({"dangling": "no/where"}, "/dangling/x", "/no/where/x"),
    ],
)
def test_links_are_followed_as_a_chroot_would(
    root: Path, links: dict[str, str], path: str, leads_to: str
) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert evaluated(opened(root), path.encode()) == leads_to.encode()


def test_links_in_a_circle_end(root: Path) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with pytest.raises(OSError, match="Too many levels"):
        evaluated(opened(root), b"/x")


# Packing


def test_names_begin_with_what_the_top_is_called(root: Path) -> None:
    assert [one.name for one in listed(packed(root, "/a", "z"))] == ["z", "z/b", "z/b/f"]
    assert [one.name for one in listed(packed(root, "/", "/"))] == ["", "/a", "/a/b", "/a/b/f"]
    assert [one.name for one in listed(packed(root, "/", ""))] == ["a", "a/b", "a/b/f"]
    assert [one.name for one in listed(packed(root, "/a/b/f", "f"))] == ["f"]


def test_what_a_file_is_comes_back(root: Path) -> None:
    os.chown(root / "a" / "b" / "f", 123456, 3_000_000)
    os.chmod(root / "a" / "b" / "f", 0o4751)
    os.utime(root / "a" / "b" / "f", ns=(0, 1_700_000_000_500_000_000))
    os.setxattr(root / "a" / "b" / "f", "user.color", b"blue\0green")
    (found,) = listed(packed(root, "/a/b/f", "f"))
    assert (found.uid, found.gid, found.mode, found.mtime) == (123456, 3_000_000, 0o104751, 1_700_000_000)
    assert found.pax_headers["SCHILY.xattr.user.color"] == "blue\0green"


def test_all_kinds_are_told_and_sockets_are_left_out(root: Path) -> None:
    os.link(root / "a" / "b" / "f", root / "a" / "hard")
    os.mkfifo(root / "pipe")
    os.mknod(root / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(root / "sock", stat.S_IFSOCK | 0o600)
    (root / "link").symlink_to("/etc/passwd")
    found = {one.name: one for one in listed(packed(root, "/", ""))}
    assert (found["a/hard"].type, found["a/hard"].linkname) == (tarfile.LNKTYPE, "a/b/f")
    assert found["pipe"].type == tarfile.FIFOTYPE
    assert (found["null"].devmajor, found["null"].devminor) == (1, 3)
    assert (found["link"].type, found["link"].linkname) == (tarfile.SYMTYPE, "/etc/passwd")
    assert "sock" not in found


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65536, 65537, 3_000_001])
@pytest.mark.parametrize("gzip", [False, True])
def test_contents_of_all_sizes_come_whole(root: Path, size: int, gzip: bool) -> None:
    content = os.urandom(size)
    (root / "f").write_bytes(content)
    with tarfile.open(fileobj=io.BytesIO(packed(root, "/f", "f", gzip=gzip))) as found:
        member = found.extractfile("f")
        assert member is not None
        assert member.read() == content


def test_long_names_and_links_come_whole(root: Path) -> None:
    deep = root / "/".join(["directory" * 9] * 5)[1:]
    deep.mkdir(parents=True)
    (deep / "ü\udcff").symlink_to("t" * 300)
    found = listed(packed(root, "/", ""))
    assert any(one.linkname == "t" * 300 and one.name.endswith("ü\udcff") for one in found)


def test_a_closed_directory_is_told_and_not_looked_into(root: Path) -> None:
    assert [one.name for one in listed(packed(root, "/", "", closed=(root / "a" / "b",)))] == ["a", "a/b"]
    assert [one.name for one in listed(packed(root, "/a/b", "b", closed=(root / "a" / "b",)))] == ["b"]


def test_a_file_that_shrinks_is_filled_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head has promised its size; what follows has to be found where it belongs."""
    (root / "f").write_bytes(b"x" * 100_000)
    real = os.sendfile

    def shrinking(out: int, fd: int, offset: int | None, count: int) -> int:
        os.truncate(root / "f", 70_000)
        return real(out, fd, offset, count)

    monkeypatch.setattr(os, "sendfile", shrinking)
    assert [(one.name, one.size) for one in listed(packed(root, "/", ""))][-1] == ("f", 100_000)


# Putting


def test_an_archive_is_put_below_the_place_and_through_links_of_the_root(root: Path) -> None:
    (root / "link").symlink_to("/a/b")
    put(root, "/link", file("f", b"new", uid=5, mode=0o600), file("deep/er", b"2"), directory("."))
    assert (root / "a" / "b" / "f").read_text() == "new"
    assert (root / "a" / "b" / "f").stat().st_uid == 5
    assert (root / "a" / "b" / "deep" / "er").read_text() == "2"


ESCAPES = {
    "a link up and a file through it": (symlink("x", "../../../.."), file("x/outside", b"bad")),
    "an absolute link": (symlink("x", "/"), file("x/outside", b"bad")),
    "a hard link through a link": (
        symlink("x", "../../.."),
        hardlink("y", "x/../../outside"),
        file("y", b"bad"),
    ),
    "a file over a link": (symlink("x", "../../../outside"), file("x", b"bad")),
    "a whiteout is a file like others": (file(".wh..wh..opq"), file(".wh.b"), file(".wh...")),
}


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES)
def test_no_archive_gets_out_of_the_root(root: Path, members: tuple[tuple[tar.Entry, bytes], ...]) -> None:
    with suppress(Refused, OSError):
        put(root, "/a", *members)
    assert (root / "a" / "b" / "f").read_text() == "content"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "../../outside"])
def test_a_name_that_leads_out_is_refused(root: Path, name: str) -> None:
    with pytest.raises(Refused, match='is outside of "/a"'):
        put(root, "/a", file(name, b"bad"))


def test_a_name_may_go_up_as_long_as_it_comes_back(root: Path) -> None:
    put(root, "/a", file("x/../b/g", b"1"), file("/h", b"2"))
    assert (root / "a" / "b" / "g").read_text() == "1"
    assert (root / "a" / "h").read_text() == "2"


def test_a_device_that_would_be_a_whiteout_is_refused(root: Path) -> None:
    with pytest.raises(Refused, match="whiteout"):
        put(root, "/a", device("gone", 0, 0))


def test_all_may_be_given_to_one_owner(root: Path) -> None:
    put(root, "/a", file("f", b"", uid=1), directory("d"), symlink("l", "f"), owner=(77, 88))
    assert {(os.lstat(root / "a" / name).st_uid, os.lstat(root / "a" / name).st_gid) for name in "fdl"} == {
        (77, 88)
    }


# Comparing


def test_changes_of_every_kind(root: Path) -> None:
    upper = root.parent / "upper"
    shutil.copytree(root, upper, symlinks=True, copy_function=shutil.copy2)
    (root / "same").write_text("")
    (root / "gone").write_text("")
    (root / "d").mkdir()
    (root / "d" / "inside").write_text("")
    shutil.copy2(root / "same", upper / "same")
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    (upper / "d").mkdir()
    os.setxattr(upper / "d", "trusted.overlay.opaque", b"y")
    (upper / "d" / "new").write_text("")
    (upper / "a" / "b" / "f").write_text("changed")
    os.utime(upper / "a" / "b" / "f", (1, 1))
    found = list(changes(opened(upper, os.O_RDONLY), opened(root, os.O_RDONLY)))
    modified, added, deleted = ChangeKind.MODIFIED, ChangeKind.ADDED, ChangeKind.DELETED
    assert found == [
        Change(b"/a", modified),
        Change(b"/a/b", modified),
        Change(b"/a/b/f", modified),
        Change(b"/d", modified),
        Change(b"/d/inside", deleted),
        Change(b"/d/new", added),
        Change(b"/gone", deleted),
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join),
        st.binary(max_size=2000),
    )
)
def test_what_is_packed_and_put_elsewhere_is_the_same(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for side in ("from", "to"):
            (base / side).mkdir()
        for path, content in files.items():
            target = base / "from" / path
            with suppress(OSError):  # a file is in the way of a directory
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        data = packed(base / "from", "/", "/")
        fd = opened(base / "to")
        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        place(fd, top, b"/", tar.TarReader(iter([data])), keep_kinds=False, owner=None)
        left, right = opened(base / "to", os.O_RDONLY), opened(base / "from", os.O_RDONLY)
        assert [one for one in changes(left, right) if one.kind != ChangeKind.MODIFIED] == []
        assert packed(base / "to", "/", "/")[512:] == data[512:]
