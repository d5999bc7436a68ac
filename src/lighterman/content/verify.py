"""A layer's blob against what was unpacked of it, byte by byte: for `lighterman check --store`.

The blob is hashed, unpacked once more beside it, and both trees are compared: kind, mode, owner, time, size,
attributes, links and content. Times of directories are not: those that no archive speaks of have any. Layers
that were made here may say more than their blobs: fractions of seconds, overlay's own attributes, sockets.
Blocking; with the codecs, so nothing that a resting engine has in memory.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from lighterman.content.streams import Broken, decompressed, peeked, read, tee
from lighterman.content.tree import Refused
from lighterman.content.unpack import unpack
from lighterman.lib import tar

_BYTES_MAX = 1 << 40
_PIECE = 1 << 20
_OVERLAYS_OWN = ("trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid")
_FACTS = {"st_mode": "mode", "st_uid": "owner", "st_gid": "group", "st_rdev": "device"}


def unlike(blob: Path, kept: Path, scratch: Path, *, digest: str, diff_id: str) -> Iterator[str]:
    """What is wrong with a layer, a line each; `scratch` is an empty directory and gets its tree."""
    received, content = hashlib.sha256(), hashlib.sha256()
    source = os.open(blob, os.O_RDONLY)
    root = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    os.fchmod(root, 0o755)
    try:
        kind, chunks = peeked(tee(read(source), received))
        unpack(root, tar.TarReader(tee(decompressed(kind, chunks), content)), bytes_max=_BYTES_MAX)
    except (tar.TarError, Broken, Refused) as error:
        yield f"its blob cannot be unpacked: {error}"
        return
    finally:
        os.close(source)
        os.close(root)
    for found, expected, what in ((received, digest, "blob"), (content, diff_id, "archive")):
        if f"sha256:{found.hexdigest()}" != expected:
            yield f"its {what} has another digest: sha256:{found.hexdigest()}"
    yield from differences(os.fsencode(kept), os.fsencode(scratch))


def differences(one: bytes, other: bytes, path: bytes = b"") -> Iterator[str]:
    """In what the tree `one` differs from `other`, a line each; `path` is where both are in their roots."""
    shown = os.fsdecode(path) or "/"
    before, after = os.lstat(one), os.lstat(other)
    for fact, name in _FACTS.items():
        if getattr(before, fact) != getattr(after, fact):
            yield f"{shown} has another {name}"
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return
    if _xattrs(one) != _xattrs(other):
        yield f"{shown} has other attributes"
    if stat.S_ISDIR(before.st_mode):
        yield from _inside(one, other, path)
        return
    is_whiteout = stat.S_ISCHR(before.st_mode) and before.st_rdev == 0
    if not is_whiteout and after.st_mtime_ns not in (before.st_mtime_ns, before.st_mtime_ns // 10**9 * 10**9):
        yield f"{shown} has another time"
    if before.st_nlink != after.st_nlink:
        yield f"{shown} has another number of links"
    if stat.S_ISLNK(before.st_mode) and os.readlink(one) != os.readlink(other):
        yield f"{shown} leads elsewhere"
    if stat.S_ISREG(before.st_mode) and not _same_content(one, other):
        yield f"{shown} has another content"


def _inside(one: bytes, other: bytes, path: bytes) -> Iterator[str]:
    here, there = set(os.listdir(one)), set(os.listdir(other))
    yield from (f"{os.fsdecode(path + b'/' + name)} is missing" for name in sorted(there - here))
    for name in sorted(here - there):
        if not stat.S_ISSOCK(os.lstat(one + b"/" + name).st_mode):
            yield f"{os.fsdecode(path + b'/' + name)} is of no archive"
    for name in sorted(here & there):
        yield from differences(one + b"/" + name, other + b"/" + name, path + b"/" + name)


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name not in _OVERLAYS_OWN]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _same_content(one: bytes, other: bytes) -> bool:
    with open(one, "rb") as here, open(other, "rb") as there:
        while piece := here.read(_PIECE):
            if piece != there.read(_PIECE):
                return False
        return not there.read(1)
