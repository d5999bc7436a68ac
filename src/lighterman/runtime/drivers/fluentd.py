"""The driver fluentd: the forward protocol, in msgpack.

Source: "Forward Protocol Specification v1" of fluentd, message mode; the msgpack specification;
daemon/logger/fluentd of moby for the record.
"""

import os
import time
from _collections_abc import Mapping, Sequence

from lighterman.lib.log_records import STREAMS, Entry
from lighterman.runtime.drivers.connection import Connection, Tls
from lighterman.runtime.drivers.driver import Driver
from lighterman.runtime.fields import Fields

_LONGEST_WAIT_S = 60.0
_ACK_S = 60.0


def text(value: bytes) -> bytes:
    """A msgpack str, of whatever bytes."""
    size = len(value)
    if size < 32:
        return bytes((0xA0 | size,)) + value
    if size < 1 << 8:
        return b"\xd9%c%s" % (size, value)
    if size < 1 << 16:
        return b"\xda" + size.to_bytes(2, "big") + value
    return b"\xdb" + size.to_bytes(4, "big") + value


def table(values: Mapping[bytes, bytes]) -> bytes:
    """A msgpack map of texts."""
    size = len(values)
    head = bytes((0x80 | size,)) if size < 16 else b"\xde" + size.to_bytes(2, "big")
    return head + b"".join(text(name) + text(value) for name, value in values.items())


def instant(time_ns: int, *, exact: bool) -> bytes:
    """Whole seconds, or with `exact` the EventTime extension with its ns."""
    seconds, nanos = divmod(time_ns, 10**9)
    if exact:
        return b"\xd7\x00" + seconds.to_bytes(4, "big") + nanos.to_bytes(4, "big")
    return b"\xd3" + seconds.to_bytes(8, "big", signed=True)


def message(tag: bytes, entry: Entry, common: Mapping[bytes, bytes], *, exact: bool, chunk: bytes) -> bytes:
    """`[tag, time, record, option]`; `chunk` not b"": an answer is wanted that names it."""
    record = {
        b"container_id": common[b"container_id"],
        b"container_name": common[b"container_name"],
        b"source": STREAMS[entry.stream].encode(),
        b"log": entry.line,
        **common,
    }
    if entry.partial is not None:
        record[b"partial_message"] = b"true"
        record[b"partial_id"] = entry.partial.id.encode()
        record[b"partial_ordinal"] = b"%d" % entry.partial.ordinal
        record[b"partial_last"] = b"true" if entry.partial.last else b"false"
    option = {b"chunk": chunk} if chunk else {}
    return b"\x94" + text(tag) + instant(entry.time_ns, exact=exact) + table(record) + table(option)


def retry_wait_s(retry_wait_ms: int, tries: int) -> float:
    """How long to wait after so many failures: half as long again each time, a minute at most."""
    return min(retry_wait_ms / 1000 * 1.5 ** min(tries - 1, 60), _LONGEST_WAIT_S)


class Fluentd(Driver):
    """Settings: network, address, tag, async, exact, ack, retries, retry_wait_ms, and `fields.NAME`."""

    def __init__(self, settings: Fields, fields: Mapping[str, str]) -> None:
        network = settings.text("log.network")
        tls = Tls("", "", "", verify=True) if network == "tls" else None
        self._connection = Connection(network, settings.text("log.address"), tls)
        self._tag = settings.text("log.tag").encode()
        self._common = {name.encode(): value.encode() for name, value in fields.items()}
        self._async, self._exact = settings.flag("log.async"), settings.flag("log.exact")
        self._ack = settings.flag("log.ack")
        self._retries, self._retry_wait_ms = settings.number("log.retries"), settings.number("log.wait_ms")

    def connect(self) -> None:
        if not self._async:
            self._connection.open()

    def send(self, entries: Sequence[Entry]) -> None:
        if not self._ack:
            self._deliver(b"".join(self._message(entry, b"") for entry in entries), b"")
            return
        for entry in entries:
            chunk = os.urandom(16).hex().encode()
            self._deliver(self._message(entry, chunk), chunk)

    def _message(self, entry: Entry, chunk: bytes) -> bytes:
        return message(self._tag, entry, self._common, exact=self._exact, chunk=chunk)

    def _deliver(self, data: bytes, chunk: bytes) -> None:
        tries = 0
        while True:
            try:
                self._connection.send(data)
                if chunk:
                    self._await_ack(chunk)
                return
            except OSError:
                self._connection.close()
                tries += 1
                if tries > self._retries:
                    raise
            time.sleep(retry_wait_s(self._retry_wait_ms, tries))

    def _await_ack(self, chunk: bytes) -> None:
        """Read the answer. Raises: OSError: it is none, or another's."""
        wanted, answer = table({b"ack": chunk}), b""
        while len(answer) < len(wanted):
            piece = self._connection.receive(len(wanted) - len(answer), _ACK_S)
            if not piece:
                raise ConnectionResetError("fluentd closed the connection before it acknowledged")
            answer += piece
        if answer != wanted:
            raise OSError("fluentd acknowledged something else")
