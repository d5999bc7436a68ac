"""The files of an image, out of the archive that an engine saves, without any container."""

import io
import json
import tarfile
from functools import cache
from typing import Any

from tests.differential.contexts import MTIME
from tests.support.images import busybox_layer

Tree = dict[str, tuple[Any, ...]]


def tree(archive: bytes) -> Tree:
    """Each path with what it is: kind, mode, owner, link, device, extended attributes, digest of its bytes.

    A time is part of it where it is the one that the context has.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as saved:
        index = saved.extractfile("manifest.json")
        assert index is not None
        merged: Tree = {}
        for name in json.load(index)[0]["Layers"]:
            layer = saved.extractfile(saved.getmember(name))
            assert layer is not None
            data = layer.read()
            if data == busybox_layer():  # below nearly all of them
                merged = dict(_busybox())
            else:
                _apply(merged, data)
    return merged


@cache
def _busybox() -> Tree:
    files: Tree = {}
    _apply(files, busybox_layer())
    return files


def _apply(merged: Tree, layer: bytes) -> None:
    """Put the files of a layer over those below it."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as members:
        _put(merged, members)


def _put(merged: Tree, members: tarfile.TarFile) -> None:
    fresh: Tree = {}
    for member in members:
        path = member.name.strip("/").removeprefix("./")
        folder, _, leaf = path.rpartition("/")
        if leaf == ".wh..wh..opq":
            _forget(merged, folder, itself=False)
        elif leaf.startswith(".wh."):
            _forget(merged, f"{folder}/{leaf[4:]}".strip("/"), itself=True)
        elif path not in ("", "."):
            if member.islnk():
                target = member.linkname.strip("/").removeprefix("./")
                fresh[path] = (*fresh.get(target, merged.get(target, ())), "linked")
                continue
            if not member.isdir():
                _forget(merged, path, itself=True)
            fresh[path] = _facts(member, members)
    merged |= fresh


def _facts(member: tarfile.TarInfo, members: tarfile.TarFile) -> tuple[Any, ...]:
    data = members.extractfile(member) if member.isreg() else None
    xattrs = sorted(item for item in member.pax_headers.items() if item[0].startswith("SCHILY.xattr."))
    return (
        member.type,
        oct(member.mode & 0o7777),
        member.uid,
        member.gid,
        member.linkname,
        (member.devmajor, member.devminor),
        xattrs,
        data.read() if data and member.size < 100_000 else member.size,
        int(member.mtime) == MTIME,
    )


def _forget(merged: Tree, path: str, *, itself: bool) -> None:
    for known in [known for known in merged if known.startswith(f"{path}/") or (itself and known == path)]:
        del merged[known]
