"""What little was thrown away is removed on the spot, and nothing beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.content.trash import emptied


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    path = tmp_path / "trash"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, fd
    os.close(fd)


def test_all_of_a_small_tree_goes_and_no_link_is_followed(trash: tuple[Path, int], tmp_path: Path) -> None:
    path, fd = trash
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/canary").touch()
    (path / "a/b").mkdir(parents=True)
    (path / "a/b/file").touch()
    os.symlink(tmp_path / "kept", path / "a/link")
    os.symlink(tmp_path / "kept", path / "link")
    os.mkfifo(path / "a/pipe")
    assert emptied(fd, 6)
    assert os.listdir(path) == []
    assert (tmp_path / "kept/canary").exists()


@pytest.mark.parametrize("entries_max", [0, 1, 4, 5])
def test_what_is_more_than_that_is_left_to_somebody_else(trash: tuple[Path, int], entries_max: int) -> None:
    path, fd = trash
    (path / "a/b").mkdir(parents=True)
    for name in ("1", "2", "3", "4"):
        (path / "a/b" / name).touch()
    assert not emptied(fd, entries_max)
    assert emptied(fd, 6)
    assert os.listdir(path) == []
