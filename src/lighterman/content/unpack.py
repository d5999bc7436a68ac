"""A tar stream becomes the directory of an overlay layer, and nothing outside it is touched.

Three words. The *root* is an open directory that nobody else writes to; a *parent* is the open directory
that an entry goes into, resolved by openat2 and never by text; a *leaf* is the last part of a name, used
with `*at` calls that follow no link. A whiteout (`.wh.name`) becomes overlay's own form: a character
device 0:0, or the xattr that makes a directory opaque. Runs in a worker process: plain blocking calls.

Sources: OCI image-spec layer.md (whiteouts); overlayfs of the kernel; dockerd 20.10's rules of extraction.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from lighterman.lib import tar
from lighterman.linux.openat2 import BENEATH, IN_ROOT, openat2

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_OPAQUE_XATTR = "trusted.overlay.opaque"

NAME_MAX = 4095
DEPTH_MAX = 512
ENTRIES_MAX = 10_000_000
OPEN_PARENTS = 256
"""How many parents stay open: an archive comes directory by directory."""

_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(ValueError):
    """The archive asks for what no layer may do, or is too big."""


@dataclass(frozen=True)
class Unpacked:
    """What a layer holds: bytes of its files, and entries."""

    size_bytes: int
    entries: int


def unpack(root: int, reader: tar.TarReader, *, bytes_max: int) -> Unpacked:
    """Write all entries of `reader` below the open directory `root`.

    Raises: Refused, TarError, OSError (ENOSPC); what was written so far is the caller's to remove.
    """
    os.umask(0)
    tree = _Tree(root)
    try:
        size = entries = 0
        while (entry := reader.next()) is not None:
            size, entries = size + entry.size, entries + 1
            if size > bytes_max or entries > ENTRIES_MAX:
                raise Refused(f"the archive unpacks to more than {bytes_max} bytes or {ENTRIES_MAX} files")
            tree.add(entry, reader.data())
        tree.finish()
        return Unpacked(size, entries)
    finally:
        tree.close()


def parts_of(name: bytes) -> list[bytes]:
    """The parts of a name, without empty ones and dots.

    Raises: Refused for `..`, NUL and what is too long.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if len(name) > NAME_MAX or len(parts) > DEPTH_MAX:
        raise Refused(f"a name of {len(name)} bytes and {len(parts)} parts is too long")
    if b".." in parts or b"\0" in name:
        raise Refused(f"{_shown(name)} is outside of the archive's root")
    return parts


