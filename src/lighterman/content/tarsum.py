"""The digest of a file that a build goes by: who it is, and what is in it; not when it was changed.

Source: TarSum version 1 of moby 20.10 (pkg/tarsum), so that the hashes in an image's history are those of
dockerd. Deliberately different: a hard link counts with what it leads to, and a link in a directory with its
own text, so that neither hides a change.
"""

import hashlib
import os
import stat

from lighterman.lib import tar

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMBOLIC_LINK,
    stat.S_IFCHR: tar.CHARACTER_DEVICE,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
_CAPABILITY = "security.capability"


def begin(entry: tar.Entry, owner: str = "", group: str = "") -> "hashlib._Hash":
    """The digest of an entry's header; its data are still to be added. Names in archives do not count."""
    facts = (
        f"mode{entry.mode | entry.type_bits}uid{entry.uid}gid{entry.gid}size{entry.size}"
        f"typeflag{entry.kind.decode()}"
    )
    names = f"uname{owner}gname{group}devmajor{entry.major}devminor{entry.minor}"
    head = b"".join((b"name", entry.name, facts.encode(), b"linkname", entry.link, names.encode()))
    if entry.xattrs:
        head += b"".join(name + entry.xattrs[name] for name in sorted(entry.xattrs))
    return hashlib.sha256(head)


def begin_of(fd: int, name: bytes, link: bytes = b"") -> tuple["hashlib._Hash", int] | None:
    """The digest of the header of what is open as `fd` (O_PATH will do), and the size of its data.

    None for what archives have no place for. The host's name of root counts, as in dockerd; others differ
    from host to host, and a digest may not.
    """
    facts = os.fstat(fd)
    kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
    if kind is None:
        return None
    if kind == tar.DIRECTORY:
        name += b"/"
    size = facts.st_size if kind == tar.FILE else 0
    entry = tar.Entry(
        name,
        kind,
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
        size,
        link=link,
        xattrs=_capabilities(fd),
        type_bits=stat.S_IFMT(facts.st_mode),
    )
    owner, group = ("" if number else "root" for number in (facts.st_uid, facts.st_gid))
    return begin(entry, owner, group), size


def _capabilities(fd: int) -> dict[bytes, bytes]:
    try:
        return {_CAPABILITY.encode(): os.getxattr(f"/proc/self/fd/{fd}", _CAPABILITY)}
    except OSError:
        return {}
