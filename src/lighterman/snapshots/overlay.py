"""Overlay mounts of directories: blocking, a fraction of a millisecond each but for `unmount_slowly`."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lighterman.linux import mount, userns
from lighterman.linux.mountinfo import read_mountinfo

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened(directories: Sequence[Path]) -> Iterator[list[int]]:
    """O_PATH fds of the directories, closed at the end."""
    fds: list[int] = []
    try:
        for directory in directories:
            fds.append(os.open(directory, _DIRECTORY))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def takes_fds(scratch: Path) -> bool:
    """Whether this kernel's overlay takes its layers as open files (6.13); `scratch` is empty."""
    # two of them: without an upper one alone is no overlay, and one must not be inside of the other
    places = [scratch / "a", scratch / "b"]
    for place in places:
        place.mkdir()
    with opened(places) as lowers:
        try:
            os.close(mount.overlay(lowers, None, None))
        except OSError:
            return False
    return True


def mount_overlay(
    lowers: Sequence[Path], upper: Path, work: Path, target: Path, *, volatile: bool, by_fds: bool
) -> None:
    """Mount at `target`; `lowers` are topmost first. `volatile` never writes out, not even when asked to.

    Raises: OSError.
    """
    options = ["volatile"] if volatile else []
    with opened(lowers) as fds:
        if by_fds:
            tree = mount.overlay(fds, str(upper), str(work), options)
            try:
                mount.move_mount(tree, str(target))
            finally:
                os.close(tree)
        else:
            # names of open files need no escapes and fit 200 times into the page that mount(2) takes
            below = ":".join(f"/proc/self/fd/{fd}" for fd in fds)
            text = ",".join([f"lowerdir={below},upperdir={upper},workdir={work}", *options])
            mount.mount("overlay", str(target), "overlay", 0, text)


def mount_mapped(lowers: Sequence[Path], directory: Path, id_map: userns.IdMap, *, volatile: bool) -> None:
    """Mount `directory`/diff over `lowers` at `directory`/merged, with owners shown by the map.

    On the disk everything has the owners that the namespace sees, so layers are shared with those who have no
    map, and what was written is a layer as it is. Whoever mounts it is root of the map: the work directory is
    made by him, for ever. Raises: OSError (EINVAL: Linux before 6.13, or a file system that cannot).
    """
    namespace = userns.of_map(id_map)
    with ExitStack() as stack:

        def mapped(path: Path) -> int:
            tree = mount.idmapped(str(path), namespace)
            stack.callback(os.close, tree)
            return tree

        def below(tree: int, name: str) -> int:
            fd = os.open(name, _DIRECTORY, dir_fd=tree)
            stack.callback(os.close, fd)
            return fd

        layers = [mapped(path) for path in lowers]
        own = mapped(directory)  # one mount: upper and work must be in the same
        upper, work = below(own, "diff"), below(own, "work")
        with userns.acting_as(*id_map.root):
            tree = mount.overlay(layers, upper, work, ["volatile"] if volatile else [])
        stack.callback(os.close, tree)
        mount.move_mount(tree, str(directory / "merged"))


def view(lowers: Sequence[Path], scratch: Path, *, by_fds: bool) -> int:
    """An O_PATH fd of a read-only overlay of two and more directories, which ends with it.

    `scratch` is an empty directory that is not needed afterwards. Raises: OSError.
    """
    with opened(lowers) as fds:
        if by_fds:
            return mount.overlay(fds, None, None)
        below = ":".join(f"/proc/self/fd/{fd}" for fd in fds)
        mount.mount("overlay", str(scratch), "overlay", mount.MS_RDONLY, f"lowerdir={below}")
        try:
            return os.open(scratch, _DIRECTORY)
        finally:
            mount.umount(str(scratch), detach=True)


def mount_view(lowers: Sequence[Path], target: Path, *, by_fds: bool) -> None:
    """Mount a read-only overlay of two and more directories at `target`. Raises: OSError."""
    with opened(lowers) as fds:
        if not by_fds:
            below = ":".join(f"/proc/self/fd/{fd}" for fd in fds)
            mount.mount("overlay", str(target), "overlay", mount.MS_RDONLY, f"lowerdir={below}")
            return
        tree = mount.overlay(fds, None, None)
        try:
            mount.move_mount(tree, str(target))
        finally:
            os.close(tree)


def detach(target: Path) -> int | None:
    """Take the mount at `target` out of sight at once; None: there was none.

    The fd that is returned still holds it. Closing it ends the file system, which writes out everything
    dirty in the file system below: 100 ms and more. So whoever closes it must not be waited for.
    """
    tree = None
    with suppress(FileNotFoundError):
        tree = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if tree is None:
        return None
    try:
        mount.umount(str(target), detach=True)
    except OSError as error:
        os.close(tree)
        if error.errno == errno.EINVAL:  # nothing is mounted there
            return None
        raise
    return tree


def detach_all(target: Path) -> list[int]:
    """Take away what is mounted at and below `target`; the fds that still hold it."""
    trees: list[int] = []
    for point in [*mount_points(target), target]:
        while (tree := detach(point)) is not None:
            trees.append(tree)
    return trees


def close_all(trees: Iterable[int]) -> None:
    """Let go of what `detach` gave. Blocks for as long as the dirty data takes."""
    for tree in trees:
        os.close(tree)


def forget_volatile(work: Path) -> None:
    """Let an upper be mounted again that was `volatile` and is now cleanly unmounted."""
    with suppress(FileNotFoundError):
        shutil.rmtree(work / "work" / "incompat")


def mount_points(below: Path) -> list[Path]:
    """What is mounted below a directory, the deepest first."""
    inside = f"{below}/"
    found = [Path(entry.point) for entry in read_mountinfo() if entry.point.startswith(inside)]
    return sorted(found, key=lambda point: len(point.parts), reverse=True)
