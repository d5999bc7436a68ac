"""The archive of a build's context becomes a directory, and each entry's digest is taken on the way.

Names and links may point anywhere: they are resolved in the context only, as if it were the root of
everything. Nothing of an archive is believed before it is written: sizes are counted as they come.
"""

import os
from collections.abc import Callable, Iterator

from lighterman.content import tarsum
from lighterman.content.tree import Refused, Tree, check_size
from lighterman.lib import tar

BYTES_MAX = 1 << 40
ENTRIES_MAX = 10_000_000


def unpack(root: int, chunks: Iterator[bytes]) -> tuple[dict[bytes, str], int]:
    """Write the archive in `chunks` below `root`: the digests of its entries by their paths, and its bytes.

    Raises: Refused, TarError, OSError.
    """
    os.umask(0)
    tree = _Context(root, root)
    try:
        reader = tar.TarReader(chunks)
        while (entry := reader.next()) is not None:
            tree.take(entry, reader.data())
        tree.finish()
        return tree.sums, tree.size_bytes
    finally:
        tree.close()


class _Context(Tree):
    def __init__(self, root: int, top: int) -> None:
        super().__init__(root, top)
        self.sums: dict[bytes, str] = {}
        self.size_bytes = 0

    def parts_of(self, name: bytes) -> list[bytes]:
        clean = os.path.normpath(b"/" + name.lstrip(b"/"))  # what is above "/" is "/" again
        parts = clean.strip(b"/").split(b"/") if clean != b"/" else []
        check_size(name, parts)
        return parts

    def take(self, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        """Write an entry and remember its digest; of two with one name the later counts."""
        parts = self.parts_of(entry.name)
        if not parts:
            return
        digest = tarsum.begin(entry)
        if entry.kind == tar.HARD_LINK:
            digest.update(self.sums.get(b"/".join(self.parts_of(entry.link)), "").encode())
        self.size_bytes += entry.size
        if self.size_bytes > BYTES_MAX or len(self.sums) >= ENTRIES_MAX:
            raise Refused(f"the context unpacks to more than {BYTES_MAX} bytes or {ENTRIES_MAX} files")
        entry.uid = entry.gid = 0
        self.write(self.parent(parts[:-1]), parts, entry, _seen(data, digest.update))
        self.sums[b"/".join(parts)] = digest.hexdigest()


def _seen(data: Iterator[memoryview], update: Callable[[memoryview], object]) -> Iterator[memoryview]:
    for piece in data:
        update(piece)
        yield piece
