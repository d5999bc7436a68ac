"""The driver gelf: the Graylog Extended Log Format 1.1, over UDP in compressed chunks or over TCP.

Source: the GELF specification of Graylog; daemon/logger/gelf of moby for the fields.
"""

import _socket
import os
import time
from _collections_abc import Sequence

from lighterman.lib.json_log_encoder import escape
from lighterman.lib.log_records import Entry
from lighterman.runtime.drivers.connection import Connection
from lighterman.runtime.drivers.driver import Driver, priority, reason
from lighterman.runtime.fields import Fields

CHUNK = 1420
_CHUNK_DATA = CHUNK - 12
_MAX_CHUNKS = 128
_WINDOW_BITS = {"gzip": 31, "zlib": 15}


def message(entry: Entry, host: bytes, extra: bytes) -> bytes:
    """One message; `extra` is a JSON object of further fields, not empty."""
    millis = entry.time_ns // 10**6
    stamp = f"{millis // 1000}.{millis % 1000:03d}".rstrip("0").rstrip(".")
    return b'{"version":"1.1","host":"%s","short_message":"%s","timestamp":%s,"level":%d,%s' % (
        escape(host),
        escape(entry.line),
        stamp.encode(),
        priority(entry),
        extra[1:],
    )


def chunks(packed: bytes, id: bytes) -> list[bytes]:
    """The datagrams of a message; `id` names it, 8 bytes. Raises: OSError: it is too large."""
    if len(packed) <= CHUNK:
        return [packed]
    count = -(-len(packed) // _CHUNK_DATA)
    if count > _MAX_CHUNKS:
        raise OSError(f"msg too large, would need {count} chunks")
    pieces = (packed[at : at + _CHUNK_DATA] for at in range(0, len(packed), _CHUNK_DATA))
    return [b"\x1e\x0f%s%c%c%s" % (id, number, count, piece) for number, piece in enumerate(pieces)]


def packed(text: bytes, kind: str, level: int) -> bytes:
    """`kind`: gzip, zlib or none."""
    if kind == "none":
        return text
    import zlib

    packer = zlib.compressobj(level, zlib.DEFLATED, _WINDOW_BITS[kind])
    return packer.compress(text) + packer.flush()


class Gelf(Driver):
    """Settings: network, address, extra (JSON), compression, level, reconnects, delay_s."""

    def __init__(self, settings: Fields) -> None:
        self._connection = Connection(settings.text("log.network"), settings.text("log.address"))
        self._host = _socket.gethostname().encode()
        self._extra = settings.text("log.extra").encode()
        self._kind, self._level = settings.text("log.compression"), settings.number("log.level")
        self._reconnects = settings.number("log.reconnects")
        self._delay_s = settings.number("log.delay_s")

    def connect(self) -> None:
        try:
            self._connection.open()
        except OSError as error:
            address = self._connection.address
            raise OSError(f"gelf: cannot connect to GELF endpoint: {address} {reason(error)}") from error

    def send(self, entries: Sequence[Entry]) -> None:
        messages = [message(entry, self._host, self._extra) for entry in entries if entry.line]
        if self._connection.network == "tcp":
            self._send_stream(b"".join(text + b"\0" for text in messages))
            return
        for text in messages:
            for datagram in chunks(packed(text, self._kind, self._level), os.urandom(8)):
                self._connection.send_twice(datagram)

    def _send_stream(self, data: bytes) -> None:
        for left in range(self._reconnects, -1, -1):
            try:
                return self._connection.send(data)
            except OSError:
                if not left:
                    raise
                time.sleep(self._delay_s)
        return None
