"""A directory of the client's, as an archive: how `remote=client-session` gets its context.

The client tells what there is, path by path, each with a number; the engine asks for files by their numbers
and gets their bytes in any order. Here they come out in the client's order, as a tar: what unpacks contexts
safely does it for these as well. Files that are asked for ahead are small and few, so that little is kept in
memory.

Source: fsutil's wire protocol and buildkit's filesync, as dockerd 20.10.24 has them.
"""

import stat as st
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import islice

from msgspec import Struct, field

from lighterman.build.session import session_pb2 as pb
from lighterman.build.session.sessions import Session
from lighterman.errdefs import InvalidParameter, NotFound, System
from lighterman.lib import tar
from lighterman.lib.go_mode import st_mode

_DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
ENTRIES_MAX = 1_000_000
AHEAD_MAX_BYTES = 1 << 20
AHEAD_MAX_FILES = 128


_NAMES = ("", "context")
"""What clients call the context's directory: those of the classic builder, and those of BuildKit."""


async def context_archive(session: Session) -> AsyncGenerator[bytes, None]:
    """The context that the client lends, as a tar.

    Raises: InvalidParameter: it lends none, or a file changed; NotFound, System: with its words.
    """
    *others, last = _NAMES
    for name in others:
        async with aclosing(directory_archive(session, name)) as pieces:
            try:
                yield await anext(pieces)
            except NotFound:
                continue
            async for piece in pieces:
                yield piece
            return
    async with aclosing(directory_archive(session, last)) as pieces:
        async for piece in pieces:
            yield piece


async def directory_archive(
    session: Session, directory: str, excludes: Sequence[str] = ()
) -> AsyncGenerator[bytes, None]:
    """The directory that the client lends by this name, as a tar. Raises: as `context_archive`."""
    if not session.serves(_DIFF_COPY):
        raise InvalidParameter("no local sources enabled")
    metadata = [("dir-name", directory), *(("exclude-patterns", pattern) for pattern in excludes)]
    sync = FileSync()
    async with (
        session.channel.stream(_DIFF_COPY, pb.Packet, metadata) as stream,
        aclosing(stream.messages()) as packets,
    ):
        async for packet in packets:
            if packet.type == pb.Packet.FIN:
                break
            for piece in sync.feed(packet):
                yield piece
            for request in sync.requests():
                await stream.send(request)
            if sync.finished:
                await stream.send(pb.Packet(type=pb.Packet.FIN))
    if not sync.finished:
        raise System("the client's session ended before all files had come")
    yield tar.END


class _File(Struct):
    """A path in the order that the client told."""

    entry: tar.Entry
    id: int | None
    """Its number, if it has bytes of its own."""
    asked: bool = False
    begun: bool = False
    left: int = 0
    complete: bool = False
    pieces: list[bytes] = field(default_factory=list)
    """What came before it was its turn."""


class FileSync:
    """The conversation, packets in, pieces of a tar out; it knows no connection."""

    def __init__(self) -> None:
        self._waiting: deque[_File] = deque()
        self._by_id: dict[int, _File] = {}
        self._count = 0
        self._all_told = False

    @property
    def finished(self) -> bool:
        """Whether everything has come."""
        return self._all_told and not self._waiting

    def feed(self, packet: pb.Packet) -> Iterator[bytes]:
        """What can be written now. Raises: InvalidParameter, System."""
        match packet.type:
            case pb.Packet.STAT:
                self._told(packet)
            case pb.Packet.DATA:
                self._came(packet.id, packet.data)
            case pb.Packet.ERR:
                raise System(f"error from sender: {packet.data.decode(errors='replace')}")
        yield from self._ready()

    def requests(self) -> Iterator[pb.Packet]:
        """The files to ask for now: the one whose turn it is, and small ones behind it."""
        ahead_bytes = 0
        for file in islice(self._waiting, AHEAD_MAX_FILES):
            if file is not self._waiting[0]:
                ahead_bytes += file.entry.size
            if ahead_bytes > AHEAD_MAX_BYTES:
                return
            if file.id is not None and not file.asked:
                file.asked = True
                yield pb.Packet(type=pb.Packet.REQ, id=file.id)

    def _told(self, packet: pb.Packet) -> None:
        if not packet.HasField("stat"):
            self._all_told = True
            return
        number, self._count = self._count, self._count + 1
        if self._count > ENTRIES_MAX:
            raise InvalidParameter(f"the context has more than {ENTRIES_MAX} files")
        entry = _entry(packet.stat)
        if entry is None:
            return
        has_bytes = entry.kind == tar.FILE
        file = _File(entry, number if has_bytes else None, left=entry.size, complete=not has_bytes)
        self._waiting.append(file)
        if has_bytes:
            self._by_id[number] = file

    def _came(self, number: int, data: bytes) -> None:
        file = self._by_id.get(number)
        if file is None or not file.asked:
            raise InvalidParameter(f"invalid file request {number}")
        file.left -= len(data)
        if file.left < 0 or (not data and file.left):
            raise InvalidParameter(f"{file.entry.name.decode(errors='replace')} changed while it was sent")
        if data:
            file.pieces.append(data)
        else:
            file.complete = True
            del self._by_id[number]

    def _ready(self) -> Iterator[bytes]:
        while self._waiting:
            file = self._waiting[0]
            if not file.begun:
                file.begun = True
                yield tar.header(file.entry)
            yield from file.pieces
            file.pieces.clear()
            if not file.complete:
                return
            yield bytes(-file.entry.size % tar.BLOCK)
            self._waiting.popleft()


_TYPES = {
    st.S_IFREG: tar.FILE,
    st.S_IFDIR: tar.DIRECTORY,
    st.S_IFLNK: tar.SYMBOLIC_LINK,
    st.S_IFCHR: tar.CHARACTER_DEVICE,
    st.S_IFBLK: tar.BLOCK_DEVICE,
    st.S_IFIFO: tar.FIFO,
}


def _entry(stat: pb.Stat) -> tar.Entry | None:
    """What the archive says of a path; None of a socket, which no archive can hold."""
    mode = st_mode(stat.mode)
    kind = _TYPES.get(st.S_IFMT(mode))
    if kind is None:
        return None
    if kind == tar.FILE and stat.linkname:
        kind = tar.HARD_LINK
    name = stat.path.encode()
    return tar.Entry(
        name=name + b"/" if kind == tar.DIRECTORY and not name.endswith(b"/") else name,
        kind=kind,
        mode=st.S_IMODE(mode),
        uid=stat.uid,
        gid=stat.gid,
        size=max(0, stat.size) if kind == tar.FILE else 0,
        mtime_ns=stat.mod_time,
        link=stat.linkname.encode(),
        major=stat.devmajor,
        minor=stat.devminor,
        xattrs={name.encode(): value for name, value in stat.xattrs.items()},
    )
