"""Attributes that a file system keeps beside the mode."""

import errno
import subprocess
from pathlib import Path

import pytest

from lighterman.linux.inode_flags import TOPDIR, add_flag


def test_a_flag_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    try:
        add_flag(str(tmp_path), TOPDIR)
    except OSError as error:
        assert error.errno in (errno.ENOTTY, errno.EOPNOTSUPP)
        pytest.skip("this file system has no such flags")
    before = subprocess.run(
        ["lsattr", "-d", str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    assert "T" in before.split()[0]
    add_flag(str(tmp_path), TOPDIR)
    again = subprocess.run(["lsattr", "-d", str(tmp_path)], check=True, capture_output=True, text=True).stdout
    assert again == before


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        add_flag(str(tmp_path / "none"), TOPDIR)
