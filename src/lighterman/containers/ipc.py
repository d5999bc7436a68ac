"""The ipc namespace, and the memory at /dev/shm that goes with it: a container's own, another's, the host's.

Another container's /dev/shm is a mount of that one's namespace. For the moment of a start a copy of it stands
in the joining container's directory, where the OCI runtime finds it; the container has its own copy then.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from lighterman.containers.errors import NotRunning
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict, System
from lighterman.linux.mount import move_mount, umount
from lighterman.linux.mount_namespace import clone_from

HOST_IPC = ("/dev/shm", "/dev/mqueue")


def ipc_donor(mode: str, peer: Callable[[str], Container]) -> Container | None:
    """The running container whose ipc namespace a mode names, if it names one.

    Raises: NotFound, Conflict in Docker's words.
    """
    if not mode.startswith("container:"):
        return None
    donor = peer(mode.removeprefix("container:"))
    if not donor.runs:
        raise Conflict(f"can't join IPC of container {donor.id}: {NotRunning(donor.id)}")
    if donor.host_config.ipc_mode not in ("shareable", "host"):
        raise Conflict(
            f"can't join IPC of container {donor.id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    return donor


def host_ipc() -> tuple[str, ...]:
    """What of the host's the container is to see; not every host has message queues mounted."""
    return tuple(path for path in HOST_IPC if os.path.isdir(path))


def borrow_shm(home: Path, donor: Container) -> str:
    """Put a copy of the donor's /dev/shm into `home`; its path. Blocks. Raises: System."""
    target = home / "shm"
    give_back_shm(home)
    try:
        fd = clone_from(donor.pid, "/dev/shm")
        try:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            move_mount(fd, str(target))
        finally:
            os.close(fd)
    except OSError as error:
        raise System(f"can't join IPC of container {donor.id}: {error}") from error
    return str(target)


def give_back_shm(home: Path) -> None:
    """Take that copy away, and those of starts that were cut off; before `home` is removed. Blocks."""
    while True:
        try:
            umount(str(home / "shm"), detach=True)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # no mount (any more), or nothing at all
                return
            raise
