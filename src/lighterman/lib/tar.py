"""Tar archives as streams: reading and writing headers, nothing of file systems.

Three words. An *entry* is one header with everything that PAX and GNU records said about it; its *data* are
the bytes that follow; a *record* is such an extra header. `TarReader` takes chunks of any size and keeps no
more than one. What a name may do on a disk is not decided here: names are bytes as the archive has them,
possibly absolute, with `..` or worse.

Sources: POSIX.1 pax interchange format; GNU tar manual, "Basic Tar Format"; tar(5) of libarchive.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct, field

BLOCK = 512
RECORD_MAX = 1 << 20
"""Bytes of all PAX and GNU records of one entry: names and extended attributes need a fraction of it."""
_ID_MAX = (1 << 32) - 1  # the last one means "no change" to chown

FILE = b"0"
HARD_LINK = b"1"
SYMBOLIC_LINK = b"2"
CHARACTER_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_REGULAR = (FILE, b"\0", b"7")
_KNOWN = (FILE, HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO)
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_XATTR = b"SCHILY.xattr."
_SPARSE = b"GNU.sparse."


class TarError(ValueError):
    """The bytes are no tar archive, or one that nobody should believe."""


class Entry(Struct):
    """One member. `kind` is one of the constants of this module."""

    name: bytes
    kind: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    """Target of a link, as the archive has it."""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    type_bits: int = 0
    """Of the mode, beyond 07777: archives of Go programs say the kind there once more. They mean nothing."""


class TarReader:
    """The entries of a stream of chunks, one after the other.

    Every method raises TarError. After the last entry the rest of the stream is read too, so that whoever
    hashes the chunks has seen all of them.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self._data_left = 0
        self._padding = 0
        self._record_left = 0
        self._global: dict[bytes, bytes] = {}

    def next(self) -> Entry | None:
        """The next entry, None after the last. What was not read of the one before is skipped."""
        pax: dict[bytes, bytes] = {}
        self._record_left = RECORD_MAX
        while True:
            self._skip()
            header = self._take(BLOCK, at_end=True)
            if header is None or not header.strip(b"\0"):
                self._end()
                return None
            entry = _parse(header)
            if entry.kind == _PAX:
                pax.update(_pax_records(self._record(entry)))
            elif entry.kind == _PAX_GLOBAL:
                self._global.update(_pax_records(self._record(entry)))
                if sum(map(len, self._global.values())) > RECORD_MAX:
                    raise TarError("the global records are too long")
            elif entry.kind == _GNU_NAME:
                pax[b"path"] = self._record(entry).rstrip(b"\0")
            elif entry.kind == _GNU_LINK:
                pax[b"linkpath"] = self._record(entry).rstrip(b"\0")
            else:
                return self._begin(entry, {**self._global, **pax})

    def data(self) -> Iterator[memoryview]:
        """The data of the current entry, in pieces; each is good until the next is asked for."""
        while self._data_left:
            piece = self._piece(self._data_left)
            self._data_left -= len(piece)
            yield piece

    def _begin(self, entry: Entry, pax: Mapping[bytes, bytes]) -> Entry:
        if pax:
            _apply(entry, pax)
        if entry.kind in _REGULAR:
            # the oldest archives know a directory by its name only
            entry.kind = DIRECTORY if entry.name.endswith(b"/") else FILE
        if entry.kind == _GNU_SPARSE:
            raise _no_sparse(entry)
        if entry.kind not in _KNOWN:
            raise TarError(f"unhandled tar header type {entry.kind!r} of {entry.name!r}")
        if not (
            0 <= entry.uid < _ID_MAX
            and 0 <= entry.gid < _ID_MAX
            and abs(entry.mtime_ns) < 1 << 63
            and 0 <= entry.major < 1 << 12
            and 0 <= entry.minor < 1 << 20
        ):
            raise TarError("invalid tar header: a number is out of range")
        if entry.kind != FILE:
            entry.size = 0  # a hard link repeats the size of its target and has no data
        self._data_left, self._padding = entry.size, -entry.size % BLOCK
        return entry

    def _record(self, entry: Entry) -> bytes:
        self._record_left -= entry.size
        if self._record_left < 0:
            raise TarError(f"the records before an entry are longer than {RECORD_MAX} bytes")
        data = self._take(entry.size)
        assert data is not None
        self._padding = -entry.size % BLOCK
        return data

    def _skip(self) -> None:
        for _ in self.data():
            pass
        # `docker build -f -` sends an archive that ends with the last byte of its last file, and Go reads it
        self._take(self._padding, at_end=True)
        self._padding = 0

    def _take(self, size: int, *, at_end: bool = False) -> bytes | None:
        """Exactly `size` bytes; None when the stream is over before the first and may be."""
        end = self._at + size
        if end <= len(self._chunk):
            taken = self._chunk[self._at : end]
            self._at = end
            return taken
        pieces: list[bytes] = []
        left = size
        while left:
            try:
                pieces.append(bytes(self._piece(left)))
            except _Over:
                if at_end and not pieces:
                    return None
                raise
            left -= len(pieces[-1])
        return b"".join(pieces)

    def _piece(self, limit: int) -> memoryview:
        while self._at >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                raise _Over
            self._chunk, self._at = chunk, 0
        piece = memoryview(self._chunk)[self._at : self._at + limit]
        self._at += len(piece)
        return piece

    def _end(self) -> None:
        """Read the rest. The end is two blocks of zeros, one, or none; something else is damage, as in Go."""
        if (self._take(BLOCK, at_end=True) or b"").strip(b"\0"):
            raise TarError("invalid tar header")
        for _ in self._chunks:
            pass
        self._chunk, self._at = b"", 0


