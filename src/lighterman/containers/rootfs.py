"""Reaching into a container's root file system from outside, without ever leaving it.

Everything here belongs to the container, which may be hostile: each path is resolved by the kernel as if the
root were "/" (openat2 with IN_ROOT), never by joining strings. All of it blocks for microseconds; call it in
a thread.
"""

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lighterman.containers.identity import Identity, resolve_identity
from lighterman.errdefs import InvalidParameter
from lighterman.linux.openat2 import IN_ROOT, openat2

MAX_TEXT_BYTES = 1 << 20


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def read_text(root: Path, path: str) -> str:
    """The text of a small file; "" when there is none, when it is no file or when it is too large."""
    with _opened(root, os.O_PATH | os.O_DIRECTORY) as root_fd:
        try:
            fd = openat2(root_fd, path.encode(), os.O_PATH, resolve=IN_ROOT)
        except OSError:
            return ""
        try:
            # opened in earnest only now: with a device that alone may do harm, and the container chose which
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_TEXT_BYTES:
                return ""
            with _opened(Path(f"/proc/self/fd/{fd}"), os.O_RDONLY) as file:
                return os.read(file, MAX_TEXT_BYTES).decode(errors="replace")
        finally:
            os.close(fd)


def find_user(root: Path, user: str, group_add: Sequence[str]) -> Identity:
    """Who `user` is in the file system at `root`. Raises InvalidParameter."""
    passwd, group = read_text(root, "/etc/passwd"), read_text(root, "/etc/group")
    return resolve_identity(user, group_add, passwd, group)


def make_directory(root: Path, path: str) -> None:
    """Make `path` and what is missing above it, owned by root, 0755; `..` in it goes up in the text.

    Raises: InvalidParameter in Docker's words when something else is in the way.
    """
    with _opened(root, os.O_PATH | os.O_DIRECTORY) as root_fd:
        try:
            _make(root_fd, posixpath.normpath(path))
        except OSError as error:
            raise InvalidParameter(f"mkdir {path}: {os.strerror(error.errno or 0).lower()}") from error


def _make(root_fd: int, path: str) -> None:
    try:
        os.close(openat2(root_fd, path.encode(), os.O_PATH | os.O_DIRECTORY, resolve=IN_ROOT))
        return
    except FileNotFoundError:
        parent, name = posixpath.split(path.rstrip("/"))
    if parent not in ("", "/"):
        _make(root_fd, parent)
    parent_fd = openat2(root_fd, (parent or "/").encode(), os.O_PATH | os.O_DIRECTORY, resolve=IN_ROOT)
    try:
        os.mkdir(name, 0o755, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def open_directory(root: Path, path: str) -> int | None:
    """An fd of the directory `path`, owned by the caller; None when there is nothing.

    Raises: InvalidParameter in Docker's words when there is something else.
    """
    with _opened(root, os.O_PATH | os.O_DIRECTORY) as root_fd:
        try:
            return openat2(root_fd, path.encode(), os.O_RDONLY | os.O_DIRECTORY, resolve=IN_ROOT)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise InvalidParameter(f"cannot mount volume over existing file, file exists {path}") from error


def check_mount_points(root: Path, paths: Sequence[str]) -> None:
    """Raises: InvalidParameter in Docker's words when no volume can be mounted at one of them."""
    for path in paths:
        if (fd := open_directory(root, path)) is not None:
            os.close(fd)
