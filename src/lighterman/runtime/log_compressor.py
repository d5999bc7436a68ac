"""Compresses a rotated log, in a child of the monitor. The one place that needs zlib there.

The gzip header tells which file it was: a reader that followed the log knows by that what comes next.
"""

import os
import zlib

ORIGIN = b"LM"
"""The subfield of gzip's extra field: inode and last change (ns) of the file that was compressed."""
_PIECE = 1 << 18
_LEVEL = 4


def header(inode: int, changed_ns: int) -> bytes:
    """Source: RFC 1952, 2.3; FLG.FEXTRA, OS Unix."""
    told = inode.to_bytes(8, "little") + changed_ns.to_bytes(8, "little")
    field = ORIGIN + len(told).to_bytes(2, "little") + told
    return b"\x1f\x8b\x08\x04" + bytes(5) + b"\x03" + len(field).to_bytes(2, "little") + field


def compress(path: str) -> None:
    """Make `path`.gz of `path`: whole or not at all. Raises: OSError."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(path + ".gz.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    check = size = 0
    status = os.fstat(source)
    _write(target, header(status.st_ino, status.st_mtime_ns))
    while piece := os.read(source, _PIECE):
        check, size = zlib.crc32(piece, check), size + len(piece)
        _write(target, packer.compress(piece))
    _write(target, packer.flush() + check.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little"))
    os.rename(path + ".gz.new", path + ".gz")
    os.unlink(path)


def _write(fd: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]
