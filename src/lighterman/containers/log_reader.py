"""Reading a json-file log, from its rotated elders to the end that still grows. Blocks: for a thread.

A log is `x`, with elders `x.1` (the newest) to `x.N`. Only the monitor writes; a rotation renames them all by
one. So a reader that holds a file open knows where it is by the file's inode.
"""

import os
from pathlib import Path

BLOCK_BYTES = 256 * 1024


class LogReader:
    """Gives the whole lines of a log, one block after the other."""

    def __init__(self, path: Path, *, tail: int | None = None) -> None:
        """From the beginning, or from the last `tail` lines on. Raises: OSError, but not for a log that is
        not there yet."""
        self._path = path
        self._fd = -1
        self._rest = b""
        files = elders(path) if tail is None else self._seek(tail)
        if tail is None and files:
            self._open(files[0])

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> bytes:
        """The next whole lines, up to a block of them; b"" when there is no more for now."""
        while True:
            block = os.read(self._fd, BLOCK_BYTES) if self._fd >= 0 else b""
            if block:
                whole, newline, rest = block.rpartition(b"\n")
                if newline:
                    lines, self._rest = self._rest + whole + newline, rest
                    return lines
                self._rest += block
            elif not self._go_on():
                return b""

    def _go_on(self) -> bool:
        """Open what was written after the file that is read to its end; False when nothing was."""
        files = elders(self._path)
        if not files:
            return False
        if self._fd < 0:
            self._open(files[0])
            return True
        here = os.fstat(self._fd).st_ino
        inodes = [os.stat(file).st_ino for file in files if file.exists()]
        if here not in inodes:  # rotated away while we read: the rest of it is gone
            self._open(files[0])
            return True
        newer = files[inodes.index(here) + 1 :]
        if newer:
            self._open(newer[0])
        return bool(newer)

    def _open(self, path: Path) -> None:
        self.close()
        self._rest = b""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _seek(self, tail: int) -> list[Path]:
        """Open the file in which the last `tail` lines begin, at that place."""
        files = elders(self._path)
        for file in reversed(files):
            self._open(file)
            offset, missing = tail_offset(self._fd, tail)
            os.lseek(self._fd, offset, os.SEEK_SET)
            if missing == 0:
                break
            tail = missing
        return files


def elders(path: Path) -> list[Path]:
    """The files of a log that are there, oldest first."""
    numbered = []
    number = 1
    while (elder := path.with_name(f"{path.name}.{number}")).exists():
        numbered.append(elder)
        number += 1
    return [*reversed(numbered), *([path] if path.exists() else [])]


def tail_offset(fd: int, count: int) -> tuple[int, int]:
    """(where the last `count` lines of a file begin, how many lines it has too few), read from its end."""
    at = os.fstat(fd).st_size
    if count == 0:
        return at, 0
    wanted = count + 1  # the newline before the first line wanted
    ends_whole = at == 0 or os.pread(fd, 1, at - 1) == b"\n"
    if not ends_whole:  # the last line is being written: it counts as soon as it is whole
        wanted -= 1
    while at > 0:
        size = min(BLOCK_BYTES, at)
        at -= size
        block = os.pread(fd, size, at)
        found = block.count(b"\n")
        if found >= wanted:
            position = size
            for _ in range(wanted):
                position = block.rindex(b"\n", 0, position)
            return at + position + 1, 0
        wanted -= found
    return 0, wanted - 1
