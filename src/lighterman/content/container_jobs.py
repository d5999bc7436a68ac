"""The jobs that look into a container's root or change what is in it, as they run in a worker process."""

import os
import stat
from collections.abc import Sequence

import msgspec

from lighterman.content.compare import changes
from lighterman.content.jobs import (
    PRELUDE_LENGTH_BYTES,
    Failed,
    PackPath,
    PackTree,
    PathStat,
    Put,
    PutArchive,
    StatPath,
    Written,
)
from lighterman.content.pack import Gzipped, Identity, Plain, pack
from lighterman.content.place import place
from lighterman.content.rooted import evaluated, look_up, open_in_root
from lighterman.content.streams import FileSink, decompressed, peeked, read
from lighterman.content.view import enter
from lighterman.lib import tar
from lighterman.linux import userns

_encode = msgspec.msgpack.Encoder().encode


def prelude(found: PathStat) -> bytes:
    """What an archive begins with on its way to the daemon: the length of the PathStat, and it."""
    encoded = _encode(found)
    return len(encoded).to_bytes(PRELUDE_LENGTH_BYTES, "big") + encoded


def stat_path(job: StatPath, fds: Sequence[int]) -> PathStat | Failed:
    """Do it."""
    root = enter(job.view, fds)
    try:
        return _stat(root, job.path, look_up(root, job.path))
    except FileNotFoundError:
        return Failed("missing", "")
    except NotADirectoryError:
        return Failed("no_directory", "")


def _stat(root: int, path: bytes, fd: int) -> PathStat:
    facts = os.fstat(fd)
    link = evaluated(root, path) if stat.S_ISLNK(facts.st_mode) else b""
    return PathStat(facts.st_size, facts.st_mode, facts.st_mtime_ns, link)


def pack_path(job: PackPath, fds: Sequence[int]) -> Written | Failed:
    """Do it."""
    out = fds[job.view.fds]
    root = enter(job.view, fds)
    try:
        top = look_up(root, job.path)
    except FileNotFoundError:
        return Failed("missing", "")
    except NotADirectoryError:
        return Failed("no_directory", "")
    FileSink(out).update(prelude(_stat(root, job.path, top)))
    output = Gzipped(out) if job.gzip else Plain(out)
    pack(top, job.name, output, closed=_identities(root, job.closed))
    return Written()


def _identities(root: int, paths: Sequence[bytes]) -> set[Identity]:
    found: set[Identity] = set()
    for path in paths:
        try:
            fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:  # it is not there
            continue
        facts = os.fstat(fd)
        found.add((facts.st_dev, facts.st_ino))
        os.close(fd)
    return found


def pack_tree(job: PackTree, fds: Sequence[int]) -> Written:
    """Do it."""
    if job.mapped:
        userns.enter(fds[1])
    pack(fds[0], b"", Plain(fds[-1]))
    return Written()


def list_changes(fds: Sequence[int]) -> Written:
    """Do it."""
    upper, lower, out = fds
    below = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=lower)
    FileSink(out).update(_encode(list(changes(upper, below))))
    return Written()


def put_archive(job: PutArchive, fds: Sequence[int]) -> Put | Failed:
    """Do it. The archive is decompressed here, by libraries of this process, whatever the root holds."""
    archive = fds[job.view.fds]
    root = enter(job.view, fds)
    try:
        top = open_in_root(root, job.path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return Failed("missing", "")
    except NotADirectoryError:
        return Failed("no_directory", "")
    if os.fstatvfs(top).f_flag & os.ST_RDONLY:
        in_root = os.fstat(top).st_dev == os.fstat(root).st_dev
        return Failed("read_only_root" if in_root else "read_only", "")
    kind, chunks = peeked(read(archive))
    reader = tar.TarReader(decompressed(kind, chunks))
    where = evaluated(root, job.path)
    place(root, top, where, reader, keep_kinds=job.keep_kinds, owner=job.owner)
    return Put()
