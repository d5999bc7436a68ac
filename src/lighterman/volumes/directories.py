"""The directories of volumes and what is mounted on them. Every function here blocks: run it in a thread.

`ROOT/<name>/_data` is a volume's data; `ROOT/.removed-<name>` is one on its way out, so that a removal
that was cut short is finished at the next start; `ROOT/.unfinished-<name>` is one that is being filled, and
goes at the next start; `trash` has its own.
"""

import os
import shutil
import socket
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct

from lighterman.linux import mount as linux
from lighterman.linux.mountinfo import read_mountinfo
from lighterman.linux.sync import fsync_directory, syncfs
from lighterman.volumes.errors import MountFailed
from lighterman.volumes.volume import MountPlan

ROW = "row"
"""Beside the data of a volume on its way to or from the trash: what the books said of it."""
_REMOVED, _UNFINISHED = ".removed-", ".unfinished-"  # no volume's name begins with a dot


class Found(Struct, frozen=True):
    """Names of volumes whose removal was finished now, and of directories with data that have no row."""

    removed: list[str]
    adopted: list[str]


def make(root: Path, name: str, owner: tuple[int, int]) -> None:
    """The directory of a new volume; one that is there stays as it is."""
    data = root / name / "_data"
    data.parent.mkdir(mode=0o701, exist_ok=True)
    if not data.is_dir():
        data.mkdir(mode=0o755)
        os.chown(data, *owner)
        data.chmod(0o755)  # whatever the daemon's umask is: containers of any user live in it


def begin(root: Path, name: str) -> Path:
    """A fresh place to fill the data of a volume in, which nobody sees before `finish`."""
    place = root / f"{_UNFINISHED}{name}"
    delete_tree(place)
    place.mkdir(mode=0o701)
    return place


def finish(root: Path, name: str, row: bytes) -> None:
    """Let a volume that was begun appear, whole and durable, with its row beside it. Raises: OSError."""
    place = root / f"{_UNFINISHED}{name}"
    (place / ROW).write_bytes(row)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
    place.rename(root / name)
    fsync_directory(root)


def set_aside(root: Path, name: str) -> Path:
    """Take the directory out of sight, by one rename; idempotent. The path to `delete_tree`."""
    aside = root / f"{_REMOVED}{name}"
    if (root / name).exists():
        delete_tree(aside)
        (root / name).rename(aside)
    return aside


def delete_tree(path: Path) -> None:
    """Delete the tree, never following a link out of it; idempotent."""
    if path.exists():
        shutil.rmtree(path)


def tidy(root: Path, *, known: Collection[str], held: Collection[str]) -> Found:
    """Undo mounts nobody holds, finish removals, delete empty directories without a row."""
    for path in _mounted_below(root):
        if path.parent.name not in held:
            linux.umount(str(path), detach=True)
    removed, adopted = [], []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(_REMOVED):
            delete_tree(entry)
            removed.append(entry.name.removeprefix(_REMOVED))
        elif entry.name.startswith(_UNFINISHED):
            delete_tree(entry)
        elif not entry.name.startswith(".") and entry.name not in known and entry.is_dir():
            if is_empty(entry / "_data") and not (entry / ROW).exists():
                delete_tree(entry)
            else:
                adopted.append(entry.name)
    return Found([name for name in removed if not (root / name).exists()], adopted)


def mount(data: Path, plan: MountPlan | None) -> None:
    """Make `data` ready for use. Raises: MountFailed."""
    if not data.is_dir():
        raise MountFailed(data, f"stat {data}: no such file or directory")
    if plan is None or data in _mounted_below(data.parent):
        return
    try:
        linux.mount(plan.device, str(data), plan.kind, plan.flags, _resolved(plan))
        if plan.flags & linux.MS_BIND and plan.flags & linux.MS_RDONLY:  # a bind takes no flags at first
            linux.mount("none", str(data), "", plan.flags | linux.MS_REMOUNT)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        told = f", flags: {plan.flags:#x}" if plan.flags else ""
        raise MountFailed(
            data, f"failed to mount local volume: mount {plan.device}:{data}{told}: {reason}"
        ) from error


def unmount(data: Path) -> None:
    """Take away what is mounted on `data`; idempotent."""
    for path in _mounted_below(data.parent):
        linux.umount(str(path), detach=True)


def is_empty(data: Path) -> bool:
    """Whether nothing is in it; a directory that is not there has nothing."""
    try:
        with os.scandir(data) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def is_there(data: Path) -> bool:
    """Whether the directory is there; what is mounted on it, of a host that may be gone, is not asked."""
    try:
        return data.name in os.listdir(data.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _mounted_below(directory: Path) -> list[Path]:
    inside = [Path(mounted.point) for mounted in read_mountinfo()]
    return [path for path in reversed(inside) if path.is_relative_to(directory)]


def _resolved(plan: MountPlan) -> str:
    """The data with the server's name of a network file system as an address: the kernel knows no names."""
    words = plan.data.split(",")
    for at, word in enumerate(words):
        if plan.kind in ("nfs", "nfs4", "cifs") and word.startswith("addr="):
            words[at] = f"addr={socket.gethostbyname(word.removeprefix('addr='))}"
    return ",".join(words)
