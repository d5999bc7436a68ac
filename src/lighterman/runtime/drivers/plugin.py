"""The driver of log plugins: entries as protobuf, each behind its length in four bytes, into a fifo.

Source: api/types/plugins/logdriver/entry.proto of moby; the encoding of protocol buffers.
"""

import os
from _collections_abc import Sequence

from lighterman.lib.log_records import STREAMS, Entry
from lighterman.runtime.drivers.driver import Driver
from lighterman.runtime.fields import Fields


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(number: int, value: bytes) -> bytes:
    """A field of bytes; an empty one is left out."""
    return varint(number << 3 | 2) + varint(len(value)) + value if value else b""


def whole(number: int, value: int) -> bytes:
    """A field with a number; 0 is left out."""
    return varint(number << 3) + varint(value) if value else b""


def message(entry: Entry) -> bytes:
    """An entry behind its length."""
    body = (
        text(1, STREAMS[entry.stream].encode())
        + whole(2, entry.time_ns)
        + text(3, entry.line)
        + whole(4, entry.partial is not None)
    )
    if (piece := entry.partial) is not None:
        body += text(5, whole(1, piece.last) + text(2, piece.id.encode()) + whole(3, piece.ordinal))
    return len(body).to_bytes(4, "big") + body


class Plugin(Driver):
    """The writing end of a fifo, open for reading too: a plugin that starts again breaks nothing."""

    def __init__(self, request: Fields) -> None:
        self._path, self._fd = request.text("log.path"), -1

    def connect(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def send(self, entries: Sequence[Entry]) -> None:
        if self._fd < 0:
            self.connect()
        left = memoryview(b"".join(map(message, entries)))
        while left:
            left = left[os.write(self._fd, left) :]
