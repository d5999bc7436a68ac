"""A directory becomes a tar stream, however much somebody changes it meanwhile.

Three words. The *top* is the open directory or file that is packed; an *entry* is opened once, and everything
that is written of it comes through that file; *small* files are gathered into one write, the data of *large*
ones goes from file to pipe inside the kernel. Owners are numbers, names are bytes: nothing is looked up.

Source: dockerd's archives of containers, recorded from 20.10.24: entries in the order of their names, modes
with their type bits, times in whole seconds, sockets left out, extended attributes as PAX records.
"""

import errno
import os
import stat
from collections.abc import Collection
from typing import Protocol

from lighterman.content.rooted import look, read_link, readable
from lighterman.content.streams import FileSink, GzipSink
from lighterman.content.tree import DEPTH_MAX, Refused
from lighterman.lib import tar

SMALL_BYTES = 1 << 16
_GATHERED_BYTES = 1 << 18
_SENDFILE_BYTES = 1 << 30
_ZEROS = bytes(1 << 16)
_GONE = (errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.EACCES, errno.ENOTCONN, errno.ENXIO)
"""What opening an entry may end with: it went away, or nobody but its file system's owner may look."""
_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMBOLIC_LINK,
    stat.S_IFIFO: tar.FIFO,
    stat.S_IFCHR: tar.CHARACTER_DEVICE,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
}

Identity = tuple[int, int]
"""Device and inode."""


class Output(Protocol):
    """Where a tar stream goes."""

    def put(self, piece: bytes) -> None:
        """Append bytes."""

    def send(self, fd: int, size: int) -> int:
        """Append up to `size` bytes of an open file; how many there were."""

    def finish(self) -> None:
        """Nothing follows."""


