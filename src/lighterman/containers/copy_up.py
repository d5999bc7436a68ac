"""A new volume begins with what the image has at its place: files, owners, modes, times and links."""

import os
import shutil
import stat
from pathlib import Path

from lighterman.containers.mounts import VolumeMount
from lighterman.containers.rootfs import open_directory
from lighterman.containers.state import Container, Containers
from lighterman.lib.effects import in_thread, to_end


async def copy_up(cs: Containers, container: Container) -> None:
    """Fill the container's empty volumes from its root file system.

    A volume that is mounted from elsewhere is left alone: what it holds is seen at the start only.
    Raises: InvalidParameter when the image has a file where a volume belongs.
    """
    empty = [
        mount
        for mount in container.mounts
        if isinstance(mount, VolumeMount)
        and mount.copy_up
        and not cs.volumes.find(mount.name).options
        and cs.volumes.find(mount.name).is_ours
        and await cs.volumes.is_empty(mount.name)
    ]
    if not empty:
        return
    root = await cs.snapshots.mount(container.id, id_map=cs.id_map(container))
    try:
        for mount in empty:
            await in_thread(copy_tree, root, mount.target, cs.volumes.path(mount.name))
    finally:
        await to_end(cs.snapshots.unmount(container.id))


def copy_tree(root: Path, path: str, target: Path) -> None:
    """Copy the directory `path` of the file system at `root` into the directory `target`. Blocks.

    The owner and mode of the directory itself are taken over too. No link is followed: not on the way out of
    `root`, not below the directory. Nothing happens when there is nothing at `path`.
    Raises: InvalidParameter when there is something else.
    """
    source = open_directory(root, path)
    if source is None:
        return
    into = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _copy_directory(source, into, {})
    finally:
        os.close(source)
        os.close(into)


def _copy_directory(source: int, into: int, linked: dict[tuple[int, int], str]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            _copy_entry(source, into, entry.name, linked)
    _copy_attributes(source, into)


def _copy_entry(source: int, into: int, name: str, linked: dict[tuple[int, int], str]) -> None:
    facts = os.stat(name, dir_fd=source, follow_symlinks=False)
    here = f"/proc/self/fd/{into}/{name}"
    key = (facts.st_dev, facts.st_ino)
    if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
        if key in linked:
            os.link(linked[key], here, follow_symlinks=False)
            return
        linked[key] = os.path.realpath(f"/proc/self/fd/{into}") + f"/{name}"
    if stat.S_ISDIR(facts.st_mode):
        os.mkdir(name, dir_fd=into)
        _descend(source, into, name, linked)
    elif stat.S_ISREG(facts.st_mode):
        _copy_file(source, into, name)
    elif stat.S_ISLNK(facts.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=into)
        os.chown(name, facts.st_uid, facts.st_gid, dir_fd=into, follow_symlinks=False)
    else:
        os.mknod(name, facts.st_mode, facts.st_rdev, dir_fd=into)
        os.chown(name, facts.st_uid, facts.st_gid, dir_fd=into, follow_symlinks=False)


def _descend(source: int, into: int, name: str, linked: dict[tuple[int, int], str]) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    child, copy = os.open(name, flags, dir_fd=source), os.open(name, flags, dir_fd=into)
    try:
        _copy_directory(child, copy, linked)
    finally:
        os.close(child)
        os.close(copy)


def _copy_file(source: int, into: int, name: str) -> None:
    with (
        open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source), "rb") as original,
        open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=into), "wb") as copy,
    ):
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        _copy_attributes(original.fileno(), copy.fileno())


def _copy_attributes(source: int, copy: int) -> None:
    """Owner, mode (after the owner: chown takes the setuid bit away), extended attributes and times."""
    facts = os.fstat(source)
    os.fchown(copy, facts.st_uid, facts.st_gid)
    os.fchmod(copy, stat.S_IMODE(facts.st_mode))
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(copy, name, os.getxattr(source, name))
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))
