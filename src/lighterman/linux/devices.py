"""Device nodes of the host: their numbers, kinds and modes. Source: inode(7), makedev(3)."""

import os
import stat
from collections.abc import Collection

from msgspec import Struct


class NotADevice(Exception):
    """The path exists and is no device node."""


class HostDevice(Struct, frozen=True):
    path: str
    type: str  # c or b
    major: int
    minor: int
    mode: int  # permission bits
    uid: int
    gid: int


def device_at(path: str) -> HostDevice:
    """The device node at `path`, which is not followed if it is a link. Raises OSError, NotADevice."""
    found = os.lstat(path)
    if stat.S_ISCHR(found.st_mode):
        kind = "c"
    elif stat.S_ISBLK(found.st_mode):
        kind = "b"
    else:
        raise NotADevice(path)
    return HostDevice(
        path=path,
        type=kind,
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
    )


def devices_below(directory: str, *, without: Collection[str] = ()) -> list[HostDevice]:
    """All device nodes in a directory and below it, by path, but for the directories in `without`.

    What vanishes meanwhile and what may not be read is left out: a directory of devices is never still.
    """
    devices = []
    for parent, names, files in os.walk(directory):
        names[:] = [name for name in names if os.path.join(parent, name) not in without]
        for name in files:
            try:
                devices.append(device_at(os.path.join(parent, name)))
            except (OSError, NotADevice):
                continue
    return sorted(devices, key=lambda device: device.path)
