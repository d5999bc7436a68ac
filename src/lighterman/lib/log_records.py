"""The compact log: output as it was written, in records. The driver "local" keeps it, helpers are sent it.

A record is `LM\\x01`, one byte for the stream (1 stdout, 2 stderr), the length of the output (4 bytes), when
it was read (8 bytes, ns since the epoch), the output, and the length of it all (4 bytes, to walk back from
the end). Numbers are big endian. The output is whole lines, or a piece of a line that is overlong or never
ended: only then its last byte is no newline. Nothing is escaped, nothing done per line, odd bytes survive.
This module is loaded by monitors: it imports nothing of weight.
"""

from _collections_abc import Callable, Iterator

from lighterman.lib.json_log_encoder import MAX_LINE, cut_overlong

STREAMS = ("", "stdout", "stderr")
_MAGIC = b"LM\x01"
_HEAD = 16
_AROUND = 20
"""Bytes of a record beside its output."""


def record(stream: int, output: bytes, now_ns: int) -> bytes:
    """One record; `stream` is 1 or 2."""
    head = _MAGIC + bytes((stream,)) + len(output).to_bytes(4, "big") + now_ns.to_bytes(8, "big")
    return head + output + (len(output) + _AROUND).to_bytes(4, "big")


class RecordEncoder:
    """Makes records of one stream's output, each at most `MAX_LINE` bytes of it."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._rest = b""

    def feed(self, output: bytes, now_ns: int) -> bytes:
        """The records of the lines that are complete with `output`; the beginning of the next is kept."""
        output, at = self._rest + output, 0
        done: list[bytes] = []
        while True:
            end = output.rfind(b"\n", at, at + MAX_LINE) + 1
            if not end:
                if len(output) - at <= MAX_LINE:
                    break
                end = at + cut_overlong(output[at : at + MAX_LINE + 1])
            done.append(record(self._stream, output[at:end], now_ns))
            at = end
        self._rest = output[at:]
        return b"".join(done)

    def close(self, now_ns: int) -> bytes:
        """The line that never ended."""
        rest, self._rest = self._rest, b""
        return record(self._stream, rest, now_ns) if rest else b""


class Record:
    """One record, read."""

    __slots__ = ("output", "stream", "time_ns")

    def __init__(self, stream: int, time_ns: int, output: bytes) -> None:
        self.stream, self.time_ns, self.output = stream, time_ns, output


def end_of(block: bytes, at: int) -> int:
    """Where the record that begins at `at` ends; 0: not in this block, or there is none."""
    end = at + _AROUND + int.from_bytes(block[at + 4 : at + 8], "big")
    if not block.startswith(_MAGIC, at) or end > len(block):
        return 0
    return end if int.from_bytes(block[end - 4 : end], "big") == end - at else 0


def whole(block: bytes) -> int:
    """How many bytes of `block`, which begins with a record, are whole records."""
    at = 0
    while end := end_of(block, at):
        at = end
    return at


def records(block: bytes) -> Iterator[Record]:
    """The records of a block of whole ones."""
    at = 0
    while end := end_of(block, at):
        time_ns = int.from_bytes(block[at + 8 : at + _HEAD], "big")
        yield Record(block[at + 3], time_ns, block[at + _HEAD : end - 4])
        at = end


class Entry:
    """One line, without its newline, or a piece of one."""

    __slots__ = ("line", "partial", "stream", "time_ns")

    def __init__(self, stream: int, time_ns: int, line: bytes, partial: "Partial | None") -> None:
        self.stream, self.time_ns, self.line, self.partial = stream, time_ns, line, partial


class Partial:
    """Which piece of which overlong line an entry is. `ordinal` counts from 1."""

    __slots__ = ("id", "last", "ordinal")

    def __init__(self, id: str, ordinal: int, last: bool) -> None:
        self.id, self.ordinal, self.last = id, ordinal, last


class EntryReader:
    """Takes records apart into lines, and knows which of them are pieces of one line."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        """`new_id` gives the name of an overlong line."""
        self._new_id = new_id
        self._open: dict[int, tuple[str, int, int]] = {}

    def feed(self, record: Record) -> list[Entry]:
        """The entries of the next record."""
        *lines, rest = record.output.split(b"\n")
        entries = [Entry(record.stream, record.time_ns, line, None) for line in lines]
        if record.stream in self._open and entries:
            id, ordinal, time_ns = self._open.pop(record.stream)
            entries[0].partial, entries[0].time_ns = Partial(id, ordinal, True), time_ns
        if rest:
            entries.append(self._piece(record, rest))
        return entries

    def _piece(self, record: Record, piece: bytes) -> Entry:
        if record.stream not in self._open:
            self._open[record.stream] = (self._new_id(), 1, record.time_ns)
        id, ordinal, time_ns = self._open[record.stream]
        self._open[record.stream] = (id, ordinal + 1, time_ns)
        return Entry(record.stream, time_ns, piece, Partial(id, ordinal, False))
