"""Paths as a container sees them, looked up by the kernel from an open directory that is its root.

Whatever lies below the root belongs to the container, which may change it at any moment. So nothing is
checked and then used by name: a path is opened once, as an O_PATH file that does nothing yet, and what was
opened is looked at and read through that file. No lookup leaves the root, and no link of /proc is followed.
"""

import errno
import os
import stat
from collections import deque

from lighterman.linux.openat2 import IN_ROOT, openat2

_LINKS_MAX = 255
_TRIES = 1000
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_in_root(root: int, path: bytes, flags: int) -> int:
    """openat2(2) in `root`, tried again while renames race with a `..` of the path. Raises: OSError."""
    for _ in range(_TRIES):
        try:
            return openat2(root, path, flags, resolve=IN_ROOT)
        except BlockingIOError:
            continue
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def look_up(root: int, path: bytes) -> int:
    """An O_PATH fd of `path`; a link itself, unless the path ends in a slash or a dot.

    Raises: OSError (ENOENT; ENOTDIR when there is no directory where there must be one).
    """
    if path.endswith((b"/", b"/.")):
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    return open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)


def look(name: str | bytes, directory: int) -> int:
    """An O_PATH fd of an entry of an open directory; a link itself. Raises: OSError."""
    return os.open(name, _LOOK, dir_fd=directory)


def readable(fd: int, flags: int = 0) -> int:
    """An fd to read what is open as O_PATH, and nothing that came to its place since. Raises: OSError."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | flags)


def read_link(fd: int) -> bytes:
    """The text of a link that is open as O_PATH. Raises: OSError."""
    return os.readlink(b"", dir_fd=fd)


def evaluated(root: int, path: bytes) -> bytes:
    """`path` with all links followed, absolute and clean; what does not exist is taken as it is written.

    The answer is a text and true for a moment only: for people, and for lookups in the same root.
    Raises: OSError (ELOOP).
    """
    left = deque(path.split(b"/"))
    done: list[bytes] = []
    links = 0
    while left:
        part = left.popleft()
        if part in (b"", b"."):
            continue
        if part == b"..":
            del done[-1:]
            continue
        target = _link(root, b"/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith(b"/"):
            done.clear()
        left.extendleft(reversed(target.split(b"/")))
    return b"/" + b"/".join(done)


def _link(root: int, path: bytes) -> bytes | None:
    """The text of the link at `path`; None: there is none."""
    try:
        fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return read_link(fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)
