"""Entries of an archive become files below an open directory, and nothing outside of it is touched.

Three words. The *top* is the open directory that names begin in; the *root* is the open directory that links
lead around in, as if it were "/": the top itself, or one above it. A *parent* is the open directory that an
entry goes into, resolved by openat2 and never by text; a *leaf* is the last part of a name, used with `*at`
calls that follow no link. So it holds even while somebody else renames what lies on the way.

What may be named, and what gives way to what, is decided by those who derive from `Tree`.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lighterman.content.rooted import look, open_in_root
from lighterman.lib import tar
from lighterman.linux.openat2 import BENEATH, openat2

NAME_MAX = 4095
DEPTH_MAX = 512
OPEN_PARENTS = 256
"""How many parents stay open: an archive comes directory by directory."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(ValueError):
    """The archive asks for what it may not do, or is too big."""


def check_size(name: bytes, parts: Sequence[bytes]) -> None:
    """Raises: Refused for names that are too long or too deep, or hold a NUL."""
    if len(name) > NAME_MAX or len(parts) > DEPTH_MAX:
        raise Refused(f"a name of {len(name)} bytes and {len(parts)} parts is too long")
    if b"\0" in name:
        raise Refused(f"{shown(name)} is no name")


def shown(name: bytes) -> str:
    """A name as a text."""
    return repr(name.decode(errors="backslashreplace"))


