"""Files that a container is given at each start and that no disk may keep: secrets and configs of a swarm.

Their contents are somebody else's and are asked for at the start. They lie in a file system in memory that is
made for the container, each is bound to its place, and nobody can write to it.
Source: setupSecretDir of moby.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lighterman.errdefs import System
from lighterman.linux import mount
from lighterman.linux.userns import IdMap


class GivenFile(Struct, frozen=True):
    """Where the content that is called `source` lies in the container; `mode` as chmod has it."""

    source: str
    target: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


def lay_out(
    home: Path, files: Sequence[GivenFile], contents: Mapping[str, bytes], id_map: IdMap | None = None
) -> Mapping[str, str]:
    """Write the files into memory below `home`: target -> path to bind there. Blocks. Raises: System."""
    take_back(home)
    place = home / "given"
    laid: dict[str, str] = {}
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = mount.MS_NODEV | mount.MS_NOSUID | mount.MS_NOEXEC
        mount.mount("tmpfs", str(place), "tmpfs", flags, "mode=0700")
        for number, file in enumerate(files):
            path = place / str(number)
            path.touch(mode=0o600)
            path.write_bytes(contents[file.source])
            uid, gid = (file.uid, file.gid) if id_map is None else id_map.outside(file.uid, file.gid)
            os.chown(path, uid, gid)
            os.chmod(path, file.mode)
            laid[file.target] = str(path)
        mount.mount("tmpfs", str(place), "tmpfs", flags | mount.MS_REMOUNT | mount.MS_RDONLY, "mode=0700")
    except OSError as error:
        raise System(f"error injecting secret: {error}") from error
    return laid


def take_back(home: Path) -> None:
    """Forget what was laid out below `home`; idempotent. Blocks."""
    while True:
        try:
            mount.umount(str(home / "given"), detach=True)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # no mount (any more), or nothing at all
                return
            raise
