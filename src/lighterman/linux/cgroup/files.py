"""Reading and removing directories of cgroupfs: what v1 and v2 have in common."""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

WAIT_S = 2.0
"""How long the kernel may take to end killed processes or to stop the living."""


def read(file: Path | str) -> bytes:
    """A small file, whole. Raises OSError. (Text files and paths cost more than the kernel's own work.)"""
    with open(file, "rb", buffering=0) as opened:
        return opened.read()


def read_number(file: Path | str) -> int | None:
    """The number in a file, None for "max". Raises OSError."""
    text = read(file).strip()
    return None if text == b"max" else int(text)


def read_flat(file: Path | str) -> dict[str, int]:
    """A file of "key number" lines. Raises OSError."""
    words = read(file).decode().split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def read_counter(file: Path, key: str) -> int:
    """One number of a file of "key number" lines; 0 when the cgroup is gone, or nobody counts it."""
    try:
        return read_flat(file).get(key, 0)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return 0


def read_devices(file: Path) -> dict[str, str]:
    """What a file of "8:0 value" lines says of each device. Raises OSError."""
    lines = (line.partition(" ") for line in file.read_text().splitlines())
    return {device: value.strip() for device, _, value in lines}


class Write(Struct, frozen=True):
    """A text for a file, and the text that brings back what the file says now."""

    file: Path
    text: str
    back: str


def overwrite(file: Path, text: str) -> Write:
    """A write to a file that reads as it is written. Raises OSError."""
    return Write(file, text, file.read_text().strip())


def write_all(writes: Iterable[Write]) -> Callable[[], None]:
    """Write them in order; the answer takes all back. Each is planned when those before it are written.

    Raises: OSError of the first that fails; those before it are taken back then.
    """
    done: list[Write] = []

    def take_back() -> None:
        for write in reversed(done):
            _write(write.file, write.back)

    try:
        for write in writes:
            _write(write.file, write.text)
            done.append(write)
    except OSError:
        take_back()
        raise
    return take_back


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text or "\n")  # an empty write would never reach the kernel
    except OSError as error:  # of a write, Python does not say into what
        raise OSError(error.errno, error.strerror, str(file)) from error


def pids_below(top: Path) -> set[int]:
    """The processes of a directory and of all below it; none when it is gone."""
    found: set[int] = set()
    for directory in bottom_up(top):
        try:
            found.update(int(line) for line in (directory / "cgroup.procs").read_text().split())
        except OSError as error:
            # Gone meanwhile, or a threaded cgroup (v2), whose processes its domain above lists.
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                raise
    return found


def bottom_up(top: Path) -> Iterator[Path]:
    """`top` and all directories below it, the deepest first."""
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)


def kill_all(pids: Callable[[], list[int]]) -> None:
    """SIGKILL to each, and again to those they forked meanwhile.

    A process that is killed already stays listed until it has ended, so only new faces count as a round.
    """
    struck: set[int] = set()
    while new := set(pids()) - struck:
        for pid in new:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        struck |= new


def remove_tree(top: Path) -> None:
    """rmdir of a cgroup and all below it; idempotent.

    A process that was killed leaves its cgroup when the kernel gets to it, and nothing tells when (v1), so
    EBUSY is tried again for up to WAIT_S. Raises: OSError.
    """
    deadline, pause_s = time.monotonic() + WAIT_S, 0.001
    while top.exists():
        try:
            for directory in bottom_up(top):
                directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)
