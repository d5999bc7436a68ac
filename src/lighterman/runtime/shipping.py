"""The monitor's end of its helper (`runtime.shipper`): what waits to be sent, and what becomes of it.

In mode blocking a full queue makes the sink full, and the process waits. In mode non-blocking the queue is a
ring: the oldest output is dropped for the newest.
"""

import _socket
import os
import sys
import time
from collections import deque

from lighterman.lib.log_records import STREAMS, RecordEncoder, end_of
from lighterman.runtime import shipper
from lighterman.runtime.fields import Fields
from lighterman.runtime.log_sinks import Sink
from lighterman.runtime.loop import IN, OUT, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_QUEUE_BYTES = 1 << 20
_SOCKET_BYTES = 1 << 17
_RESTART_S = 1.0
LINGER_S = {True: 10.0, False: 2.0}
"""How long a container's end waits for what is on its way, in mode blocking and not."""


class Shipping(Sink):
    """Sends output to a helper. `told` hears of losses; `room` is called when there is room again."""

    def __init__(
        self, loop: Loop, request: Fields, told: "Callable[[str, str], None]", room: "Callable[[], None]"
    ) -> None:
        self._loop, self._request, self._told, self._room = loop, request, told, room
        self._ring_bytes = request.number("log_ring")
        self._drops = request.flag("log_drops")
        self._encoders = [RecordEncoder(stream) for stream in range(len(STREAMS))]
        self._queue: deque[bytes] = deque()
        self._queued = self._sent = 0
        """Bytes in the queue, and how many of its first record have left."""
        self._dropped = 0
        self._ending = False
        self._heard = b""
        self._pid = 0
        self._sock: _socket.socket | None = None
        self.give_up_at = 0.0
        """When the end waits no longer, once closed."""

    def start(self, *, connect: bool) -> None:
        """Fork the helper. With `connect`, wait until it has reached its receiver. Raises: OSError."""
        self._fork(connect=connect)
        assert self._sock is not None
        if connect:
            while b"\n" not in self._heard and (piece := self._sock.recv(4096)):
                self._heard += piece
            line, _, self._heard = self._heard.partition(b"\n")
            if line != b"ready":
                why = line.decode().removeprefix("failed ") or "its helper died"
                raise OSError(f"failed to initialize logging driver: {why}")
        self._sock.setblocking(False)
        self._watch()

    @property
    def is_full(self) -> bool:  # type: ignore[override]
        """More waits than may; a process in mode non-blocking never waits."""
        return not self._drops and self._queued >= _QUEUE_BYTES

    @property
    def is_done(self) -> bool:
        """Nothing is on its way any more, or nobody waits for it."""
        return self._sock is None or time.monotonic() >= self.give_up_at

    def feed(self, stream: int, piece: bytes) -> None:
        self._add(self._encoders[stream].feed(piece, time.time_ns()))

    def end(self, stream: int) -> None:
        self._add(self._encoders[stream].close(time.time_ns()))

    def close(self) -> None:
        self._ending = True
        self.give_up_at = time.monotonic() + LINGER_S[not self._drops]
        self._push()

    def give_up(self) -> None:
        """End the helper, whatever it still had."""
        if self._sock is not None:
            os.kill(self._pid, 9)
            self._told("log", f"the log's receiver has not taken all: {self._queued} bytes and more are lost")
            self._forget()
        if self._dropped:
            self._told("log", f"{self._dropped} bytes of output were dropped, since the receiver was slow")

    # -- the queue

    def _add(self, block: bytes) -> None:
        """Queue the records of a block, each by itself."""
        at = 0
        while end := end_of(block, at):
            self._queue.append(block[at:end])
            self._queued += end - at
            at = end
        while self._drops and self._queued > self._ring_bytes and len(self._queue) > 1 + bool(self._sent):
            oldest = self._queue[1] if self._sent else self._queue[0]  # a record half sent goes to its end
            del self._queue[1 if self._sent else 0]
            self._queued -= len(oldest)
            self._dropped += len(oldest)
        self._push()

    def _push(self) -> None:
        """Send what goes; at the end of all, tell the helper so."""
        was_full = self.is_full
        try:
            while self._queue and self._sock is not None:
                self._sent += self._sock.send(self._queue[0][self._sent :], _socket.MSG_NOSIGNAL)
                if self._sent == len(self._queue[0]):
                    self._queued -= self._sent
                    self._sent = 0
                    self._queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return  # it is dead: `_listen` hears that too
        if self._sock is not None:
            if self._ending and not self._queue:
                self._sock.shutdown(_socket.SHUT_WR)
            self._watch()
        if was_full and not self.is_full:
            self._room()

    # -- the helper

    def _fork(self, *, connect: bool) -> None:
        self._sock, theirs = _pair()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                _close_all_but(theirs.fileno())
                shipper.run(self._request, theirs, connect=connect)
                code = 0
            except BaseException as error:
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                os._exit(code)
        theirs.close()
        self._forked_at = time.monotonic()

    def _watch(self) -> None:
        assert self._sock is not None
        mask = IN | (OUT if self._queue else 0)
        self._loop.watch(self._sock.fileno(), mask, lambda events: self._listen(events))

    def _listen(self, events: int) -> None:
        assert self._sock is not None
        if events & OUT:
            self._push()
        try:
            piece = self._sock.recv(4096) if self._sock is not None else b""
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._ended()
            return
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            if line != b"ready":
                self._told("log", line.decode("utf-8", "replace").partition(" ")[2])

    def _ended(self) -> None:
        """The helper is gone: as it should at the end of all; else another one goes on."""
        self._forget()
        self._sent = 0
        if not self._ending:
            self._told("log", "the helper that sends the log died")
        if self._queue or not self._ending:
            if time.monotonic() - self._forked_at < _RESTART_S:
                self._drops, self._ring_bytes = True, 0  # it cannot live: the container can without it
                self._room()
                return
            self.start(connect=False)
            self._push()

    def _forget(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _pair() -> tuple[_socket.socket, _socket.socket]:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _SOCKET_BYTES)
    return ours, theirs


def _close_all_but(fd: int) -> None:
    """A helper keeps no connection of its monitor open, nor what a container writes to."""
    os.closerange(3, fd)
    os.closerange(fd + 1, 1 << 20)
