"""One run as the daemon sees it: the connection to its monitor, and what is kept for the monitor's death.

The daemon holds copies of the process's pidfd and of the fds that its output is read from. While they are
open no output can be lost: a monitor that is killed is followed by another one, that goes on reading. (Its
stdin is not held: its end would never come.)
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lighterman.linux import process, sockets
from lighterman.runtime import fields
from lighterman.runtime.exec_root import exit_of
from lighterman.runtime.fields import Fields
from lighterman.runtime.outcomes import Exit, ProcessGone, Running
from lighterman.runtime.streams import AttachTo, Client

T = TypeVar("T")
_UCRED = struct.Struct("=iII")
"""Of who listens at the other end: pid, uid, gid. Source: unix(7), SO_PEERCRED."""
log = logging.getLogger(__name__)


class MonitorGone(Exception):
    """The connection to the monitor ended before it answered."""

    def __init__(self) -> None:
        super().__init__("its monitor died")


class MonitorFailed(Exception):
    """The monitor could not start the process. Its text is "" when the OCI runtime's log tells more."""


class Run:
    """A process and its monitor. `detached` is called when a client left by its keys."""

    def __init__(self, name: str, directory: Path, request: Fields, *, detached: Callable[[], None]) -> None:
        self.name, self.directory, self.request = name, directory, request
        self.state = Fields(b"")
        """As the monitor told it last."""
        self.ended: asyncio.Future[Exit | None] = asyncio.get_running_loop().create_future()
        """The end as the monitor told it; None: the monitor is gone without a word."""
        self.settled = asyncio.Event()
        """Not set while one monitor is gone and the next is not there yet, or the end not known."""
        self.deleted = False
        """Its end is nobody's business any more."""
        self._detached = detached
        self._control: socket.socket | None = None
        self._started: asyncio.Future[Fields] | None = None
        self._attaching: deque[asyncio.Future[None]] = deque()
        self._pidfd: int | None = None
        self._outputs: list[int] = []

    # -- the monitor

    def connect(self, control: socket.socket) -> None:
        """Listen to a monitor on `control`, which is ours now."""
        control.setblocking(False)
        self._control = control
        self.ended = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(control, self._receive)

    def kill_monitor(self) -> None:
        """End the monitor that we are connected to, whatever it does."""
        assert self._control is not None
        credentials = self._control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        os.kill(_UCRED.unpack(credentials)[0], signal.SIGKILL)
        self._disconnect(None)

    async def running(self, *, ask: bool) -> Running:
        """What the monitor tells after a start, or when it is asked. Raises: MonitorGone, MonitorFailed."""
        self._started = asyncio.get_running_loop().create_future()
        if ask:
            self._send(fields.encode(do="status"), [])
        state = await self._started
        return Running(state.number("pid"), state.number("started"))

    def queue_attach(self, client: Client, to: AttachTo) -> "asyncio.Future[None]":
        """Send a client's socket to the monitor. The future: it has it, or MonitorGone."""
        taken = asyncio.get_running_loop().create_future()
        message = fields.encode(
            do="attach",
            stdin=to.stdin,
            stdout=to.stdout,
            stderr=to.stderr,
            framed=to.framed,
            keys=to.detach_keys.hex(),
            head=client.head.decode("latin-1"),
        )
        early = _file_of(client.early) if client.early else None
        try:
            self._send(message, [client.sock.fileno(), *([early] if early is not None else [])])
        finally:
            if early is not None:
                os.close(early)
        self._attaching.append(taken)
        return taken

    def _send(self, message: bytes, fds: list[int]) -> None:
        if self._control is None:
            raise MonitorGone()
        try:
            sockets.send(self._control, message, fds)
        except (BrokenPipeError, ConnectionResetError) as error:
            self._receive()  # its last words, and its end: whoever tries again shall not find us connected
            raise MonitorGone() from error

    def _receive(self) -> None:
        while self._control is not None:
            try:
                message, fds = sockets.receive(self._control)
            except BlockingIOError:
                return
            except ConnectionResetError:
                message, fds = b"", []
            if not message:
                self._disconnect(None)
            else:
                self._take(Fields(message), fds)

    def _take(self, message: Fields, fds: list[int]) -> None:
        match message.text("do"):
            case "ok":
                _settle(self._attaching.popleft(), None)
            case "running":
                self._take_state(message, fds)
            case "failed":
                if self._started is not None:
                    _fail(self._started, MonitorFailed(message.text("error")))
            case "detach":
                self._detached()
            case "log":
                log.error("the log of %s is incomplete: %s", self.name, message.text("text"))
            case "exit":
                self._disconnect(exit_of(message))

    def _take_state(self, state: Fields, fds: list[int]) -> None:
        self._close_fds()
        self.state, self._pidfd, self._outputs = state, fds[0], fds[1:]
        self.settled.set()
        if self._started is not None:
            _settle(self._started, state)

    def _disconnect(self, end: Exit | None) -> None:
        assert self._control is not None
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._control = None
        self.settled.clear()
        for taken in self._attaching:
            _fail(taken, MonitorGone())
        if self._started is not None:
            _fail(self._started, MonitorGone())
        self._attaching.clear()
        if not self.ended.done():
            self.ended.set_result(end)

    # -- the process

    @property
    def adoptable(self) -> list[int]:
        """The fds for a next monitor: pidfd, outputs; [] when the process is not known."""
        return [] if self._pidfd is None else [self._pidfd, *self._outputs]

    def find_process(self, state: Fields) -> bool:
        """Know the process of a `state` file without its monitor, if it lives."""
        self._pidfd, self.state = _living_pidfd(state), state
        return self._pidfd is not None

    def signal(self, number: int) -> None:
        """Raises: ProcessGone."""
        if self._pidfd is None:
            raise ProcessGone(self.name)
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError as error:
            raise ProcessGone(self.name) from error

    def open_root(self) -> int:
        """An O_PATH fd of the process's root, with all that is mounted there. Raises: ProcessGone."""
        path = f"/proc/{self.state.number('pid')}/root"
        try:
            root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessGone(self.name) from error
        try:
            self.signal(0)  # while it can be signalled, its pid is nobody else's
        except ProcessGone:
            os.close(root)
            raise
        return root

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal; without one there is nothing to set."""
        for fd in self._outputs:
            if os.isatty(fd):
                fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Let go of monitor and process; they go on."""
        if self._control is not None:
            self._disconnect(None)
        self._close_fds()
        self.settled.set()

    def _close_fds(self) -> None:
        for fd in self.adoptable:
            os.close(fd)
        self._pidfd, self._outputs = None, []


def _living_pidfd(state: Fields) -> int | None:
    """A pidfd of the process in a `state` file, if it is that process still and not a later namesake."""
    try:
        pidfd = os.pidfd_open(state.number("pid"))
    except ProcessLookupError:
        return None
    if process.start_time(state.number("pid")) == state.number("ticks"):
        return pidfd
    os.close(pidfd)
    return None


def _settle(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[T]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # heard: not everybody waits for every answer


def _file_of(content: bytes) -> int:
    """An open file in memory, to be read from its beginning by whoever gets it."""
    fd = os.memfd_create("early")
    with open(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