def _no_sparse(entry: Entry) -> TarError:
    return TarError(f"sparse files are not supported: {entry.name!r}")


class _Over(TarError):
    def __init__(self) -> None:
        super().__init__("unexpected EOF")


def _parse(header: bytes) -> Entry:
    stored = _number(header[148:156])
    # signed sums are those of old Sun tars; nobody makes them any more
    if stored != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise TarError("invalid tar header")
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    kind = header[156:157]
    device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    size = _number(header[124:136])
    if size < 0:
        raise TarError("invalid tar header")
    mode = _number(header[100:108])
    return Entry(
        name,
        kind,
        mode & 0o7777,
        _number(header[108:116]),
        _number(header[116:124]),
        size,
        _number(header[136:148]) * 10**9,
        header[157:257].split(b"\0", 1)[0],
        _number(header[329:337]) if device else 0,
        _number(header[337:345]) if device else 0,
        type_bits=mode & ~0o7777,
    )


def _number(raw: bytes) -> int:
    """An octal number, or GNU's base 256 when the first bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ((1 << (len(raw) * 8 - 1)) - 1)
        return value - (1 << (len(raw) * 8 - 1)) if raw[0] & 0x40 else value
    text = raw.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    if not text.isdigit():  # int() takes "0o7", "1_0" and "+1" too
        raise TarError("invalid tar header")
    try:
        return int(text, 8)
    except ValueError as error:
        raise TarError("invalid tar header") from error


def _pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of `LENGTH KEY=VALUE\\n` records; the length counts itself."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space]
        end = at + int(digits) if space > 0 and digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not (space < end <= len(data)) or data[end - 1 : end] != b"\n" or not equals:
            raise TarError("invalid tar header: malformed PAX record")
        yield key, value
        at = end


def _apply(entry: Entry, pax: Mapping[bytes, bytes]) -> None:
    xattrs: dict[bytes, bytes] = {}
    for key, value in pax.items():
        if key.startswith(_XATTR):
            xattrs[key.removeprefix(_XATTR)] = value
        elif key.startswith(_SPARSE):
            raise _no_sparse(entry)
        elif not value:
            continue  # an empty value takes back a global record
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key in (b"size", b"uid", b"gid"):
            if not value.isdigit() or len(value) > 20:
                raise TarError("invalid tar header: malformed PAX record")
            setattr(entry, key.decode(), int(value))
        elif key == b"mtime":
            entry.mtime_ns = _pax_time_ns(value)
    entry.xattrs = xattrs


def _pax_time_ns(value: bytes) -> int:
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 12 or (fraction and not fraction.isdigit()):
        raise TarError("invalid tar header: malformed PAX record")
    instant = int(whole) * 10**9 + int((fraction or b"0")[:9].ljust(9, b"0"))
    return -instant if value.startswith(b"-") else instant


def header(entry: Entry) -> bytes:
    """The blocks that come before the data of `entry`, with a PAX record where ustar has no room.

    Directories are written with a slash at the end. Names may be any bytes.
    """
    pax = {_XATTR + name: value for name, value in entry.xattrs.items()}
    if len(entry.name) > 100:
        pax[b"path"] = entry.name
    if len(entry.link) > 100:
        pax[b"linkpath"] = entry.link
    for key, number, digits in (("size", entry.size, 11), ("uid", entry.uid, 7), ("gid", entry.gid, 7)):
        if number >= 8**digits:
            pax[key.encode()] = str(number).encode()
    if entry.mtime_ns % 10**9 or entry.mtime_ns < 0:
        seconds, nanos = divmod(abs(entry.mtime_ns), 10**9)
        sign = "-" if entry.mtime_ns < 0 else ""
        pax[b"mtime"] = f"{sign}{seconds}.{nanos:09d}".encode()
    block = _block(entry)
    if not pax:
        return block
    records = b"".join(_pax_record(key, value) for key, value in sorted(pax.items()))
    extra = Entry(b"PaxHeaders.0/" + entry.name[-80:], _PAX, size=len(records))
    return _block(extra) + records + bytes(-len(records) % BLOCK) + block


END = bytes(2 * BLOCK)
"""What closes an archive."""


def _block(entry: Entry) -> bytes:
    fields = (
        entry.name[:100].ljust(100, b"\0"),
        b"%07o\0" % entry.mode,
        b"%07o\0" % (entry.uid if entry.uid < 8**7 else 0),
        b"%07o\0" % (entry.gid if entry.gid < 8**7 else 0),
        b"%011o\0" % (entry.size if entry.size < 8**11 else 0),
        b"%011o\0" % max(0, entry.mtime_ns // 10**9),
        b" " * 8,
        entry.kind,
        entry.link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0" % entry.major,
        b"%07o\0" % entry.minor,
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _pax_record(key: bytes, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key, value)
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body
