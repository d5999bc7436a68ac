"""A writable layer in overlay's form becomes the tar of an image layer: whiteouts are written as names.

Source: OCI image-spec layer.md; the entries that dockerd 20.10 writes for a commit.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from lighterman.content.jobs import Written
from lighterman.content.pack import Packer, Plain
from lighterman.content.unpack import OPAQUE, WHITEOUT
from lighterman.lib import tar

_OPAQUE_XATTR = "trusted.overlay.opaque"


def pack_layer(fds: Sequence[int]) -> Written:
    """Write what is in the first open file, a directory, to the last. Raises: OSError, Refused."""
    output = Plain(fds[1])
    LayerPacker(output, ()).top(fds[0], b"")
    output.put(tar.END)
    output.finish()
    return Written()


class LayerPacker(Packer):
    """Writes whiteouts as the names that mean them."""

    def add(self, fd: int, name: bytes, depth: int) -> None:
        facts = os.fstat(fd)
        if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
            above, slash, leaf = name.rpartition(b"/")
            self._output.put(tar.header(tar.Entry(above + slash + WHITEOUT + leaf, mode=0o600)))
        else:
            super().add(fd, name, depth)

    def _head(self, fd: int, facts: os.stat_result, name: bytes, kind: bytes, *, size: int = 0) -> None:
        super()._head(fd, facts, name, kind, size=size)
        if kind == tar.DIRECTORY and _is_opaque(fd):
            self._output.put(tar.header(tar.Entry(name + OPAQUE, mode=0o600)))


def _is_opaque(directory: int) -> bool:
    with suppress(OSError):  # ENODATA
        return os.getxattr(directory, _OPAQUE_XATTR) == b"y"
    return False
