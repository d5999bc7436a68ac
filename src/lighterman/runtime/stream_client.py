"""One attached client inside a monitor: its socket, what it has not read yet, and its keys to leave."""

import _socket

from lighterman.lib import frames
from lighterman.lib.detach_keys import DetachKeys
from lighterman.runtime.fields import Fields
from lighterman.runtime.loop import BROKEN, CLOSED, HALF_CLOSED, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lighterman.runtime.stdio import Stdio

_READ_BYTES = 1 << 16
_SEND_BYTES = 1 << 18


class StreamClient:
    """Owned by `stdio`, which it leaves by itself when it is done."""

    __slots__ = (
        "_ending",
        "_framed",
        "_half_closed",
        "_input",
        "_keys",
        "_queue",
        "_sock",
        "_stdio",
        "_wants",
    )

    def __init__(self, stdio: "Stdio", sock: _socket.socket, request: Fields) -> None:
        self._stdio, self._sock = stdio, sock
        self._wants = (False, request.flag("stdout"), request.flag("stderr"))
        self._framed = request.flag("framed")
        self._keys = DetachKeys(bytes.fromhex(request.text("keys")))
        self._input = request.flag("stdin")
        self._half_closed = False
        self._ending = False
        self._queue = bytearray(request.text("head").encode())

    @property
    def queued(self) -> int:
        """How many bytes the client has still to read."""
        return len(self._queue)

    def start(self, early: bytes) -> None:
        """Send the head, and take what the client sent with its request as its first input."""
        self._flush()
        if early and self._input:
            self._take(early)

    def send(self, stream: int, piece: bytes) -> None:
        """Queue output, if it is for this client, and send what goes now."""
        if self._ending or not self._wants[stream]:
            return
        idle = not self._queue
        if self._framed:
            self._queue += frames.header(stream, len(piece))
        self._queue += piece
        if idle:
            self._flush()

    def end(self) -> None:
        """No more output comes: close once all was sent."""
        self._ending = True
        self._flush()

    def watch(self) -> None:
        """Wait for what this client can do next."""
        mask = OUT if self._queue else 0
        if self._input and not self._ending:
            mask |= IN if self._stdio.takes_input else 0
        elif not self._half_closed:
            mask |= HALF_CLOSED
        self._stdio.loop.watch(self._sock.fileno(), mask, self._ready)

    def _ready(self, events: int) -> None:
        if events & BROKEN:
            self._lose()
        elif self._input and not self._ending and events & (IN | CLOSED):
            self._read()
        elif events & CLOSED:
            self._lose()
        elif events & OUT:
            self._flush()
            self._stdio.hold_or_go_on()
        elif events & HALF_CLOSED:
            self._half_closed = True
            self.watch()

    def _read(self) -> None:
        if not self._stdio.takes_input:  # closed, and the process does not read yet
            self._stdio.loop.forget(self._sock.fileno())
            return
        try:
            data = self._sock.recv(_READ_BYTES, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        if data:
            self._take(data)
        else:
            self._end_input()

    def _take(self, data: bytes) -> None:
        data, detached = self._keys.feed(data)
        self._stdio.write_input(data)
        if detached:
            self._input = False
            self._stdio.told("detach", "")
            self.end()

    def _end_input(self) -> None:
        self._input, self._half_closed = False, True
        self._stdio.write_input(self._keys.flush())
        if self._stdio.end_input():
            self.watch()
        else:
            self.end()

    def _flush(self) -> None:
        try:
            while self._queue:
                with memoryview(self._queue)[:_SEND_BYTES] as piece:
                    done = self._sock.send(piece, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
                del self._queue[:done]
        except BlockingIOError:
            self.watch()
        except OSError:
            self._lose()
        else:
            if self._ending:
                self._leave()
            else:
                self.watch()

    def _lose(self) -> None:
        """The client is gone: that ends its input too."""
        if self._input:
            self._input = False
            self._stdio.end_input()
        self._leave()

    def _leave(self) -> None:
        if self not in self._stdio.clients:
            return
        self._stdio.clients.remove(self)
        self._stdio.loop.forget(self._sock.fileno())
        try:
            self._sock.shutdown(_socket.SHUT_WR)
            # unread input would make close(2) reset the connection, and the client lose our last bytes
            for _ in range(16):
                self._sock.recv(_READ_BYTES, _socket.MSG_DONTWAIT)
        except OSError:
            pass
        self._sock.close()
        self._stdio.hold_or_go_on()
