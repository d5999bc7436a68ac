"""Blobs on disk, and the places where unfinished and finished-with things lie.

```
blobs/sha256/<2 hex>/<hex>   immutable; the name is the digest of the content
ingest/<uuid>/               unfinished work: only its maker looks there; emptied at start
trash/<uuid>                 what was removed: gone for everybody, its bytes are unlinked in the background
```
All three are on one file system, so each step between them is one rename. Rows are kept by whoever refers
to a blob: a blob that nobody refers to is garbage.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lighterman.linux.inode_flags import TOPDIR, add_flag
from lighterman.linux.sync import fsync_directory
from lighterman.reference import is_digest


class Content:
    """Blobs of one data root, by digest. Blocking; every call is short."""

    def __init__(self, root: Path, on_discard: Callable[[], None] = lambda: None) -> None:
        """`on_discard` is called, in whatever thread, when something has come into the trash."""
        self.root = root
        self.on_discard = on_discard
        for name in ("blobs", "ingest", "trash"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        # ext4 goes round the inodes that were freed in the last seconds, one by one: where much was removed
        # just now, a new file takes 500 us in place of 15 (measured). So each work begins elsewhere.
        with suppress(OSError):
            add_flag(str(root / "ingest"), TOPDIR)

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises: ValueError when `digest` is none."""
        if not is_digest(digest):
            raise ValueError(f"not a digest: {digest!r}")
        algorithm, _, digits = digest.partition(":")
        return self.root / "blobs" / algorithm / digits[:2] / digits

    def adopt(self, file: Path, digest: str) -> None:
        """Move a verified file to its place among the blobs, and make the move durable."""
        place = self.path(digest)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(file, place)
        fsync_directory(place.parent)

    def remove(self, digest: str) -> None:
        """Throw the blob away. Idempotent."""
        self.discard(self.path(digest))

    def digests(self) -> set[str]:
        """All blobs on disk. For the start: it reads directories."""
        return {
            f"{file.parent.parent.name}:{file.name}"
            for file in (self.root / "blobs").glob("*/??/*")
            if is_digest(f"{file.parent.parent.name}:{file.name}")
        }

    def new_ingest(self) -> Path:
        """A fresh directory for unfinished work."""
        path = self.root / "ingest" / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        return path

    def discard(self, path: Path) -> None:
        """Move a file or directory to the trash. Idempotent."""
        with suppress(FileNotFoundError):
            os.rename(path, self.root / "trash" / secrets.token_hex(8))
            self.on_discard()

    def discard_ingest(self) -> None:
        """At start: nobody's unfinished work goes to the trash."""
        for path in (self.root / "ingest").iterdir():
            self.discard(path)
