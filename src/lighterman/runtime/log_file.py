"""The json-file log on disk: appended to, and rotated by renaming. Only monitors write it.

`path` is the youngest file, `path.1` the one before it, and so on, as dockerd names them. A full disk costs
log lines, never the container's life: what cannot be written whole is left out.
"""

import os


class LogFile:
    """An open log. `max_bytes` 0: never rotated."""

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        """Raises: OSError."""
        self._path, self._max_bytes, self._max_files = path, max_bytes, max_files
        self._rotate_at = max_bytes
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._append(b"\n")  # a monitor was killed while it wrote: its torn line ends here

    def write(self, lines: bytes) -> str:
        """Append whole lines. The text of the error that made some of them be left out, or ""."""
        error = ""
        while lines:
            end = len(lines)
            if self._max_bytes:
                if self._size >= self._rotate_at:
                    error = self._rotate() or error
                full = lines.find(b"\n", max(0, self._rotate_at - self._size - 1)) + 1
                end = full or end
            error = self._append(lines[:end]) or error
            lines = lines[end:]
        return error

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _append(self, lines: bytes) -> str:
        done = 0
        try:
            while done < len(lines):
                done += os.write(self._fd, lines[done:] if done else lines)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            return f"write {self._path}: {error.strerror}"
        self._size += done
        return ""

    def _rotate(self) -> str:
        try:
            for number in range(self._max_files - 1, 0, -1):
                younger = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.lexists(younger):
                    os.rename(younger, f"{self._path}.{number}")
            if self._max_files > 1:
                fresh = self._open()
                os.close(self._fd)
                self._fd = fresh
            os.ftruncate(self._fd, 0)
        except OSError as error:
            self._rotate_at = self._size + self._max_bytes  # tried again after as many bytes
            return f"rotate {self._path}: {error.strerror}"
        self._size, self._rotate_at = 0, self._max_bytes
        return ""
