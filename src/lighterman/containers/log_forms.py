"""The two forms in which logs are kept, as their readers see them: Docker's json lines, and records."""

import os
from abc import ABC, abstractmethod

from lighterman.lib import log_records

BLOCK_BYTES = 256 * 1024
_PAGE_BYTES = 4096
_LINE_BYTES = 256
"""What a line is taken to be, so that a short tail is found in a short read."""


class LogForm(ABC):
    """How entries are found in a log's bytes."""

    @abstractmethod
    def whole(self, block: bytes) -> int:
        """How many bytes of `block`, which begins with an entry, are whole entries."""

    @abstractmethod
    def tail(self, fd: int, count: int) -> "Tail":
        """Where the last `count` lines of a file begin. Reads from its end."""

    @abstractmethod
    def without(self, block: bytes, lines: int) -> bytes:
        """`block`, which begins with an entry, without this many lines of that entry."""


class Tail:
    """`offset` is an entry's, `skip` of its lines are too many, `missing` lines are not in the file."""

    def __init__(self, offset: int, *, skip: int = 0, missing: int = 0) -> None:
        self.offset, self.skip, self.missing = offset, skip, missing


class JsonLines(LogForm):
    """One line for each entry, and one entry for each line."""

    def whole(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1

    def tail(self, fd: int, count: int) -> Tail:
        at = os.fstat(fd).st_size
        if count == 0:
            return Tail(at)
        wanted = count + 1  # the newline before the first line wanted
        ends_whole = at == 0 or os.pread(fd, 1, at - 1) == b"\n"
        if not ends_whole:  # the last line is being written: it counts as soon as it is whole
            wanted -= 1
        while at > 0:
            size = min(BLOCK_BYTES, max(_LINE_BYTES * wanted, _PAGE_BYTES), at)
            at -= size
            block = os.pread(fd, size, at)
            found = block.count(b"\n")
            if found >= wanted:
                position = size
                for _ in range(wanted):
                    position = block.rindex(b"\n", 0, position)
                return Tail(at + position + 1)
            wanted -= found
        return Tail(0, missing=wanted - 1)

    def without(self, block: bytes, lines: int) -> bytes:
        return block


class Records(LogForm):
    """`lib.log_records`: many lines in one entry."""

    def whole(self, block: bytes) -> int:
        return log_records.whole(block)

    def tail(self, fd: int, count: int) -> Tail:
        at = self._end(fd)
        while at > 0 and count > 0:
            size = int.from_bytes(os.pread(fd, 4, at - 4), "big")
            at -= size
            (record,) = log_records.records(os.pread(fd, size, at))
            lines = record.output.count(b"\n") + (not record.output.endswith(b"\n"))
            if lines >= count:
                return Tail(at, skip=lines - count)
            count -= lines
        return Tail(at, missing=count)

    def without(self, block: bytes, lines: int) -> bytes:
        end = log_records.end_of(block, 0)
        (record,) = log_records.records(block[:end])
        kept = record.output.split(b"\n", lines)[-1]
        return log_records.record(record.stream, kept, record.time_ns) + block[end:]

    def _end(self, fd: int) -> int:
        """Where the last whole record ends: at the end, unless one is being written just now."""
        size = os.fstat(fd).st_size
        last = int.from_bytes(os.pread(fd, 4, size - 4), "big") if size > 4 else 0
        if 0 < last <= size and log_records.whole(os.pread(fd, last, size - last)) == last:
            return size
        at, rest, done = 0, b"", 0
        while block := os.pread(fd, BLOCK_BYTES, at):
            at += len(block)
            rest += block
            found = log_records.whole(rest)
            done, rest = done + found, rest[found:]
        return done


FORMS: dict[str, LogForm] = {"json": JsonLines(), "records": Records()}
