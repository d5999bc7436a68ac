"""The driver journald: systemd's native protocol.

Source: "Native Journal Protocol" of systemd; daemon/logger/journald of moby for the fields.
"""

import _socket
import errno
import os
from _collections_abc import Mapping, Sequence

from lighterman.lib.json_log_encoder import stamp
from lighterman.lib.log_records import Entry
from lighterman.linux import sockets
from lighterman.runtime.drivers.driver import Driver, priority
from lighterman.runtime.fields import Fields

_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF


def field(name: str, value: bytes) -> bytes:
    """One field; values with newlines go behind their length."""
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def message(entry: Entry, common: bytes, ordinal: int) -> bytes:
    """The datagram of an entry; `common` are the fields that all of a container's have."""
    fields = {
        "MESSAGE": entry.line,
        "PRIORITY": b"%d" % priority(entry),
        "SYSLOG_TIMESTAMP": stamp(entry.time_ns),
        "CONTAINER_LOG_ORDINAL": b"%d" % ordinal,
    }
    if entry.partial is not None:
        fields["CONTAINER_PARTIAL_ID"] = entry.partial.id.encode()
        fields["CONTAINER_PARTIAL_ORDINAL"] = b"%d" % entry.partial.ordinal
        fields["CONTAINER_PARTIAL_LAST"] = b"true" if entry.partial.last else b"false"
        if not entry.partial.last:
            fields["CONTAINER_PARTIAL_MESSAGE"] = b"true"
    return b"".join(field(name, value) for name, value in fields.items()) + common


class Journald(Driver):
    """Settings: address, the journal's socket, and `fields.NAME`."""

    def __init__(self, settings: Fields, fields: Mapping[str, str]) -> None:
        self._path = settings.text("log.address")
        self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        epoch = os.urandom(32).hex()
        self._common = b"".join(field(name, value.encode()) for name, value in fields.items())
        self._common += field("CONTAINER_LOG_EPOCH", epoch.encode())
        self._ordinal = 0

    def connect(self) -> None:
        try:
            self._sock.connect(self._path)
        except OSError as error:
            raise OSError("journald is not enabled on this host") from error

    def send(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._ordinal += 1
            self._send(message(entry, self._common, self._ordinal))

    def _send(self, datagram: bytes) -> None:
        try:
            self._sock.sendto(datagram, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_as_file(datagram)

    def _send_as_file(self, content: bytes) -> None:
        """What is too large for a datagram goes as a sealed file in memory."""
        import fcntl

        file = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, content)
            fcntl.fcntl(file, _F_ADD_SEALS, _ALL_SEALS)
            self._sock.connect(self._path)
            sockets.send(self._sock, b"", [file])
        finally:
            os.close(file)
