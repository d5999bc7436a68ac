"""Files shown with other owners, for containers with a user namespace of their own.

On the disk everything has the owners that containers see; see `overlay.mount_mapped` for layers.
"""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lighterman.content import Content
from lighterman.errdefs import System
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux import mount, userns
from lighterman.linux.userns import IdMap
from lighterman.snapshots import overlay


@asynccontextmanager
async def shown(content: Content, source: Path, id_map: IdMap) -> AsyncIterator[Path]:
    """Where the file or directory `source` has owners as the map shows them, while the block lasts.

    Raises: OSError (EINVAL: it is on a file system that cannot, an overlay say).
    """
    ingest = await in_thread(content.new_ingest)
    try:
        yield await in_thread(_show, source, ingest, id_map)
    finally:
        await to_end(in_thread(_hide, ingest, content))


async def try_map(content: Content, id_map: IdMap) -> None:
    """See whether layers can be mounted with this map. Raises: System: this host cannot."""
    ingest = content.new_ingest()
    try:
        await in_thread(_try_map, ingest, id_map)
    except OSError as error:
        raise System(
            f"owners cannot be mapped here: {error.strerror} (it takes Linux 6.13, and a file system "
            f"below {content.root} that can be mounted with mapped owners)"
        ) from error
    finally:
        await in_thread(content.discard, ingest)


def _show(source: Path, ingest: Path, id_map: IdMap) -> Path:
    place = ingest / "shown"
    tree = mount.idmapped(str(source), userns.of_map(id_map))
    try:
        if source.is_dir():
            place.mkdir()
        else:
            place.touch()
        mount.move_mount(tree, str(place))
    finally:
        os.close(tree)
    return place


def _hide(ingest: Path, content: Content) -> None:
    overlay.close_all(overlay.detach_all(ingest / "shown"))
    content.discard(ingest)


def _try_map(directory: Path, id_map: IdMap) -> None:
    for name in ("lower", "diff", "work", "merged"):
        (directory / name).mkdir()
    merged = directory / "merged"
    overlay.mount_mapped([directory / "lower"], directory, id_map, volatile=True)
    try:
        if merged.stat().st_uid != id_map.root[0] or os.statvfs(merged).f_flag & os.ST_RDONLY:
            raise OSError(errno.EINVAL, "the mount shows owners as they are")
    finally:
        overlay.close_all(overlay.detach_all(merged))
