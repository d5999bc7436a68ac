"""The helper process of a monitor whose container logs to a receiver, or without ever waiting for its log.

It is forked by the monitor, reads records (`lib.log_records`) from a socket and gives them to a driver, which
may block: then the socket fills, and the monitor holds or drops output, as the log's mode says. What it
tells the monitor, as lines: `ready` or `failed TEXT` once, `error TEXT` for what was lost. It ends at the
end of its input, and at the latest a while after its monitor.
"""

import _signal  # type: ignore[import-not-found]  # `signal` is made of it, and brings `enum`
import _socket
import os
import select
import time

from lighterman.lib.log_records import EntryReader, records, whole
from lighterman.linux import process
from lighterman.runtime.drivers.driver import Driver, reason
from lighterman.runtime.fields import Fields

LAST_S = 10
"""How long it may go on without its monitor."""
_TOLD_EVERY_S = 1.0
_READ_BYTES = 1 << 14


def run(request: Fields, sock: _socket.socket, *, connect: bool) -> None:
    """Ship until the end of the input. With `connect` the receiver must be there at once."""
    name = request.text("log.driver")
    process.rename_process(f"lm-log-{request.text('name')[:8]}")
    _signal.signal(_signal.SIGUSR1, lambda number, frame: _signal.alarm(LAST_S))
    process.signal_at_parents_end(_signal.SIGUSR1)
    process.ignore_children()
    try:
        driver = open_driver(name, request)
        if connect:
            driver.connect()
    except OSError as error:
        sock.sendall(f"failed {_line(error)}\n".encode())
        return
    sock.sendall(b"ready\n")
    Shipper(driver, sock).serve()


def open_driver(name: str, request: Fields) -> "Driver":
    """The driver of a request, with only its own modules loaded. Raises: OSError."""
    fields = request.below("log.fields.")
    match name:
        case "syslog":
            from lighterman.runtime.drivers.syslog import Syslog

            return Syslog(request)
        case "journald":
            from lighterman.runtime.drivers.journald import Journald

            return Journald(request, fields)
        case "gelf":
            from lighterman.runtime.drivers.gelf import Gelf

            return Gelf(request)
        case "fluentd":
            from lighterman.runtime.drivers.fluentd import Fluentd

            return Fluentd(request, fields)
        case "splunk":
            from lighterman.runtime.drivers.splunk import Splunk

            return Splunk(request, fields)
        case "plugin":
            from lighterman.runtime.drivers.plugin import Plugin

            return Plugin(request)
    from lighterman.runtime.drivers.file import File

    return File(request)


class Shipper:
    """Feeds a driver, and tells what it lost."""

    def __init__(self, driver: Driver, sock: _socket.socket) -> None:
        self._driver, self._sock = driver, sock
        self._lost, self._told_at = 0, 0.0
        self._entries = EntryReader(lambda: os.urandom(32).hex())

    def serve(self) -> None:
        rest = b""
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        idle_ms = None if self._driver.idle_s is None else self._driver.idle_s * 1000
        while True:
            if not poll.poll(idle_ms):
                self._flush()
                continue
            piece = self._sock.recv(_READ_BYTES)
            if not piece:
                break
            rest += piece
            done = whole(rest)
            self._ship(rest[:done])
            rest = rest[done:]
        self._flush()
        if self._lost:
            self._tell("the receiver was not reached")

    def _ship(self, block: bytes) -> None:
        entries = [entry for record in records(block) for entry in self._entries.feed(record)]
        if not entries:
            return
        try:
            self._driver.send(entries)
        except OSError as error:
            self._lose(len(entries), error)

    def _flush(self) -> None:
        try:
            self._driver.flush()
        except OSError as error:
            self._lose(1, error)

    def _lose(self, entries: int, error: OSError) -> None:
        self._lost += entries
        if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._tell(_line(error))

    def _tell(self, why: str) -> None:
        self._told_at = time.monotonic()
        text = f"error {self._lost} lines are lost: {why}\n"
        self._lost = 0
        try:
            self._sock.send(text.encode(), _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            return  # the monitor is gone or full: nobody hears it


def _line(error: OSError) -> str:
    return reason(error).replace("\n", " ")
