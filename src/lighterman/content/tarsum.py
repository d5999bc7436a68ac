"""The digest of a file that a build goes by: who it is, and what is in it; not when it was changed.

Source: TarSum version 1 of moby 20.10 (pkg/tarsum), so that the hashes in an image's history are those of
dockerd for the archives that Docker's command line sends. Deliberately different: a hard link counts with
what it leads to, and a link in a directory with its own text, so that neither hides a change.
"""

import hashlib
import os
import stat

from lighterman.lib import tar

_TYPE_BITS = {
    tar.FILE: stat.S_IFREG,
    tar.HARD_LINK: stat.S_IFREG,
    tar.DIRECTORY: stat.S_IFDIR,
    tar.SYMBOLIC_LINK: stat.S_IFLNK,
    tar.CHARACTER_DEVICE: stat.S_IFCHR,
    tar.BLOCK_DEVICE: stat.S_IFBLK,
    tar.FIFO: stat.S_IFIFO,
}
_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMBOLIC_LINK,
    stat.S_IFCHR: tar.CHARACTER_DEVICE,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
_CAPABILITY = "security.capability"


def begin(entry: tar.Entry) -> "hashlib._Hash":
    """The digest of an entry's header; its data are still to be added."""
    mode = entry.mode & 0o7777 | _TYPE_BITS[entry.kind]
    head = b"name%bmode%duid%dgid%dsize%dtypeflag%blinkname%bunamegnamedevmajor%ddevminor%d" % (
        entry.name,
        mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.kind,
        entry.link,
        entry.major,
        entry.minor,
    )
    if entry.xattrs:
        head += b"".join(name + entry.xattrs[name] for name in sorted(entry.xattrs))
    return hashlib.sha256(head)


def entry_of(fd: int, name: bytes, link: bytes = b"") -> tar.Entry | None:
    """The header of what is open as `fd` (O_PATH will do); None for what archives have no place for."""
    facts = os.fstat(fd)
    kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
    if kind is None:
        return None
    if kind == tar.DIRECTORY:
        name += b"/"
    size = facts.st_size if kind == tar.FILE else 0
    return tar.Entry(
        name, kind, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, size, link=link, xattrs=_caps(fd)
    )


def _caps(fd: int) -> dict[bytes, bytes]:
    try:
        return {_CAPABILITY.encode(): os.getxattr(f"/proc/self/fd/{fd}", _CAPABILITY)}
    except OSError:
        return {}
