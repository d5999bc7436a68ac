"""The driver syslog: RFC 3164, RFC 5424, or the short form that local daemons read.

Source: daemon/logger/syslog of moby, and the package srslog that it uses.
"""

import _socket
import os
import time
from _collections_abc import Sequence

from lighterman.lib.log_records import Entry
from lighterman.runtime.drivers.connection import Connection, Tls
from lighterman.runtime.drivers.driver import Driver, priority
from lighterman.runtime.fields import Fields

LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def stamp(time_ns: int) -> bytes:
    """`Jan _2 15:04:05` in local time."""
    when = time.localtime(time_ns // 10**9)
    clock = f"{when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d}"
    return f"{_MONTHS[when.tm_mon - 1]} {when.tm_mday:2d} {clock}".encode()


def stamp_rfc3339(time_ns: int, *, micro: bool) -> bytes:
    """Local time with its zone; with `micro` six decimals."""
    when = time.localtime(time_ns // 10**9)
    minutes = when.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "Z"
    fraction = f".{time_ns % 10**9 // 1000:06d}" if micro else ""
    return (time.strftime("%Y-%m-%dT%H:%M:%S", when) + fraction + zone).encode()


class Form:
    """The form of messages. `name` is what `syslog-format` says; `framed`: each behind its length."""

    def __init__(self, name: str, facility: int, hostname: str, tag: str, pid: int, *, framed: bool) -> None:
        self._name, self._facility, self._framed = name, facility << 3, framed
        tag_, host = tag.encode(), hostname.encode()
        self._local = b" %s[%d]: " % (tag_, pid)
        self._rfc3164 = b" %s %s[%d]: " % (host, tag_, pid)
        self._rfc5424 = b" %s %s %d %s - " % (host, tag_, pid, tag_)

    def message(self, entry: Entry) -> bytes:
        """One message, with the newline that ends it."""
        head = b"<%d>" % (self._facility | priority(entry))
        if self._name in ("rfc5424", "rfc5424micro"):
            when = stamp_rfc3339(entry.time_ns, micro=self._name == "rfc5424micro")
            text = b"%s1 %s%s%s\n" % (head, when, self._rfc5424, entry.line)
            return b"%d %s" % (len(text), text) if self._framed else text
        middle = self._rfc3164 if self._name == "rfc3164" else self._local
        return head + stamp(entry.time_ns) + middle + entry.line + b"\n"


class Syslog(Driver):
    """Settings: network ("" is the local daemon), address, facility, format, tag, and the files of TLS."""

    def __init__(self, settings: Fields) -> None:
        self._network = settings.text("log.network")
        tls = None
        if self._network == "tcp+tls":
            tls = Tls(
                settings.text("log.ca"),
                settings.text("log.cert"),
                settings.text("log.key"),
                verify=not settings.flag("log.skip_verify"),
            )
        self._connection = Connection(self._network, settings.text("log.address"), tls)
        form = settings.text("log.format")
        self._form = Form(
            form,
            settings.number("log.facility"),
            _socket.gethostname(),
            settings.text("log.tag"),
            os.getpid(),
            framed=self._network == "tcp+tls" and form.startswith("rfc5424"),
        )
        self._stream = self._network in ("tcp", "tcp+tls", "unix")

    def connect(self) -> None:
        if self._network:
            self._connection.open()
        else:
            self._connection = _local()
            self._stream = self._connection.network == "unix"

    def send(self, entries: Sequence[Entry]) -> None:
        if not self._connection.network:  # adopted: nobody has looked for it yet
            self.connect()
        messages = [self._form.message(entry) for entry in entries if entry.line]
        for message in [b"".join(messages)] if self._stream else messages:
            self._connection.send_twice(message)


def _local() -> Connection:
    """The machine's own daemon. Raises: OSError."""
    for network in ("unixgram", "unix"):
        for path in LOCAL:
            connection = Connection(network, path)
            try:
                connection.open()
            except OSError:
                continue
            return connection
    raise OSError("Unix syslog delivery error")
