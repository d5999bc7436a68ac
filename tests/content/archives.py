"""Tar archives as tests write them: `archive(file("a", b"..."), link("b", "a"))`."""

from lighterman.lib import tar
from lighterman.lib.tar import Entry

Member = tuple[Entry, bytes]


def archive(*members: Member) -> bytes:
    """The bytes of an archive of these members."""
    made = b""
    for entry, data in members:
        entry.size = len(data)
        made += tar.header(entry) + data + bytes(-len(data) % tar.BLOCK)
    return made + tar.END


def file(
    name: str, data: bytes = b"", *, mode: int = 0o644, uid: int = 0, gid: int = 0, mtime_ns: int = 0
) -> Member:
    """A regular file."""
    return Entry(name.encode(), mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns), data


def directory(name: str, mode: int = 0o755, *, uid: int = 0, mtime_ns: int = 0) -> Member:
    """A directory."""
    return Entry(f"{name}/".encode(), tar.DIRECTORY, mode, uid, mtime_ns=mtime_ns), b""


def symlink(name: str, target: str) -> Member:
    """A symbolic link."""
    return Entry(name.encode(), tar.SYMBOLIC_LINK, 0o777, link=target.encode()), b""


def hardlink(name: str, target: str) -> Member:
    """A hard link."""
    return Entry(name.encode(), tar.HARD_LINK, link=target.encode()), b""


def device(name: str, major: int, minor: int) -> Member:
    """A character device."""
    return Entry(name.encode(), tar.CHARACTER_DEVICE, major=major, minor=minor), b""
