"""Attributes of files that file systems keep beside the mode, by FS_IOC_GETFLAGS and FS_IOC_SETFLAGS."""

import array
import fcntl
import os

TOPDIR = 0x00020000
"""ext4: directories made in this one are unrelated, and are spread over the disk. Source: chattr(1), T."""

_GET, _SET = 0x80086601, 0x40086602


def add_flag(directory: str, flag: int) -> None:
    """Set an attribute of a directory. Idempotent.

    Raises: OSError (ENOTTY, EOPNOTSUPP where the file system has none). Source: ioctl_iflags(2).
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = array.array("l", [0])
        fcntl.ioctl(fd, _GET, flags, True)
        flags[0] |= flag
        fcntl.ioctl(fd, _SET, flags)
    finally:
        os.close(fd)