class Tree:
    """Writes entries below `top`, which lies at the absolute path `where` in `root`. To be closed in the end.

    Methods raise Refused and OSError; what was written by then stays.
    """

    def __init__(self, root: int, top: int, where: bytes = b"") -> None:
        self._root = root
        self._top = top
        self._where = where.rstrip(b"/")
        self._open: dict[bytes, int] = {}
        self._dir_times: dict[bytes, int] = {}

    def parts_of(self, name: bytes) -> list[bytes]:
        """The parts of an entry's name or a hard link's target; none of the top itself. Raises: Refused."""
        raise NotImplementedError

    def make_room(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        """Take away what is in the way of `entry`. Raises: Refused."""
        self._clear(parent, leaf)

    def add(self, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        """Write one entry. The top itself is left as it is."""
        if parts := self.parts_of(entry.name):
            self.write(self.parent(parts[:-1]), parts, entry, data)

    def write(self, parent: int, parts: list[bytes], entry: tar.Entry, data: Iterator[memoryview]) -> None:
        """Write what has this name, into its parent."""
        leaf = parts[-1]
        if entry.kind == tar.FILE:
            self._file(parent, leaf, entry, data)
        elif entry.kind == tar.DIRECTORY:
            fd = self.directory(parent, leaf, entry)
            try:
                self.adorn(fd, entry, b"/".join(parts))
            finally:
                os.close(fd)
        else:
            self._special(parent, leaf, entry)

    def finish(self) -> None:
        """Set the times of directories: each entry written into one had changed them."""
        for path, mtime_ns in self._dir_times.items():
            # a later entry may have put something else there
            with suppress(OSError):
                fd = openat2(self._top, path, DIRECTORY, resolve=BENEATH)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                os.close(fd)

    def close(self) -> None:
        """Let go of all parents."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    # -- parents

    def parent(self, parts: list[bytes]) -> int:
        """An fd of the directory with these parts, made where it is missing; it stays this object's."""
        if not parts:
            return self._top
        path = b"/".join(parts)
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= OPEN_PARENTS:
                self.close()
            fd = self._open[path] = self._open_parent(path, parts)
        return fd

    def _open_parent(self, path: bytes, parts: list[bytes]) -> int:
        try:
            return openat2(self._top, path, DIRECTORY, resolve=BENEATH)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise
        # a part is missing, or a link: resolved as a chroot would
        fd = os.dup(self._top)
        for depth in range(1, len(parts) + 1):
            below = self._step(fd, parts[depth - 1], b"/".join(parts[:depth]))
            os.close(fd)
            fd = below
        return fd

    def _step(self, parent: int, leaf: bytes, path: bytes) -> int:
        try:
            return open_in_root(self._root, self._where + b"/" + path, DIRECTORY)
        except FileNotFoundError:
            os.mkdir(leaf, 0o755, dir_fd=parent)
            return openat2(parent, leaf, DIRECTORY, resolve=BENEATH)

    # -- leaves

    def _file(self, parent: int, leaf: bytes, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        try:
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self.make_room(parent, leaf, entry)
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            for piece in data:
                while piece:
                    piece = piece[os.write(fd, piece) :]
            # in this order: chown clears setuid and capabilities, writing changes the time; never without it:
            # in a directory with setgid a new file has the directory's group
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def directory(self, parent: int, leaf: bytes, entry: tar.Entry) -> int:
        """A new fd of the directory `leaf`, made if it is not there."""
        try:
            os.mkdir(leaf, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(facts_of(parent, leaf).st_mode):
                self.make_room(parent, leaf, entry)
                os.mkdir(leaf, 0o700, dir_fd=parent)
        return openat2(parent, leaf, DIRECTORY, resolve=BENEATH)

    def adorn(self, fd: int, entry: tar.Entry, path: bytes) -> None:
        """Give the directory open as `fd` owner, mode and attributes now, its time in the end."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        _set_xattrs(fd, entry)
        self._dir_times[path] = entry.mtime_ns

    def _special(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        try:
            self._make_special(parent, leaf, entry)
        except FileExistsError:
            self.make_room(parent, leaf, entry)
            self._make_special(parent, leaf, entry)
        if entry.kind == tar.HARD_LINK:
            return  # owner, mode and times are those of its target
        os.chown(leaf, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMBOLIC_LINK:
            _chmod(parent, leaf, entry.mode)
        if entry.xattrs:
            _set_xattrs(b"/proc/self/fd/%d/%b" % (parent, leaf), entry)
        os.utime(leaf, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _make_special(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        if entry.kind == tar.SYMBOLIC_LINK:
            os.symlink(entry.link, leaf, dir_fd=parent)
        elif entry.kind == tar.HARD_LINK:
            self._hard_link(parent, leaf, entry)
        elif entry.kind == tar.FIFO:
            os.mkfifo(leaf, entry.mode, dir_fd=parent)
        else:
            if entry.kind == tar.CHARACTER_DEVICE and not entry.major and not entry.minor:
                raise Refused(f"{shown(entry.name)} is a whiteout that does not say so")
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER_DEVICE else stat.S_IFBLK
            os.mknod(leaf, kind | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)

    def _hard_link(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        target = self.parts_of(entry.link)
        if not target:
            raise Refused(f"{shown(entry.name)} is a hard link to the root")
        path = b"/".join([self._where, *target[:-1]])
        above = open_in_root(self._root, path or b".", DIRECTORY)
        try:
            os.link(target[-1], leaf, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(above)

    def _clear(self, parent: int, leaf: bytes) -> None:
        """Take away what is there: the later one counts."""
        if stat.S_ISREG(facts_of(parent, leaf).st_mode):
            os.unlink(leaf, dir_fd=parent)
            return
        # open parents may have been found through it
        for path, fd in list(self._open.items()):
            if fd != parent:
                os.close(self._open.pop(path))
        if stat.S_ISDIR(facts_of(parent, leaf).st_mode):
            shutil.rmtree(leaf, dir_fd=parent)  # by open directories: it follows no link
        else:
            os.unlink(leaf, dir_fd=parent)


def facts_of(parent: int, leaf: bytes) -> os.stat_result:
    """lstat(2) of a leaf."""
    return os.stat(leaf, dir_fd=parent, follow_symlinks=False)


def _chmod(parent: int, leaf: bytes, mode: int) -> None:
    """Set the mode of a leaf that is no link; if somebody has put one there meanwhile, nothing is changed."""
    fd = look(leaf, parent)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _set_xattrs(where: int | bytes, entry: tar.Entry) -> None:
    for name, value in entry.xattrs.items():
        if b".overlay." in name or b"\0" in name:
            continue  # an archive may not speak to overlayfs: it could hide or redirect what lies below
        try:
            os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
        except OSError as error:
            # as dockerd: labels of another host's security module are no reason to fail
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
