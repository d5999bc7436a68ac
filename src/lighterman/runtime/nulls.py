"""A /dev/null for each process that is given no input, of its own.

An OCI runtime makes the standard streams that it gets its process's own. So the host's /dev/null would be
chowned for everybody, and an exec could take all modes from it. Each process has a node of its own, without a
name, on a file system that nobody else sees.
"""

import os
import stat

from lighterman.linux import mount

_MODE = 0o666
_NULL = os.makedev(1, 3)

_place: list[int] = []
"""An O_PATH fd of the file system; empty until `prepare`."""


def prepare() -> None:
    """Make the file system: once, in the zygote, whose children all have it. Raises: OSError."""
    context = mount.fsopen("tmpfs")
    try:
        mount.fsconfig_set(context, "size", "4k")
        mount.fsconfig_create(context)
        _place.append(mount.fsmount(context, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC))
    finally:
        os.close(context)


def open_null() -> int:
    """A new node, open for reading and writing, close-on-exec. Raises: OSError."""
    (place,), name = _place, str(os.getpid())
    os.mknod(name, stat.S_IFCHR | _MODE, _NULL, dir_fd=place)
    try:
        null = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.unlink(name, dir_fd=place)
    os.fchmod(null, _MODE)
    return null
