"""A tar stream becomes the directory of an overlay layer: a `Tree` of its own, with whiteouts.

A whiteout (`.wh.name`) becomes overlay's own form: a character device 0:0, or the xattr that makes a
directory opaque. The root is an open directory that nobody else writes to. Runs in a worker process: plain
blocking calls.

Sources: OCI image-spec layer.md (whiteouts); overlayfs of the kernel; dockerd 20.10's rules of extraction.
"""

import os
import stat
from collections.abc import Iterator

from msgspec import Struct

from lighterman.content.tree import DIRECTORY, Refused, Tree, check_size, facts_of, shown
from lighterman.lib import tar
from lighterman.linux.openat2 import BENEATH, openat2

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_OPAQUE_XATTR = "trusted.overlay.opaque"

ENTRIES_MAX = 10_000_000


class Unpacked(Struct, frozen=True):
    """What a layer holds: bytes of its files and links, and entries."""

    size_bytes: int
    entries: int


def unpack(root: int, reader: tar.TarReader, *, bytes_max: int) -> Unpacked:
    """Write all entries of `reader` below the open directory `root`.

    Raises: Refused, TarError, OSError (ENOSPC); what was written so far is the caller's to remove.
    """
    os.umask(0)
    tree = _Layer(root, root)
    try:
        size = entries = 0
        while (entry := reader.next()) is not None:
            # a link takes as many bytes as its target's name has: so dockerd counts, by what lstat(2) says
            link = len(entry.link) if entry.kind == tar.SYMBOLIC_LINK else 0
            size, entries = size + entry.size + link, entries + 1
            if size > bytes_max or entries > ENTRIES_MAX:
                raise Refused(f"the archive unpacks to more than {bytes_max} bytes or {ENTRIES_MAX} files")
            tree.add(entry, reader.data())
        tree.finish()
        return Unpacked(size, entries)
    finally:
        tree.close()


def parts_of(name: bytes) -> list[bytes]:
    """The parts of a name, without empty ones and dots.

    Raises: Refused for `..`, NUL and what is too long.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    check_size(name, parts)
    if b".." in parts:
        raise Refused(f"{shown(name)} is outside of the archive's root")
    return parts


class _Layer(Tree):
    def parts_of(self, name: bytes) -> list[bytes]:
        return parts_of(name)

    def add(self, entry: tar.Entry, data: Iterator[memoryview]) -> None:
        parts = parts_of(entry.name)
        if any(part.startswith(_AUFS) and part != OPAQUE for part in parts):
            return
        if not parts:  # "./": the root itself
            if entry.kind == tar.DIRECTORY:
                self.adorn(self._top, entry, b".")
            return
        leaf = parts[-1]
        parent = self.parent(parts[:-1])
        if leaf == OPAQUE:
            os.setxattr(parent, _OPAQUE_XATTR, b"y")
        elif leaf.startswith(WHITEOUT):
            self._whiteout(parent, leaf.removeprefix(WHITEOUT))
        else:
            self.write(parent, parts, entry, data)

    def _whiteout(self, parent: int, leaf: bytes) -> None:
        # os.rmdir and friends would take these names for a directory that exists
        if leaf in (b"", b".", b".."):
            raise Refused(f"a whiteout of {shown(leaf)} is outside of the archive's root")
        try:
            os.mknod(leaf, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # a whiteout speaks of the layers below only: what this one has stays, and hides them
            if stat.S_ISDIR(facts_of(parent, leaf).st_mode):
                fd = openat2(parent, leaf, DIRECTORY, resolve=BENEATH)
                os.setxattr(fd, _OPAQUE_XATTR, b"y")
                os.close(fd)

    def directory(self, parent: int, leaf: bytes, entry: tar.Entry) -> int:
        hidden = _is_whiteout(parent, leaf)
        fd = super().directory(parent, leaf, entry)
        if hidden:  # it was whited out before it was made anew
            os.setxattr(fd, _OPAQUE_XATTR, b"y")
        return fd


def _is_whiteout(parent: int, leaf: bytes) -> bool:
    try:
        facts = facts_of(parent, leaf)
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0
