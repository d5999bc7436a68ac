"""Binds that come without what is mounted below their source.

crun 1.8 takes all of that along, whatever it is told. So for the moment of a start a copy of the mount alone
stands in the container's directory, where the OCI runtime finds it; the container has its own copy then.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lighterman.errdefs import System
from lighterman.linux.mount import move_mount, open_tree, umount

_PLACE = "alone"


def set_apart(home: Path, sources: Sequence[str]) -> Mapping[str, str]:
    """Put a copy of each source into `home`: source -> path. Blocks. Raises: System."""
    put_away(home)
    places = {source: home / _PLACE / str(number) for number, source in enumerate(dict.fromkeys(sources))}
    for source, place in places.items():
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir() if os.path.isdir(source) else place.touch()
            mounted = open_tree(source, recursive=False)
            try:
                move_mount(mounted, str(place))
            finally:
                os.close(mounted)
        except OSError as error:
            raise System(f"error mounting {source}: {error.strerror}") from error
    return {source: str(place) for source, place in places.items()}


def put_away(home: Path) -> None:
    """Take those copies away, and those of starts that were cut off; before `home` is removed. Blocks."""
    for place in sorted((home / _PLACE).glob("*")):
        try:
            umount(str(place), detach=True)
        except OSError as error:
            if error.errno != errno.EINVAL:  # no mount (any more)
                raise
        place.rmdir() if place.is_dir() else place.unlink()
