"""The thin layer between an image and a container: places to mount on.

An OCI runtime binds files onto `/etc/hosts` and mounts below `/dev`; where an image has a link there, or
nothing, the runtime would follow it or write into the image's tree. So each image gets one more layer, made
once, in which these are plain empty files and directories. It is below the container's own layer, so
`docker diff` does not show it. Source: dockerd's init layer.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from lighterman.linux import mount
from lighterman.linux.openat2 import BENEATH, openat2
from lighterman.snapshots import overlay

_DIRECTORIES = ("dev/pts", "dev/shm", "proc", "sys")
_FILES = (".dockerenv", "etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console")
_LINKS = {"etc/mtab": "/proc/mounts"}


def copy_root(source: Path, target: Path) -> None:
    """Give the directory `target` owner and mode of `source`: an overlay's root is that of its upper."""
    of = os.stat(source)
    os.chown(target, of.st_uid, of.st_gid)
    os.chmod(target, stat.S_IMODE(of.st_mode))


def make_init_layer(lowers: Sequence[Path], directory: Path, *, by_fds: bool) -> None:
    """Make `directory`/diff, the layer on top of `lowers` (topmost first). Raises: OSError."""
    upper, work, merged = (directory / name for name in ("diff", "work", "merged"))
    for path in (upper, work, merged):
        path.mkdir(mode=0o755)
    if not lowers:
        _fill(upper)
        return
    copy_root(lowers[0], upper)
    overlay.mount_overlay(lowers, upper, work, merged, volatile=True, by_fds=by_fds)
    try:
        _fill(merged)
    finally:
        mount.umount(str(merged))


def _fill(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path in _DIRECTORIES:
            _below(fd, path.split("/"), _directory)
        for path in _FILES:
            _below(fd, path.split("/"), _file)
        for path, target in _LINKS.items():
            _below(fd, path.split("/"), partial(_link, target))
    finally:
        os.close(fd)


def _below(root: int, parts: list[str], make: Callable[[int, str], None]) -> None:
    """Call `make` on the real directory above the last part; links on the way are replaced."""
    *above, leaf = parts
    parent = os.dup(root)
    try:
        for part in above:
            _directory(parent, part)
            below = openat2(parent, part.encode(), os.O_RDONLY | os.O_DIRECTORY, resolve=BENEATH)
            os.close(parent)
            parent = below
        make(parent, leaf)
    finally:
        os.close(parent)


def _directory(parent: int, leaf: str) -> None:
    _clear(parent, leaf)
    with suppress(FileExistsError):
        os.mkdir(leaf, 0o755, dir_fd=parent)


def _file(parent: int, leaf: str) -> None:
    _clear(parent, leaf)
    with suppress(FileExistsError):  # a directory stays: the image must know why
        os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755, dir_fd=parent))
        os.chmod(leaf, 0o755, dir_fd=parent)


def _link(target: str, parent: int, leaf: str) -> None:
    _clear(parent, leaf)
    with suppress(FileExistsError):
        os.symlink(target, leaf, dir_fd=parent)


def _clear(parent: int, leaf: str) -> None:
    """Take away a file or link; a directory stays."""
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(leaf, dir_fd=parent)
