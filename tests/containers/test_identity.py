"""Who a process is, by the files of its own root; and no way out of that root."""

import os
import re
from pathlib import Path

import pytest

from lighterman.containers.copy_up import copy_tree
from lighterman.containers.identity import Identity, resolve_identity
from lighterman.containers.rootfs import make_directory, open_directory, read_text
from lighterman.errdefs import InvalidParameter
from lighterman.linux import inotify

PASSWD = (
    "# users\nroot:x:0:0:root:/root:/bin/sh\nbob:x:1000:100::/home/bob:/bin/sh\nbroken\n7:x:5:5::/seven:\n"
)
GROUP = "root:x:0:root\nusers:x:100:\nwheel:x:10:bob,root\nbroken:x:no:bob\n"


@pytest.mark.parametrize(
    ("user", "add", "identity"),
    [
        ("", (), Identity(0, 0, (0, 10), "/root")),
        ("bob", (), Identity(1000, 100, (100, 10), "/home/bob")),
        ("1000", (), Identity(1000, 100, (100, 10), "/home/bob")),
        ("bob:wheel", (), Identity(1000, 10, (10,), "/home/bob")),
        ("1000:1234", (), Identity(1000, 1234, (1234,), "/home/bob")),
        ("4711", (), Identity(4711, 0, (0,), "/")),
        ("7", (), Identity(5, 5, (5,), "/seven")),
        ("bob", ("root", "77"), Identity(1000, 100, (100, 10, 0, 77), "/home/bob")),
    ],
)
def test_a_user_is_found_by_name_and_by_number(user: str, add: tuple[str, ...], identity: Identity) -> None:
    assert resolve_identity(user, add, PASSWD, GROUP) == identity


def test_a_root_without_files_has_root_only() -> None:
    assert resolve_identity("", (), "", "") == Identity(0, 0, (0,), "/root")
    assert resolve_identity("1:2", (), "", "") == Identity(1, 2, (2,), "/")


@pytest.mark.parametrize(
    ("user", "add", "text"),
    [
        ("nope", (), "unable to find user nope: no matching entries in passwd file"),
        ("bob:nope", (), "unable to find group nope: no matching entries in group file"),
        ("", ("nogrp",), "Unable to find group nogrp: no matching entries in group file"),
        ("2147483648", (), "uids and gids must be in range 0-2147483647"),
        ("-1", (), "uids and gids must be in range 0-2147483647"),
        ("1:-1", (), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_who_is_not_there_is_told_in_dockers_words(user: str, add: tuple[str, ...], text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        resolve_identity(user, add, PASSWD, GROUP)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of the host")
    root = tmp_path / "root"
    root.mkdir()
    return root


def test_links_in_a_root_stay_inside(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc" / "real").write_text("inside")
    (root / "etc" / "passwd").symlink_to("/etc/real")
    (root / "etc" / "group").symlink_to("../../../../../../secret")
    (root / "etc" / "shadow").symlink_to(root.parent / "secret")
    assert read_text(root, "/etc/passwd") == "inside"
    assert read_text(root, "/etc/group") == ""
    assert read_text(root, "/etc/shadow") == ""


IN_OPEN = 0x20


def test_what_is_no_file_has_no_text(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "dir").mkdir()
    watch = inotify.open_watch(str(root), IN_OPEN)
    assert read_text(root, "/pipe") == read_text(root, "/dir") == read_text(root, "/none") == ""
    with pytest.raises(BlockingIOError):  # nor was it opened: with a device that may do harm
        os.read(watch, 4096)
    os.close(watch)


def test_a_directory_is_made_inside_whatever_the_links_say(root: Path) -> None:
    (root / "way").symlink_to("/../../else")
    (root / "else").mkdir()
    make_directory(root, "/way/a/b")
    make_directory(root, "/way/a/b")
    assert (root / "else" / "a" / "b").is_dir()
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]


def test_a_file_in_the_way_of_a_directory_is_told(root: Path) -> None:
    (root / "file").write_text("")
    with pytest.raises(InvalidParameter, match="mkdir /file/a: not a directory"):
        make_directory(root, "/file/a")
    with pytest.raises(InvalidParameter, match="file exists /file"):
        open_directory(root, "/file")


def test_a_volume_begins_with_what_the_image_has(root: Path, tmp_path: Path) -> None:
    source = root / "data"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("text")
    os.chmod(source / "sub" / "file", 0o4711)
    os.link(source / "sub" / "file", source / "again")
    (source / "link").symlink_to("/secret")
    os.mkfifo(source / "pipe")
    os.chmod(source, 0o750)
    os.utime(source / "sub" / "file", ns=(1, 2))
    volume = tmp_path / "volume"
    volume.mkdir()
    copy_tree(root, "/data", volume)
    assert (volume / "sub" / "file").read_text() == "text"
    facts = (volume / "sub" / "file").stat()
    assert (facts.st_mode & 0o7777, facts.st_nlink, facts.st_mtime_ns) == (0o4711, 2, 2)
    assert os.readlink(volume / "link") == "/secret"
    assert (volume / "pipe").is_fifo()
    assert volume.stat().st_mode & 0o777 == 0o750


def test_nothing_is_copied_from_nothing(root: Path, tmp_path: Path) -> None:
    copy_tree(root, "/none", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]
