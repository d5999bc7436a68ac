"""The files of one root are copied into another: COPY and ADD.

What is in the way is replaced, directories are merged, links on the way to the target are followed in its
root. Owners are taken over last, as dockerd does: the kernel takes setuid bits and capabilities away from
what becomes another's. Source: performCopyForInfo, fixPermissions and TarUntar of moby 20.10, measured.
"""

import os
import shutil
import stat
from contextlib import suppress

from lighterman.content.jobs import Source
from lighterman.content.pack import Identity
from lighterman.content.place import place
from lighterman.content.rooted import evaluated, look, look_up, open_in_root, read_link, readable
from lighterman.content.streams import Broken, decompressed, peeked, read
from lighterman.content.tree import DEPTH_MAX, Refused
from lighterman.lib import tar

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL_BYTES = 1 << 16
_SENDFILE_BYTES = 1 << 30
_CAPABILITY = "security.capability"


class Copier:
    """Copies from `root` into `into`. `owner` and `mode` None: as they were."""

    def __init__(self, root: int, into: int, owner: tuple[int, int] | None, mode: int | None) -> None:
        self._root = root
        self._into = into
        self._owner = owner
        self._mode = mode
        self._linked: dict[Identity, bytes] = {}
        """Of files of one source with several links: where the first of them was put."""

    def copy(self, source: Source, target: bytes) -> None:
        """Copy one source to `target`. Raises: OSError, Refused, TarError."""
        self._linked.clear()  # two sources have no file in common
        fd = look_up(self._root, source.path or b".")
        try:
            where = evaluated(self._into, target)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                self._tree(fd, where)
            elif source.unpack and (reader := _archive(fd)):
                top = self._make(where, None)
                place(self._into, top, where, reader, keep_kinds=False, owner=None)
            else:
                self._single(fd, source, target, where)
        finally:
            os.close(fd)

    def _tree(self, fd: int, where: bytes) -> None:
        is_new = not self._is_directory(where)
        top = self._make(where, None)
        if is_new:
            self._own(top)
            if self._mode is not None:
                os.fchmod(top, self._mode)
        self._merge(fd, top, where, 0)
        os.close(top)

    def _single(self, fd: int, source: Source, target: bytes, where: bytes) -> None:
        if target.endswith(b"/") or self._is_directory(where):
            where = where.rstrip(b"/") + b"/" + source.name
        above, _, leaf = where.rpartition(b"/")
        parent = self._make(above or b"/", self._owner)
        self._entry(fd, parent, leaf, where, 0)
        os.close(parent)

    def _is_directory(self, where: bytes) -> bool:
        try:
            os.close(open_in_root(self._into, where, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _make(self, where: bytes, owner: tuple[int, int] | None) -> int:
        """An fd of the directory `where`, made with all above it, which are 0755 and belong to `owner`."""
        try:
            return open_in_root(self._into, where, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            above, _, leaf = where.rstrip(b"/").rpartition(b"/")
        parent = self._make(above or b"/", owner)
        try:
            os.mkdir(leaf, 0o755, dir_fd=parent)
            fd = os.open(leaf, _DIRECTORY, dir_fd=parent)
        finally:
            os.close(parent)
        if owner is not None:
            os.fchown(fd, *owner)
        return fd

    def _merge(self, source: int, into: int, where: bytes, depth: int) -> None:
        """Copy all that is in a directory into another, which lies at `where`."""
        if depth > DEPTH_MAX:
            raise Refused(f"a directory lies more than {DEPTH_MAX} deep")
        listed = os.open(".", _DIRECTORY, dir_fd=source)
        try:
            for name in sorted(map(os.fsencode, os.listdir(listed))):
                fd = look(name, listed)
                try:
                    self._entry(fd, into, name, where + b"/" + name, depth + 1)
                finally:
                    os.close(fd)
        finally:
            os.close(listed)

    def _entry(self, fd: int, parent: int, leaf: bytes, where: bytes, depth: int) -> None:
        facts = os.fstat(fd)
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFDIR:
            self._directory(fd, facts, parent, leaf, where, depth)
            return
        if kind == stat.S_IFSOCK:
            return
        _clear(parent, leaf)
        identity = (facts.st_dev, facts.st_ino)
        if facts.st_nlink > 1:
            if first := self._linked.get(identity):
                self._link(first, parent, leaf)
                return
            self._linked[identity] = where
        if kind == stat.S_IFREG:
            self._file(fd, facts, parent, leaf)
        else:
            self._special(fd, facts, parent, leaf)

    def _link(self, first: bytes, parent: int, leaf: bytes) -> None:
        above, _, name = first.rpartition(b"/")
        there = open_in_root(self._into, above or b"/", os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(name, leaf, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(there)

    def _directory(
        self, fd: int, facts: os.stat_result, parent: int, leaf: bytes, where: bytes, depth: int
    ) -> None:
        try:
            os.mkdir(leaf, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(leaf, dir_fd=parent)
                os.mkdir(leaf, 0o700, dir_fd=parent)
        made = os.open(leaf, _DIRECTORY, dir_fd=parent)
        try:
            self._merge(fd, made, where, depth)
            if self._owner is None:
                os.fchown(made, facts.st_uid, facts.st_gid)
            os.fchmod(made, stat.S_IMODE(facts.st_mode) if self._mode is None else self._mode)
            self._own(made)
            os.utime(made, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        finally:
            os.close(made)

    def _file(self, fd: int, facts: os.stat_result, parent: int, leaf: bytes) -> None:
        data = readable(fd)
        made = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            _copy_data(data, made, facts.st_size)
            if self._owner is None and (facts.st_uid or facts.st_gid):
                os.fchown(made, facts.st_uid, facts.st_gid)
            os.fchmod(made, stat.S_IMODE(facts.st_mode) if self._mode is None else self._mode)
            if self._owner is None:
                with suppress(OSError):  # most have none
                    os.setxattr(made, _CAPABILITY, os.getxattr(data, _CAPABILITY))
            self._own(made)
            os.utime(made, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        finally:
            os.close(made)
            os.close(data)

    def _special(self, fd: int, facts: os.stat_result, parent: int, leaf: bytes) -> None:
        if stat.S_ISLNK(facts.st_mode):
            os.symlink(read_link(fd), leaf, dir_fd=parent)
        else:
            os.mknod(leaf, facts.st_mode, facts.st_rdev, dir_fd=parent)
        uid, gid = self._owner or (facts.st_uid, facts.st_gid)
        os.chown(leaf, uid, gid, dir_fd=parent, follow_symlinks=False)
        os.utime(leaf, ns=(facts.st_mtime_ns, facts.st_mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _own(self, fd: int) -> None:
        if self._owner is not None:
            os.fchown(fd, *self._owner)


def _copy_data(data: int, made: int, size: int) -> None:
    if size <= _SMALL_BYTES:
        while piece := os.read(data, _SMALL_BYTES):
            os.write(made, piece)
        return
    while os.sendfile(made, data, None, _SENDFILE_BYTES):
        pass


def _clear(parent: int, leaf: bytes) -> None:
    """Take away what is there."""
    try:
        os.unlink(leaf, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(leaf, dir_fd=parent)  # by open directories: it follows no link


def _archive(fd: int) -> tar.TarReader | None:
    """A reader of the archive that is open as O_PATH; None: it is none."""
    if not stat.S_ISREG(os.fstat(fd).st_mode) or not _begins_as_archive(fd):
        return None
    kind, chunks = peeked(read(readable(fd)))
    return tar.TarReader(decompressed(kind, chunks))


def _begins_as_archive(fd: int) -> bool:
    data = readable(fd)
    try:
        kind, chunks = peeked(read(data))
        return tar.TarReader(decompressed(kind, chunks)).next() is not None
    except (tar.TarError, Broken):
        return False
    finally:
        os.close(data)
