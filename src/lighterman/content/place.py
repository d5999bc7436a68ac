"""A tar stream is put into a directory of a living root, as `docker cp` does: a `Tree` that others change.

Sources: dockerd 20.10.24, measured: what is in the way is replaced, directories are merged, links in the root
are followed as the container would, whiteouts are files like others. Links may point anywhere: they are
resolved in the root only.
"""

import os
import stat

from lighterman.content.tree import Refused, Tree, check_size, facts_of
from lighterman.lib import tar


def place(
    root: int,
    top: int,
    where: bytes,
    reader: tar.TarReader,
    *,
    keep_kinds: bool,
    owner: tuple[int, int] | None,
) -> None:
    """Write all entries of `reader` below `top`, which lies at `where` in `root`.

    `keep_kinds`: no directory is replaced by something else, nor the other way round. `owner` is whose all
    entries are to be, where it is not the archive's. Raises: Refused, TarError, OSError.
    """
    os.umask(0)
    tree = _Place(root, top, where, keep_kinds=keep_kinds)
    try:
        while (entry := reader.next()) is not None:
            if owner is not None:
                entry.uid, entry.gid = owner
            tree.add(entry, reader.data())
        tree.finish()
    finally:
        tree.close()


class _Place(Tree):
    def __init__(self, root: int, top: int, where: bytes, *, keep_kinds: bool) -> None:
        super().__init__(root, top, where)
        self._keep_kinds = keep_kinds
        self._shown = os.fsdecode(where)

    def parts_of(self, name: bytes) -> list[bytes]:
        clean = os.path.normpath(name.lstrip(b"/") or b".")
        parts = [] if clean == b"." else clean.split(b"/")
        check_size(name, parts)
        if b".." in parts:  # what is left of them leads out
            raise Refused(f'"{_text(clean)}" is outside of "{self._shown}"')
        return parts

    def make_room(self, parent: int, leaf: bytes, entry: tar.Entry) -> None:
        if self._keep_kinds:
            there = stat.S_ISDIR(facts_of(parent, leaf).st_mode)
            if there != (entry.kind == tar.DIRECTORY):
                path = os.path.join(self._shown, _text(os.path.normpath(entry.name.lstrip(b"/"))))
                old, new = ("directory", "non-directory") if there else ("non-directory", "directory")
                raise Refused(f'cannot overwrite {old} "{path}" with {new} "{self._shown}"')
        super().make_room(parent, leaf, entry)


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
