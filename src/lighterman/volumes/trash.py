"""The trash of pruned volumes: where they lie until their time is over. Blocking; run it in a thread.

`ROOT/.trash-<second>-<name>/` is a volume's directory under another name, with its row in the file `row`; the
second is that in which it came. So a crash loses nothing, and no second book is kept.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from lighterman.volumes.directories import ROW, delete_tree

PREFIX = ".trash-"  # no volume's name begins with a dot


class Trashed(Struct, frozen=True):
    """A volume in the trash, and since when."""

    path: Path
    name: str
    since_s: int


def throw(root: Path, name: str, row: bytes, now_s: int) -> None:
    """Move a volume to the trash, by one rename. Raises: OSError."""
    place = root / name
    (place / ROW).write_bytes(row)
    target = root / f"{PREFIX}{now_s}-{name}"
    delete_tree(target)  # pruned twice within a second: the later one can be brought back
    place.rename(target)


def bring_back(root: Path, name: str) -> bool:
    """Move the volume of this name that came last out of the trash, if there is one."""
    found = max((each for each in _all(root) if each.name == name), key=_since, default=None)
    if found is None:
        return False
    found.path.rename(root / name)
    return True


def kept_row(root: Path, name: str) -> bytes | None:
    """The row of a volume that was brought back, until `forget_row`: it is in the books again then."""
    try:
        return (root / name / ROW).read_bytes()
    except FileNotFoundError:
        return None


def forget_row(root: Path, name: str) -> None:
    """It is in the books. Idempotent."""
    (root / name / ROW).unlink(missing_ok=True)


def names(root: Path) -> set[str]:
    """Of the volumes in the trash."""
    return {each.name for each in _all(root)}


def empty(root: Path, before_s: float) -> None:
    """Delete what came before this second."""
    for each in list(_all(root)):
        if each.since_s < before_s:
            delete_tree(each.path)


def _all(root: Path) -> Iterator[Trashed]:
    for entry in os.listdir(root):
        since, dash, name = entry.removeprefix(PREFIX).partition("-")
        if entry.startswith(PREFIX) and dash and since.isdecimal():
            yield Trashed(root / entry, name, int(since))


def _since(trashed: Trashed) -> int:
    return trashed.since_s
