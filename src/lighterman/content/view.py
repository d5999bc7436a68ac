"""The root file system that a job looks at: one open directory, with other trees mounted into it.

For a container that runs, the directory is the root of its process and has everything in its place. For one
that does not, its volumes and binds are put where it would have them, in a mount namespace that only this
worker process has and that goes with it: nothing is mounted on the host, and nothing can be left behind.
"""

import os
import stat
from collections.abc import Sequence

from msgspec import Struct

from lighterman.content.rooted import evaluated, open_in_root
from lighterman.linux import mount, userns

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Place(Struct, frozen=True):
    """Where one of the job's open files is to be seen."""

    target: bytes
    """Absolute path in the root."""
    read_only: bool = False
    recursive: bool = False
    """With what is mounted below it."""


class View(Struct, frozen=True):
    """The first open file of the job is the root; the next ones belong to `places`, in their order."""

    places: tuple[Place, ...] = ()
    read_only: bool = False
    """Nothing of the root itself may be changed. It must be a mount then, as with places."""
    mapped_root: tuple[int, int] | None = None
    """Of a container with a user namespace, the last of the open files: uid and gid of its root outside."""

    @property
    def fds(self) -> int:
        """How many of the job's open files it takes."""
        return 1 + len(self.places) + (self.mapped_root is not None)


def enter(view: View, fds: Sequence[int]) -> int:
    """An O_PATH fd of the whole root. The process changes its mount namespace and its directory for it.

    With a user namespace it is the process of its root from then on: it sees the owners that the container
    sees, and can do what the container's root can. Raises: OSError.
    """
    if view.mapped_root is None:
        return _assembled(view, fds)
    with userns.acting_as(*view.mapped_root):  # places that are missing are made in the container's layer
        root = _assembled(view, fds)
    userns.enter(fds[view.fds - 1])
    return root


def _assembled(view: View, fds: Sequence[int]) -> int:
    root = fds[0]
    if not view.places and not view.read_only:
        return root
    # copies are made before: a namespace clones no mounts of another one
    trees = [
        mount.open_tree(f"/proc/self/fd/{fd}", recursive=place.recursive)
        for place, fd in zip(view.places, fds[1:], strict=False)
    ]
    os.fchdir(root)
    mount.unshare_mounts()
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.mount_setattr(here, propagation=mount.MS_PRIVATE)
    for place, tree in zip(view.places, trees, strict=True):
        _put(here, place, tree)
    if view.read_only:
        mount.mount_setattr(here, set_=mount.MOUNT_ATTR_RDONLY)
    return here


def _put(root: int, place: Place, tree: int) -> None:
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    if place.read_only:
        mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY)
    # where a link leads that leads nowhere yet, the runtime would make the place too
    target = _mount_point(root, evaluated(root, place.target), is_directory=is_directory)
    mount.move_mount(tree, target)
    os.close(target)
    os.close(tree)


def _mount_point(root: int, path: bytes, *, is_directory: bool) -> int:
    """An O_PATH fd of the place to mount on, made if it is not there, as a start of the container does."""
    try:
        return open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        pass
    *above, leaf = (part for part in path.split(b"/") if part)
    parent = _mount_point(root, b"/" + b"/".join(above), is_directory=True)
    try:
        if is_directory:
            os.mkdir(leaf, 0o755, dir_fd=parent)
        else:
            os.close(os.open(leaf, _NEW_FILE, 0o644, dir_fd=parent))
    finally:
        os.close(parent)
    return open_in_root(root, path, os.O_PATH)
