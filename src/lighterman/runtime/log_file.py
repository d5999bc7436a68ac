"""A log on disk: appended to, and rotated by renaming. Only monitors and their helpers write it.

`path` is the youngest file, `path.1` the one before it, and so on, as dockerd names them; compressed elders
end with `.gz`. A file that was rotated is never written again. A full disk costs log lines, never the
container's life: what cannot be written whole is left out.
"""

import os
from _collections_abc import Callable

from lighterman.lib import log_records
from lighterman.runtime.fields import Fields


class LogFormat:
    """How a log's entries are found in its bytes."""

    def __init__(self, entry_end: Callable[[bytes, int], int], mend: Callable[[int, int], int]) -> None:
        self.entry_end = entry_end
        """Of whole entries, where the one ends that has reached this many bytes; 0: none has."""
        self.mend = mend
        """Make the file (fd, size) end with a whole entry, after a crash; its size then."""


def _line_end(lines: bytes, at: int) -> int:
    return lines.find(b"\n", max(0, at - 1)) + 1


def _end_torn_line(fd: int, size: int) -> int:
    if size and os.pread(fd, 1, size - 1) != b"\n":
        size += os.write(fd, b"\n")
    return size


def _record_end(records: bytes, at: int) -> int:
    end = 0
    while end < at and (more := log_records.end_of(records, end)):
        end = more
    return end if end >= at else 0


def _cut_torn_record(fd: int, size: int) -> int:
    """Records have no mark that a later one could be found by: a torn one must not stay."""
    last = int.from_bytes(os.pread(fd, 4, max(0, size - 4)), "big")
    if 0 < last <= size and log_records.whole(os.pread(fd, last, size - last)) == last:
        return size
    whole = at = 0
    rest = b""
    while block := os.pread(fd, 1 << 20, at):
        at += len(block)
        rest += block
        done = log_records.whole(rest)
        whole, rest = whole + done, rest[done:]
    if whole < size:
        os.ftruncate(fd, whole)
    return whole


LINES = LogFormat(_line_end, _end_torn_line)
RECORDS = LogFormat(_record_end, _cut_torn_record)


class LogFile:
    """An open log. `max_bytes` 0: never rotated."""

    def __init__(
        self, path: str, max_bytes: int, max_files: int, format: LogFormat = LINES, *, compress: bool = False
    ) -> None:
        """Raises: OSError."""
        self._path, self._max_bytes, self._max_files = path, max_bytes, max_files
        self._format, self._compress = format, compress
        self._compressor = 0
        self._rotate_at = max_bytes
        self._fd = self._open()
        self._size = format.mend(self._fd, os.fstat(self._fd).st_size)

    def write(self, entries: bytes) -> str:
        """Append whole entries. The text of the error that made some of them be left out, or ""."""
        error = ""
        while entries:
            end = len(entries)
            if self._max_bytes:
                if self._size >= self._rotate_at:
                    error = self._rotate() or error
                end = self._format.entry_end(entries, self._rotate_at - self._size) or end
            error = self._append(entries[:end]) or error
            entries = entries[end:]
        return error

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _append(self, entries: bytes) -> str:
        done = 0
        try:
            while done < len(entries):
                done += os.write(self._fd, entries[done:] if done else entries)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            return f"write {self._path}: {error.strerror}"
        self._size += done
        return ""

    def _rotate(self) -> str:
        try:
            self._finish_compression()
            self._shift()
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh
            if self._compress and self._max_files > 1:
                self._compressor = _compress(self._path + ".1")
        except OSError as error:
            self._rotate_at = self._size + self._max_bytes  # tried again after as many bytes
            return f"rotate {self._path}: {error.strerror}"
        self._size, self._rotate_at = 0, self._max_bytes
        return ""

    def _shift(self) -> None:
        """Make room at `path`. The oldest file goes, but stays whole for who reads it."""
        if self._max_files == 1:
            os.unlink(self._path)
            return
        for end in ("", ".gz"):
            _unlink(f"{self._path}.{self._max_files - 1}{end}")
        for number in range(self._max_files - 2, 0, -1):
            for end in ("", ".gz"):
                _rename(f"{self._path}.{number}{end}", f"{self._path}.{number + 1}{end}")
        _rename(self._path, f"{self._path}.1")

    def _finish_compression(self) -> None:
        """One at a time: who writes faster than that waits for it, as with dockerd."""
        child, self._compressor = self._compressor, 0
        if child:
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                return  # reaped with the other children


def open_log(request: Fields) -> LogFile:
    """The log that a run's request describes. Raises: OSError."""
    return LogFile(
        request.text("log"),
        request.number("log_max"),
        request.number("log_files"),
        RECORDS if request.text("log_format") == "records" else LINES,
        compress=request.flag("log_compress"),
    )


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _rename(path: str, target: str) -> None:
    if os.path.lexists(path):
        os.rename(path, target)


def _compress(path: str) -> int:
    """The pid of a child that compresses the file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.closerange(3, 1 << 20)  # its parent's connections end when the parent ends, not later
        from lighterman.runtime import log_compressor

        log_compressor.compress(path)
        code = 0
    finally:
        os._exit(code)
