"""A writable layer becomes an image layer where it lies: it is read once, for its digest and its blob.

Its files are in overlay's own form already, as those of a layer that was unpacked.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from lighterman.content.jobs import Layer
from lighterman.content.pack_layer import LayerPacker
from lighterman.content.streams import GZIP, FileSink, GzipSink
from lighterman.content.tree import Refused, shown
from lighterman.content.unpack import WHITEOUT
from lighterman.lib import tar
from lighterman.linux.openat2 import BENEATH, openat2

_GATHERED_BYTES = 1 << 18


def keep(upper: int, blob: int, stubs: Sequence[bytes]) -> Layer:
    """The layer that is in `upper`, its compressed tar in `blob`. Raises: OSError, Refused."""
    for stub in sorted(stubs, key=len, reverse=True):
        _take_away(upper, stub)
    # a layer's own root is nobody's choice: it is in no tar
    os.fchown(upper, 0, 0)
    os.fchmod(upper, 0o755)
    output = _Kept(blob)
    packer = _Packer(output, ())
    packer.top(upper, b"")
    output.put(tar.END)
    output.finish()
    return Layer(
        digest=f"sha256:{output.made.hexdigest()}",
        blob_bytes=output.file.size,
        media_type=f"application/vnd.oci.image.layer.v1.tar+{GZIP}",
        diff_id=f"sha256:{output.content.hexdigest()}",
        size_bytes=packer.size_bytes,
        tar_bytes=output.tar_bytes,
    )


def _take_away(upper: int, stub: bytes) -> None:
    """Remove a place that was made to mount on, unless something is in it by now."""
    above, _, leaf = stub.rpartition(b"/")
    try:
        parent = openat2(upper, above or b".", os.O_PATH | os.O_DIRECTORY, resolve=BENEATH)
    except OSError:
        return
    try:
        facts = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(facts.st_mode) and not facts.st_size:
            os.unlink(leaf, dir_fd=parent)
        else:
            os.rmdir(leaf, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR, errno.EEXIST):
            raise
    finally:
        with suppress(OSError):
            os.close(parent)


class _Packer(LayerPacker):
    size_bytes = 0

    def add(self, fd: int, name: bytes, depth: int) -> None:
        if name.rpartition(b"/")[2].startswith(WHITEOUT):
            raise Refused(f"{shown(name)} cannot be in an image: such names mean that a file is gone")
        super().add(fd, name, depth)

    def _head(self, fd: int, facts: os.stat_result, name: bytes, kind: bytes, *, size: int = 0) -> None:
        self.size_bytes += size
        super()._head(fd, facts, name, kind, size=size)


class _Kept:
    """An `Output` that hashes what comes, and compresses it into a file that is hashed too."""

    def __init__(self, blob: int) -> None:
        self.content, self.made, self.file = hashlib.sha256(), hashlib.sha256(), FileSink(blob)
        self.tar_bytes = 0
        self._gzip = GzipSink(self.made, self.file)
        self._gathered: list[bytes] = []
        self._size = 0

    def put(self, piece: bytes) -> None:
        self._gathered.append(piece)
        self._size += len(piece)
        if self._size >= _GATHERED_BYTES:
            self._flush()

    def send(self, fd: int, size: int) -> int:
        left = size
        while left and (piece := os.read(fd, min(left, _GATHERED_BYTES))):
            self.put(piece)
            left -= len(piece)
        return size - left

    def finish(self) -> None:
        self._flush()
        self._gzip.finish()

    def _flush(self) -> None:
        data = b"".join(self._gathered)
        self._gathered.clear()
        self.tar_bytes += self._size
        self._size = 0
        self.content.update(data)
        self._gzip.update(data)
