"""Layers become one: each is laid over those below it; whiteouts stay, for what lies further down."""

import os
import shutil
import stat
from contextlib import suppress

from lighterman.content.rooted import look, read_link, readable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "trusted.overlay.opaque"
_SENDFILE_BYTES = 1 << 30


def merge(layer: int, target: int) -> None:
    """Lay one layer, an open directory in overlay's form, over what is in `target`. Raises: OSError."""
    _Merger(target).merge(os.open(".", _DIRECTORY, dir_fd=layer), target, "")


class _Merger:
    def __init__(self, top: int) -> None:
        self._top = top
        self._linked: dict[int, str] = {}
        """Of files with several links, by inode: where the first of them was put."""

    def merge(self, source: int, target: int, where: str) -> None:
        """Lay an open directory, which is closed then, over another, which lies at `where`."""
        try:
            for name in os.listdir(source):
                facts = os.stat(name, dir_fd=source, follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    self._directory(source, target, name, where)
                else:
                    _clear(target, name)
                    self._leaf(source, target, name, where, facts)
        finally:
            os.close(source)

    def _directory(self, source: int, target: int, name: str, where: str) -> None:
        below = os.open(name, _DIRECTORY, dir_fd=source)
        facts = os.fstat(below)
        hides = _is_opaque(below)
        try:
            there = os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and (hides or not stat.S_ISDIR(there.st_mode)):
            # what was here hid what lies further down, and that stays hidden
            hides = True
            _clear(target, name)
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=target)
        made = os.open(name, _DIRECTORY, dir_fd=target)
        try:
            if hides:
                os.setxattr(made, _OPAQUE, b"y")
            self.merge(below, made, f"{where}{name}/")
            os.fchown(made, facts.st_uid, facts.st_gid)
            os.fchmod(made, stat.S_IMODE(facts.st_mode))
            os.utime(made, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        finally:
            os.close(made)

    def _leaf(self, source: int, target: int, name: str, where: str, facts: os.stat_result) -> None:
        if facts.st_nlink > 1 and not stat.S_ISCHR(facts.st_mode):
            if first := self._linked.get(facts.st_ino):
                os.link(first, name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
                return
            self._linked[facts.st_ino] = where + name
        fd = look(name, source)
        try:
            if stat.S_ISREG(facts.st_mode):
                _file(fd, target, name, facts)
                return
            if stat.S_ISLNK(facts.st_mode):
                os.symlink(read_link(fd), name, dir_fd=target)
            else:  # whiteouts too: they are devices
                os.mknod(name, facts.st_mode, facts.st_rdev, dir_fd=target)
            os.chown(name, facts.st_uid, facts.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(facts.st_mtime_ns, facts.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        finally:
            os.close(fd)


def _file(fd: int, target: int, name: str, facts: os.stat_result) -> None:
    data = readable(fd)
    made = os.open(name, _NEW_FILE, 0o600, dir_fd=target)
    try:
        while os.sendfile(made, data, None, _SENDFILE_BYTES):
            pass
        os.fchown(made, facts.st_uid, facts.st_gid)
        os.fchmod(made, stat.S_IMODE(facts.st_mode))
        for key in os.listxattr(data):
            if not key.startswith("trusted.overlay."):
                os.setxattr(made, key, os.getxattr(data, key))
        os.utime(made, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    finally:
        os.close(made)
        os.close(data)


def _is_opaque(directory: int) -> bool:
    with suppress(OSError):  # ENODATA
        return os.getxattr(directory, _OPAQUE) == b"y"
    return False


def _clear(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=parent)
