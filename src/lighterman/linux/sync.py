"""Making data durable."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def syncfs(fd: int) -> None:
    """Write out all dirty data of the file system that `fd` is on, everybody's.

    Raises: OSError (EIO, ENOSPC). Source: syncfs(2). Blocks for as long as the disk takes.
    """
    if _libc.syncfs(fd) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Make renames and creations in the directory durable. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