class _Tree:
    def __init__(self, root: int) -> None:
        self._root = root
        self._open: dict[bytes, int] = {}
        self._dir_times: dict[bytes, int] = {}

    def add(self, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        parts = parts_of(entry.name)
        if any(part.startswith(_AUFS) and part != OPAQUE for part in parts):
            return
        if not parts:  # "./": the root itself
            if entry.kind == tar.DIRECTORY:
                self._adorn_dir(self._root, entry)
                self._dir_times[b"."] = entry.mtime_ns
            return
        *above, leaf = parts
        parent = self._parent(above)
        if leaf == OPAQUE:
            os.setxattr(parent, _OPAQUE_XATTR, b"y")
        elif leaf.startswith(WHITEOUT):
            self._whiteout(parent, leaf.removeprefix(WHITEOUT))
        elif entry.kind == tar.FILE:
            self._file(parent, leaf, entry, data)
        elif entry.kind == tar.DIRECTORY:
            self._directory(parent, leaf, entry, b"/".join(parts))
        else:
            self._special(parent, leaf, entry)

    def finish(self) -> None:
        """Set the times of directories: each entry written into one had changed them."""
        for path, mtime_ns in self._dir_times.items():
            # a later entry may have put something else there
            with suppress(OSError):
                fd = openat2(self._root, path, _DIR_FLAGS, resolve=BENEATH)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                os.close(fd)

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def _parent(self, parts: list[bytes]) -> int:
        if not parts:
            return self._root
        path = b"/".join(parts)
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= OPEN_PARENTS:
                self.close()
            fd = self._open[path] = self._open_parent(path, parts)
        return fd

    def _open_parent(self, path: bytes, parts: list[bytes]) -> int:
        try:
            return openat2(self._root, path, _DIR_FLAGS, resolve=BENEATH)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise
        # a part is missing, or a link of this same layer: resolved as a chroot would
        fd = os.dup(self._root)
        for depth in range(1, len(parts) + 1):
            below = self._step(fd, parts[depth - 1], b"/".join(parts[:depth]))
            os.close(fd)
            fd = below
        return fd

    def _step(self, parent: int, leaf: bytes, path: bytes) -> int:
        try:
            return openat2(self._root, path, _DIR_FLAGS, resolve=IN_ROOT)
        except FileNotFoundError:
            os.mkdir(leaf, 0o755, dir_fd=parent)
            return openat2(parent, leaf, _DIR_FLAGS, resolve=BENEATH)

    def _whiteout(self, parent: int, leaf: bytes) -> None:
        # os.rmdir and friends would take these names for a directory that exists
        if leaf in (b"", b".", b".."):
            raise Refused(f"a whiteout of {_shown(leaf)} is outside of the archive's root")
        try:
            os.mknod(leaf, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # a whiteout speaks of the layers below only: what this one has stays, and hides them
            if stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
                fd = openat2(parent, leaf, _DIR_FLAGS, resolve=BENEATH)
                os.setxattr(fd, _OPAQUE_XATTR, b"y")
                os.close(fd)

    def _file(self, parent: int, leaf: bytes, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        try:
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, leaf)
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            for piece in data:
                while piece:
                    piece = piece[os.write(fd, piece) :]
            # in this order: chown clears setuid and capabilities, writing changes the time
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _directory(self, parent: int, leaf: bytes, entry: tar.Entry, path: bytes) -> None:
        hidden = False
        try:
            os.mkdir(leaf, 0o700, dir_fd=parent)
        except FileExistsError:
            there = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(there.st_mode):
                hidden = stat.S_ISCHR(there.st_mode) and there.st_rdev == 0
                self._clear(parent, leaf)
                os.mkdir(leaf, 0o700, dir_fd=parent)
        fd = openat2(parent, leaf, _DIR_FLAGS, resolve=BENEATH)
        try:
            if hidden:  # it was whited out before it was made anew
                os.setxattr(fd, _OPAQUE_XATTR, b"y")
            self._adorn_dir(fd, entry)
        finally:
            os.close(fd)
        self._dir_times[path] = entry.mtime_ns

    def _adorn_dir(self, fd: int, entry: tar.Entry) -> None:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        _set_xattrs(fd, entry)

    def _special(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        try:
            self._make_special(parent, leaf, entry)
        except FileExistsError:
            self._clear(parent, leaf)
            self._make_special(parent, leaf, entry)
        if entry.kind == tar.HARD_LINK:
            return  # owner, mode and times are those of its target
        os.chown(leaf, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMBOLIC_LINK:
            os.chmod(leaf, entry.mode, dir_fd=parent)
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
                raise Refused(f"{_shown(entry.name)} is a whiteout that does not say so")
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER_DEVICE else stat.S_IFBLK
            os.mknod(leaf, kind | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)

    def _hard_link(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        target = parts_of(entry.link)
        if not target:
            raise Refused(f"{_shown(entry.name)} is a hard link to the root")
        above = openat2(self._root, b"/".join(target[:-1]) or b".", _DIR_FLAGS, resolve=IN_ROOT)
        try:
            os.link(target[-1], leaf, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(above)

    def _clear(self, parent: int, leaf: bytes) -> None:
        """Take away what an earlier entry put there: the later one counts."""
        if stat.S_ISREG(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(leaf, dir_fd=parent)
            return
        # open parents may have been found through it
        for path, fd in list(self._open.items()):
            if fd != parent:
                os.close(self._open.pop(path))
        if stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(leaf, dir_fd=parent)  # by open directories: it follows no link
        else:
            os.unlink(leaf, dir_fd=parent)


def _set_xattrs(where: int | bytes, entry: tar.Entry) -> None:
    for name, value in entry.xattrs.items():
        if b".overlay." in name or b"\0" in name:
            continue  # a layer may not speak to overlayfs: it could hide or redirect what lies below
        try:
            os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
        except OSError as error:
            # as dockerd: labels of another host's security module are no reason to fail
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))
