"""What a writable layer has changed, against a view of the layers below it.

Three words. The *upper* is the open directory of the writable layer in overlay's own form; the *lower* is an
open root that shows everything below it; a *whiteout* (a character device 0:0) says that something is gone,
an *opaque* directory that nothing of the lower one shines through.

Source: dockerd 20.10.24, measured: directories count as modified when owner or mode differ or when something
in them was changed, files also when time or size do; what was only opened for writing is no change.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from lighterman.content.jobs import Change, ChangeKind
from lighterman.content.tree import DEPTH_MAX, Refused

_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def changes(upper: int, lower: int) -> Iterator[Change]:
    """All changes in the order of their paths, each directory before what is in it. Raises: OSError."""
    return _inside(upper, lower, b"/", 1, hides=False)


def _inside(upper: int, lower: int | None, prefix: bytes, depth: int, *, hides: bool) -> Iterator[Change]:
    """The changes in a directory; `hides`: of the lower one nothing shines through."""
    if depth > DEPTH_MAX:
        raise Refused(f"a directory lies more than {DEPTH_MAX} deep")
    names = set(os.listdir(upper))
    if hides and lower is not None:
        names.update(os.listdir(lower))
    for name in sorted(names, key=os.fsencode):
        before, after = _facts(lower, name), _facts(upper, name)
        path = prefix + os.fsencode(name)
        if after is None or _is_whiteout(after):
            if before is not None:
                yield Change(path, ChangeKind.DELETED)
        elif stat.S_ISDIR(after.st_mode):
            yield from _directory(upper, lower, name, path, before, after, depth)
        elif before is None:
            yield Change(path, ChangeKind.ADDED)
        elif _differ(before, after):
            yield Change(path, ChangeKind.MODIFIED)


def _directory(
    upper: int,
    lower: int | None,
    name: str,
    path: bytes,
    before: os.stat_result | None,
    after: os.stat_result,
    depth: int,
) -> Iterator[Change]:
    """A directory of the upper, and what is in it; nothing if somebody took it away just now."""
    try:
        above = os.open(name, _DIRECTORY, dir_fd=upper)
    except (FileNotFoundError, NotADirectoryError):
        return
    was_directory = before is not None and stat.S_ISDIR(before.st_mode)
    below = os.open(name, _DIRECTORY, dir_fd=lower) if was_directory else None
    try:
        inside = _inside(above, below, path + b"/", depth + 1, hides=_is_opaque(above))
        if before is None:
            yield Change(path, ChangeKind.ADDED)
        elif _differ(before, after):
            yield Change(path, ChangeKind.MODIFIED)
        elif (first := next(inside, None)) is not None:
            yield Change(path, ChangeKind.MODIFIED)
            yield first
        yield from inside
    finally:
        os.close(above)
        if below is not None:
            os.close(below)


def _facts(directory: int | None, name: str) -> os.stat_result | None:
    if directory is None:
        return None
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    return None


def _is_whiteout(facts: os.stat_result) -> bool:
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    with suppress(OSError):  # ENODATA
        return os.getxattr(directory, _OPAQUE) == b"y"
    return False


def _differ(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether something was modified, by what stat(2) tells."""
    if (before.st_mode, before.st_uid, before.st_gid) != (after.st_mode, after.st_uid, after.st_gid):
        return True
    if stat.S_ISDIR(after.st_mode):
        return False
    return (before.st_mtime_ns, before.st_size, before.st_rdev) != (
        after.st_mtime_ns,
        after.st_size,
        after.st_rdev,
    )
