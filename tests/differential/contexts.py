"""Contexts of builds, as archives: what lies beside a Dockerfile, down to owners and links."""

import io
import tarfile
from collections.abc import Mapping

from msgspec import Struct, field

MTIME = 1_600_000_000


class File(Struct, frozen=True):
    """A regular file."""

    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: Mapping[str, str] = field(default_factory=dict)


class Dir(Struct, frozen=True):
    """A directory."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Link(Struct, frozen=True):
    """A symbolic link."""

    target: str


class HardLink(Struct, frozen=True):
    """Another name of a file that came before."""

    target: str


class Fifo(Struct, frozen=True):
    """A named pipe."""


Member = str | bytes | File | Dir | Link | HardLink | Fifo


def context(members: Mapping[str, Member]) -> bytes:
    """An uncompressed tar of the members, all with one time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, member in members.items():
            info, data = _entry(name, member)
            info.mtime, info.size = MTIME, len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _entry(name: str, member: Member) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    match member:
        case str():
            return info, member.encode()
        case bytes():
            return info, member
        case File(data, mode, uid, gid, xattrs):
            info.mode, info.uid, info.gid = mode, uid, gid
            info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
            return info, data
        case Dir(mode, uid, gid):
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, uid, gid
        case Link(target):
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        case HardLink(target):
            info.type, info.linkname = tarfile.LNKTYPE, target
        case Fifo():
            info.type = tarfile.FIFOTYPE
    return info, b""
