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
_SEND_PIECES = 256
_NOWHERE = -1


class StreamClient:
    """Owned by `stdio`, which it leaves by itself when it is done."""

    __slots__ = (
        "_ending",
        "_framed",
        "_half_closed",
        "_input",
        "_keys",
        "_own",
        "_place",
        "_sent",
        "_sock",
        "_stdio",
        "_waits",
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
        self._waits = False
        """For its socket to take more."""
        self._own = bytearray(request.text("head").encode())
        """What it is sent before anything of the backlog."""
        self._place = stdio.backlog.join() if any(self._wants) else _NOWHERE
        """In the backlog."""
        self._sent = 0
        """Of the piece at its place, header included."""

    def start(self, early: bytes) -> None:
        """Send the head, and take what the client sent with its request as its first input."""
        self._flush()
        if early and self._input:
            self._take(early)

    def go_on(self) -> None:
        """There is more output: send what goes now."""
        if not self._waits and not self._ending:
            self._flush()

    def end(self) -> None:
        """No more output comes: close once all was sent."""
        self._ending = True
        self._flush()

    def _end_alone(self) -> None:
        """The same while output comes for others: what it lacks is kept for it alone then."""
        while buffers := self._lacks():
            self._own += b"".join(buffers)
            self._pass(sum(map(len, buffers)))
        self._let_go()
        self.end()

    def watch(self) -> None:
        """Wait for what this client can do next."""
        mask = OUT if self._waits else 0
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
            self._waits = False
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
            self._end_alone()

    def _end_input(self) -> None:
        self._input, self._half_closed = False, True
        self._stdio.write_input(self._keys.flush())
        if self._stdio.end_input():
            self.watch()
        else:
            self._end_alone()

    def _flush(self) -> None:
        flags = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
        try:
            while self._own:
                with memoryview(self._own)[:_SEND_BYTES] as piece:
                    done = self._sock.send(piece, flags)
                del self._own[:done]
            while buffers := self._lacks():
                self._pass(self._sock.sendmsg(buffers, [], flags))
        except BlockingIOError:
            self._waits = True
            self.watch()
        except OSError:
            self._lose()
        else:
            if self._ending:
                self._leave()
            else:
                self.watch()

    def _lacks(self) -> list[bytes | memoryview]:
        """The next bytes of the backlog that are for this client; what is not is passed."""
        if self._place == _NOWHERE:
            return []
        buffers: list[bytes | memoryview] = []
        backlog, size, place, sent = self._stdio.backlog, 0, self._place, self._sent
        while place < backlog.end and size < _SEND_BYTES and len(buffers) < _SEND_PIECES:
            stream, data = backlog[place]
            if self._wants[stream]:
                buffers += self._form(stream, data, sent)
                size += len(data)
            elif not buffers:
                self._place = backlog.move(self._place, place + 1)
            place, sent = place + 1, 0
        return buffers

    def _form(self, stream: int, data: bytes, sent: int) -> list[bytes | memoryview]:
        """A piece as this client gets it, without the bytes that were sent."""
        if not self._framed:
            return [memoryview(data)[sent:]]
        head = frames.header(stream, len(data))[sent:]
        return [head, data] if head else [memoryview(data)[sent - frames.HEADER_BYTES :]]

    def _pass(self, done: int) -> None:
        """So many bytes of what it lacked were sent."""
        backlog, place, sent = self._stdio.backlog, self._place, self._sent + done
        while place < backlog.end:
            stream, data = backlog[place]
            size = len(data) + (frames.HEADER_BYTES if self._framed else 0)
            if not self._wants[stream]:
                size = 0
            elif sent < size:
                break
            place, sent = place + 1, sent - size
        self._place, self._sent = backlog.move(self._place, place), sent

    def _let_go(self) -> None:
        if self._place != _NOWHERE:
            self._stdio.backlog.leave(self._place)
            self._place = _NOWHERE

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
        self._let_go()
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
