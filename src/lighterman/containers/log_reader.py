"""Reading a log, from its rotated elders to the end that still grows. Blocks: for a thread.

A log is `x`, with elders `x.1` (the newest) to `x.N`, or `x.N.gz`. Only the monitor writes; a rotation
renames them all by one, and a rotated file is never written again. A reader that holds a file open knows
where it is by the file's inode; a compressed file tells the inode of the file that it was.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from lighterman.containers.log_forms import BLOCK_BYTES, LogForm

_HEADER_BYTES = 32
_TRIES = 100


class _File(Struct, frozen=True):
    """One file of a log. `origin`: its inode before it was compressed, and its last change."""

    path: Path
    inode: int
    origin: tuple[int, int]

    @property
    def packed(self) -> bool:
        return self.path.suffix == ".gz"


class LogReader:
    """Gives the whole entries of a log, one block after the other."""

    def __init__(self, path: Path, form: LogForm, *, tail: int | None = None) -> None:
        """From the beginning, or from the last `tail` lines on, as they are at the first `read`."""
        self._path, self._form, self._tail = path, form, tail
        self._begun = False
        self._fd = -1
        self._file: _File | None = None
        self._held = -1
        """A compressed file that is read unpacked: held open, its inode means no other file."""
        self._rest = b""
        self._skip = 0

    def close(self) -> None:
        """Let go of the file."""
        for fd in (self._fd, self._held):
            if fd >= 0:
                os.close(fd)
        self._fd = self._held = -1

    def read(self) -> bytes:
        """The next whole entries, up to a block of them; b"" when there is no more for now.

        Raises: OSError, but not for a log that is not there yet.
        """
        if not self._begun:
            self._begin()
        while self._take() or self._go_on():
            if done := self._form.whole(self._rest):
                entries, self._rest = self._rest[:done], self._rest[done:]
                skip, self._skip = self._skip, 0
                return self._form.without(entries, skip) if skip else entries
        return b""

    def _begin(self) -> None:
        self._begun = True
        if self._tail is not None:
            self._seek(files_of(self._path), self._tail)

    def _take(self) -> bool:
        block = os.read(self._fd, BLOCK_BYTES) if self._fd >= 0 else b""
        self._rest += block
        return bool(block)

    def _go_on(self) -> bool:
        """Open what was written after the file that is read to its end; False when nothing was."""
        for _ in range(_TRIES):
            newer = self._newer()
            if newer is None:
                return False
            if self._take():  # it was written between our last look and its rotation
                return True
            if self._open(newer):
                return True
        return False

    def _newer(self) -> _File | None:
        files = files_of(self._path)
        if self._file is None:
            return files[0] if files else None
        here = [at for at, file in enumerate(files) if self._is_here(file)]
        if not here:  # rotated away while we read: what remains is all newer
            return files[0] if files else None
        return files[here[-1] + 1] if here[-1] + 1 < len(files) else None

    def _is_here(self, file: _File) -> bool:
        """Whether it is the file that is open. Its inode is nobody else's, but may have been before."""
        assert self._file is not None
        if self._file.packed:
            return file.inode == self._file.inode
        return self._file.inode == file.origin[0]

    def _open(self, file: _File) -> bool:
        """False: it is another one by now, or gone."""
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if os.fstat(fd).st_ino != file.inode:
            os.close(fd)
            return False
        self.close()
        self._rest, self._file = b"", file
        self._fd, self._held = (_unpacked(fd, file.path.parent), fd) if file.packed else (fd, -1)
        return True

    def _seek(self, files: Sequence[_File], tail: int) -> None:
        """Open the file in which the last `tail` lines begin, at that place."""
        for file in reversed(files):
            if not self._open(file):  # rotated just now: begin again, from what is the newest now
                return self._seek(files_of(self._path), tail)
            place = self._form.tail(self._fd, tail)
            os.lseek(self._fd, place.offset, os.SEEK_SET)
            self._skip, tail = place.skip, place.missing
            if not tail:
                break
        return None


def files_of(path: Path) -> list[_File]:
    """The files of a log that are there, oldest first.

    They are looked at from the newest on, up to the highest number that there is in the end: a rotation moves
    them to higher numbers, so none can get past. One that was seen twice counts where it was seen last. What
    has moved on cannot be opened (`_open`).
    """
    found: dict[tuple[int, int], _File] = {}
    number, highest = 0, _highest(path)
    while number <= highest:
        elder = path.with_name(f"{path.name}.{number}") if number else path
        file = _plain(elder) or _packed(elder.with_name(f"{elder.name}.gz"))
        if file is not None:
            found.pop(file.origin, None)
            found[file.origin] = file
        number += 1
        if number > highest:
            highest = _highest(path)
    return list(reversed(found.values()))


def _highest(path: Path) -> int:
    """The highest number of an elder; -1: the container never ran, so there is not even a directory."""
    prefix = f"{path.name}."
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(prefix)]
    except FileNotFoundError:
        return -1
    numbers = [name.removeprefix(prefix).removesuffix(".gz") for name in names]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _plain(path: Path) -> _File | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return _File(path, status.st_ino, (status.st_ino, status.st_mtime_ns))


def _packed(path: Path) -> _File | None:
    try:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            return _File(path, inode, origin(file.read(_HEADER_BYTES)) or (inode, -1))
    except FileNotFoundError:
        return None


def origin(header: bytes) -> tuple[int, int] | None:
    """(inode, time of the last change) of the file that was compressed, if its gzip header tells."""
    if header[3:4] != b"\x04" or header[12:14] != b"LM":
        return None
    return int.from_bytes(header[16:24], "little"), int.from_bytes(header[24:32], "little")


def _unpacked(packed: int, place: Path) -> int:
    """A nameless file with the content of a gzip file, at its beginning. Raises: OSError."""
    fd = os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    unpacker = zlib.decompressobj(31)
    try:
        while piece := os.read(packed, BLOCK_BYTES):
            text = unpacker.decompress(piece)
            while text:
                text = text[os.write(fd, text) :]
    except zlib.error as error:
        os.close(fd)
        raise OSError(f"a compressed log is damaged: {error}") from error
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