class Plain:
    """To a pipe, as it is."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._gathered: list[bytes] = []
        self._size = 0

    def put(self, piece: bytes) -> None:
        self._gathered.append(piece)
        self._size += len(piece)
        if self._size >= _GATHERED_BYTES:
            self._write()

    def send(self, fd: int, size: int) -> int:
        if size <= SMALL_BYTES:
            return _copy(self, fd, size)
        self._write()
        sent = 0
        try:
            while sent < size and (
                done := os.sendfile(self._out, fd, None, min(size - sent, _SENDFILE_BYTES))
            ):
                sent += done
        except OSError as error:
            # file systems that cannot do it say so before the first byte
            if sent or error.errno != errno.EINVAL:
                raise
            return _copy(self, fd, size)
        return sent

    def finish(self) -> None:
        self._write()

    def _write(self) -> None:
        view = memoryview(b"".join(self._gathered))
        self._gathered.clear()
        self._size = 0
        while view:
            view = view[os.write(self._out, view) :]


class Gzipped:
    """To a pipe, compressed."""

    def __init__(self, out: int) -> None:
        self._gzip = GzipSink(FileSink(out))

    def put(self, piece: bytes) -> None:
        self._gzip.update(piece)

    def send(self, fd: int, size: int) -> int:
        return _copy(self, fd, size)

    def finish(self) -> None:
        self._gzip.finish()


def _copy(output: Output, fd: int, size: int) -> int:
    left = size
    while left and (piece := os.read(fd, min(left, _GATHERED_BYTES))):
        output.put(piece)
        left -= len(piece)
    return size - left


def pack(top: int, name: bytes, output: Output, *, closed: Collection[Identity] = ()) -> None:
    """Write the archive of `top` (an O_PATH fd of anything), whose own entry is called `name`.

    With an empty name a directory has no entry of its own, and what is in it no prefix. Directories that are
    `closed` are not looked into. Raises: OSError, Refused (too deep).
    """
    packer = Packer(output, closed)
    if stat.S_ISDIR(os.fstat(top).st_mode):
        packer.top(top, name)
    else:
        packer.add(top, name, 0)
    output.put(tar.END)
    output.finish()


class Packer:
    """Writes entries one by one; what a subclass adds or leaves out is its own."""

    def __init__(self, output: Output, closed: Collection[Identity]) -> None:
        self._output = output
        self._closed = closed
        self._names: dict[Identity, bytes] = {}
        """Of files with several links: their first name in the archive."""

    def top(self, fd: int, name: bytes) -> None:
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        prefix = b"" if not name else name.rstrip(b"/") + b"/"
        facts = os.fstat(directory)
        if name:
            self._head(directory, facts, prefix, tar.DIRECTORY)
        self._enter(directory, facts, prefix, 1)

    def add(self, fd: int, name: bytes, depth: int) -> None:
        """Write what is open as O_PATH."""
        facts = os.fstat(fd)
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
        if kind == tar.FILE:
            self._file(fd, facts, name)
        elif kind == tar.DIRECTORY:
            self._directory(fd, facts, name, depth)
        elif kind == tar.SYMBOLIC_LINK:
            self._output.put(tar.header(_entry(facts, name, kind, link=read_link(fd))))
        elif kind is not None:
            self._output.put(tar.header(_entry(facts, name, kind)))

    def _directory(self, fd: int, facts: os.stat_result, name: bytes, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Refused(f"a directory lies more than {DEPTH_MAX} deep")
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        self._head(directory, facts, name + b"/", tar.DIRECTORY)
        self._enter(directory, facts, name + b"/", depth + 1)

    def _enter(self, directory: int, facts: os.stat_result, prefix: bytes, depth: int) -> None:
        """Write what is in an open directory, unless it is closed to us, and close it."""
        try:
            if (facts.st_dev, facts.st_ino) in self._closed:
                return
            for name in sorted(map(os.fsencode, os.listdir(directory))):
                try:
                    fd = look(os.fsdecode(name), directory)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                    continue
                try:
                    self.add(fd, prefix + name, depth)
                finally:
                    os.close(fd)
        finally:
            os.close(directory)

    def _file(self, fd: int, facts: os.stat_result, name: bytes) -> None:
        identity = (facts.st_dev, facts.st_ino)
        if facts.st_nlink > 1:
            if first := self._names.get(identity):
                self._output.put(tar.header(_entry(facts, name, tar.HARD_LINK, link=first)))
                return
            self._names[identity] = name
        try:
            data = readable(fd)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._names.pop(identity, None)
            return
        try:
            self._head(data, facts, name, tar.FILE, size=facts.st_size)
            self._data(data, facts.st_size)
        finally:
            os.close(data)

    def _data(self, fd: int, size: int) -> None:
        """Exactly `size` bytes and the padding: the head has promised them, whatever the file is by now."""
        left = size - self._output.send(fd, size)
        while left >= len(_ZEROS):
            self._output.put(_ZEROS)
            left -= len(_ZEROS)
        self._output.put(_ZEROS[: left + -size % tar.BLOCK])

    def _head(self, fd: int, facts: os.stat_result, name: bytes, kind: bytes, *, size: int = 0) -> None:
        entry = _entry(facts, name, kind, size=size)
        entry.xattrs = _xattrs(fd)
        self._output.put(tar.header(entry))


def _xattrs(fd: int) -> dict[bytes, bytes]:
    try:
        return {os.fsencode(name): os.getxattr(fd, name) for name in os.listxattr(fd) if _is_kept(name)}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return {}
        raise


def _is_kept(name: str) -> bool:
    """Capabilities of files, as dockerd; and what users wrote. The rest belongs to this host."""
    return name == "security.capability" or name.startswith("user.")


def _entry(facts: os.stat_result, name: bytes, kind: bytes, *, size: int = 0, link: bytes = b"") -> tar.Entry:
    is_device = kind in (tar.CHARACTER_DEVICE, tar.BLOCK_DEVICE)
    return tar.Entry(
        name,
        kind,
        facts.st_mode,
        facts.st_uid,
        facts.st_gid,
        size,
        facts.st_mtime_ns // 10**9 * 10**9,
        link,
        os.major(facts.st_rdev) if is_device else 0,
        os.minor(facts.st_rdev) if is_device else 0,
    )
