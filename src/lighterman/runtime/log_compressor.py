"""Compresses a rotated log, in a child of the monitor. The one place that needs zlib there.

The gzip header tells which file it was: a reader that followed the log knows by that what comes next.
"""

import os
import zlib

INODE = b"LI"
"""The subfield of gzip's extra field that holds the inode of the file that was compressed, 8 bytes."""
_PIECE = 1 << 18
_LEVEL = 4


def header(inode: int) -> bytes:
    """Source: RFC 1952, 2.3; FLG.FEXTRA, OS Unix."""
    field = INODE + (8).to_bytes(2, "little") + inode.to_bytes(8, "little")
    return b"\x1f\x8b\x08\x04" + bytes(5) + b"\x03" + len(field).to_bytes(2, "little") + field


def compress(path: str) -> None:
    """Make `path`.gz of `path`: whole or not at all. Raises: OSError."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(path + ".gz.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    check = size = 0
    _write(target, header(os.fstat(source).st_ino))
    while piece := os.read(source, _PIECE):
        check, size = zlib.crc32(piece, check), size + len(piece)
        _write(target, packer.compress(piece))
    _write(target, packer.flush() + check.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little"))
    os.rename(path + ".gz.new", path + ".gz")
    os.unlink(path)


def _write(fd: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]
