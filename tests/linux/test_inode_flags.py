"""Attributes that a file system keeps beside the mode."""

import errno
import subprocess
from pathlib import Path

import pytest

from lighterman.linux.inode_flags import TOPDIR, add_flag


def listed(directory: Path) -> str:
    """The attributes as lsattr(1) shows them."""
    told = subprocess.run(["lsattr", "-d", str(directory)], check=True, capture_output=True, text=True)
    return told.stdout.split()[0]


def test_a_flag_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    try:
        add_flag(str(tmp_path), TOPDIR)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            pytest.skip("this file system has no such flags")
        raise
    before = listed(tmp_path)
    assert "T" in before
    add_flag(str(tmp_path), TOPDIR)
    assert listed(tmp_path) == before


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        add_flag(str(tmp_path / "none"), TOPDIR)
