"""Small files read and written whole, by bare system calls.

For monitors, which are many: the buffers and codecs that `open` sets up dirty some 140 KB of the memory that
each of them shares with the zygote otherwise.
"""

import os

_PIECE_BYTES = 4096


def read(path: str | int) -> bytes:
    """The content of a file, named by a path or an fd that is open. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if isinstance(path, str) else path
    try:
        content = b""
        while piece := os.read(fd, _PIECE_BYTES):
            content += piece
        return content
    finally:
        if isinstance(path, str):
            os.close(fd)


def write(path: str, content: bytes) -> None:
    """Make `content` all that a file holds; one that is not there is made for its owner alone.

    Raises: OSError.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
