"""`lighterman check --store`: a whole store has nothing to complain of, and each damage is told."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.content.archives import archive, directory, file, hardlink, symlink
from tests.images.shelf import opened, put

from lighterman.__main__ import main
from lighterman.errdefs import System
from lighterman.images.check import check_store

LOW = archive(directory("d", 0o750), file("d/f", b"x" * 5000, mode=0o4755, uid=7), symlink("l", "d/f"))
TOP = archive(file("d/.wh.f"), file("g", b"y" * 10), hardlink("h", "g"))


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A data root with an image of two layers."""
    async with opened(tmp_path / "root") as shelf:
        await put(shelf, "a:1", layers=[LOW, TOP])
    return tmp_path / "root"


def tree_with(root: Path, name: str) -> Path:
    return next(path for path in root.glob(f"layers/*/diff/{name}") if path.is_file())


def blob(root: Path) -> Path:
    return min(root.glob("blobs/sha256/*/*"))


def change(root: Path, statement: str) -> None:
    with sqlite3.connect(root / "state.db") as db:
        db.execute(statement)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def same_times(path: Path, act: Callable[[], object]) -> None:
    facts = path.stat()
    act()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (
        lambda root: same_times(path := tree_with(root, "d/f"), lambda: path.write_bytes(b"z" * 5000)),
        "/d/f has another content",
    ),
    "time": (lambda root: os.utime(tree_with(root, "g"), ns=(0, 5 * 10**9)), "/g has another time"),
    "mode": (lambda root: tree_with(root, "d/f").chmod(0o755), "/d/f has another mode"),
    "owner": (lambda root: os.chown(tree_with(root, "g"), 1, 0), "/g has another owner"),
    "attribute": (lambda root: os.setxattr(tree_with(root, "g"), "user.a", b""), "/g has other attributes"),
    "a file too few": (lambda root: tree_with(root, "d/f").unlink(), "/d/f is missing"),
    "a file too many": (lambda root: (tree_with(root, "g").parent / "n").touch(), "/n is of no archive"),
    "a blob": (lambda root: flip(blob(root)), "layer sha256:"),
    "a missing blob": (lambda root: blob(root).unlink(), "is not there"),
    "a missing layer": (lambda root: shutil.rmtree(tree_with(root, "g").parent), "is not there"),
    "a strange layer": (lambda root: (root / "layers" / "x").mkdir(), "belongs to no layer"),
    "a strange blob": (
        lambda root: (blob(root).parent / (blob(root).parent.name + "0" * 62)).touch(),
        "belongs to no layer",
    ),
    "a strange writable layer": (lambda root: (root / "snapshots" / "x").mkdir(), "belongs to no container"),
    "a container without one": (
        lambda root: change(root, "INSERT INTO containers VALUES ('c', x'80')"),
        "container c: its writable layer is not there",
    ),
    "a row of a layer": (
        lambda root: change(root, "DELETE FROM layers WHERE key = (SELECT max(key) FROM layers)"),
        "is not there",
    ),
    "a row of an image": (lambda root: change(root, "DELETE FROM images"), "its image sha256:"),
    "a name": (lambda root: change(root, "UPDATE \"references\" SET key = 'A'"), "name A: "),
}


async def test_a_whole_store_has_nothing_to_complain_of(root: Path) -> None:
    checked = check_store(root)
    assert (checked.layers, checked.images, checked.names, checked.complaints) == (2, 1, 1, [])
    assert os.listdir(root / "ingest") == []
    told = CliRunner().invoke(main, ["check", "--store", "--data-root", str(root)])
    assert (told.exit_code, "Nothing is wrong." in told.output) == (0, True)


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_each_damage_is_told(root: Path, damage: Callable[[Path], object], complaint: str) -> None:
    damage(root)
    told = CliRunner().invoke(main, ["check", "--store", "--data-root", str(root)])
    assert (told.exit_code, complaint in told.output) == (1, True), told.output


async def test_what_is_no_store_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(System, match="is no data root"):
        check_store(tmp_path)
    change(root, "UPDATE images SET doc = x'ff'")
    with pytest.raises(System, match="cannot be read"):
        check_store(root)
