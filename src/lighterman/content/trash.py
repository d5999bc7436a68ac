"""Removing what was thrown away, where it is too little to be worth a process."""

import os
from itertools import islice

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def emptied(directory: int, entries_max: int) -> bool:
    """Remove what an open directory holds, and whether that was all: it stops where there is more than
    `entries_max` files and directories. No link is followed. Blocking. Raises: OSError.
    """
    return _remove_entries(directory, entries_max) >= 0


def _remove_entries(directory: int, entries_max: int) -> int:
    """How many more could have been removed; negative: there are more than that."""
    with os.scandir(directory) as found:
        entries = list(islice(found, entries_max + 1))
    left = entries_max - len(entries)
    for entry in entries if left >= 0 else ():
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=directory)
            continue
        fd = os.open(entry.name, _DIRECTORY, dir_fd=directory)
        try:
            left = _remove_entries(fd, left)
        finally:
            os.close(fd)
        if left < 0:
            break
        os.rmdir(entry.name, dir_fd=directory)
    return left
