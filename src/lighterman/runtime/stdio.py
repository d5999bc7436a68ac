"""The streams of one process inside its monitor: outputs to log and clients, clients' input to it.

Back-pressure, both ways: a client that lacks more than `QUEUE_BYTES` stops the reading of all output, so the
process blocks in write(2), as with dockerd; a process that does not read stops the reading of input. What
clients lack is kept once for all of them (`backlog`), so a thousand slow ones cost no more than one.
"""

import os
from _collections_abc import Callable

from lighterman.runtime.backlog import Backlog
from lighterman.runtime.fields import Fields
from lighterman.runtime.launch import PIPE_BYTES
from lighterman.runtime.log_sinks import FileSink, Sink
from lighterman.runtime.loop import IN, OUT, Loop
from lighterman.runtime.stream_client import StreamClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lighterman.runtime import shipping

QUEUE_BYTES = 1 << 20
INPUT_BYTES = 1 << 16
_READ_BYTES = 1 << 18


class Stdio:
    """`told` is called with "detach", or "log" and a text."""

    def __init__(self, loop: Loop, request: Fields, told: Callable[[str, str], None]) -> None:
        """Raises: OSError: the log cannot be opened."""
        self.loop, self.told = loop, told
        self.tty = request.flag("tty")
        self.clients: list[StreamClient] = []
        self.backlog = Backlog()
        self._once = request.flag("once")
        self._outputs: dict[int, int] = {}
        """Of each fd that is read, whether it is 1, stdout, or 2, stderr."""
        self._held = False
        self._begun = False
        self._input: int | None = None
        self._input_queue = bytearray()
        self._input_ends = False
        self._sinks: list[Sink] = []
        self.shipping: shipping.Shipping | None = None
        """How the log is sent, if it is."""
        if request.text("log") and request.text("log.driver") != "file":
            self._sinks.append(FileSink(request, told))
        if request.text("log.driver"):
            from lighterman.runtime.shipping import Shipping

            self.shipping = Shipping(loop, request, told, self.hold_or_go_on)
            self._sinks.append(self.shipping)

    def begin(self, outputs: list[int], input: int | None) -> None:
        """Take the fds over and start to read."""
        for number, fd in enumerate(outputs, start=1):
            os.set_blocking(fd, False)
            self._outputs[fd] = number
        if input is not None:
            os.set_blocking(input, False)
        self._input, self._begun = input, True
        self._push_input()
        self.hold_or_go_on()

    def outputs(self) -> list[int]:
        """The fds that are still read."""
        return list(self._outputs)

    def finish(self) -> None:
        """The process has ended: take what it left in its outputs, end the log, let the clients have it all.

        Not until the end of the stream: whoever left the process's pid namespace may hold the pipe for ever.
        """
        for fd in list(self._outputs):
            taken = 0
            while taken < PIPE_BYTES and (more := self._read(fd)):
                taken += more
        for fd in list(self._outputs):
            self._close_output(fd)
        for sink in self._sinks:
            sink.close()
        self._close_input()
        for client in list(self.clients):
            client.end()

    # -- output

    def hold_or_go_on(self) -> None:
        """Read output or not, after how much somebody lacks."""
        most = QUEUE_BYTES // 2 if self._held else QUEUE_BYTES
        self._held = self.backlog.size_bytes > most or any(sink.is_full for sink in self._sinks)
        for fd in self._outputs:
            if self._held:
                self.loop.forget(fd)
            else:
                self.loop.watch(fd, IN, lambda events, fd=fd: self._read_once(fd))  # type: ignore[misc]

    def _read_once(self, fd: int) -> None:
        self._read(fd)
        self.hold_or_go_on()

    def _read(self, fd: int) -> int:
        """Pass on one piece of output; its size, 0: there is none now, or never again."""
        try:
            piece = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last process on the terminal has closed it
            piece = b""
        if not piece:
            self._close_output(fd)
            return 0
        number = self._outputs[fd]
        for sink in self._sinks:
            sink.feed(number, piece)
        self.backlog.append(number, piece)
        for client in list(self.clients):
            client.go_on()
        return len(piece)

    def _close_output(self, fd: int) -> None:
        self.loop.forget(fd)
        number = self._outputs.pop(fd)
        os.close(fd)
        for sink in self._sinks:
            sink.end(number)

    # -- input

    @property
    def takes_input(self) -> bool:
        return len(self._input_queue) < INPUT_BYTES

    def write_input(self, data: bytes) -> None:
        """Queue a client's input; dropped when the process has no stdin (any more)."""
        self._input_queue += data
        self._push_input()

    def end_input(self) -> bool:
        """A client has no more input. True: it stays for the output.

        Else its stream ends here, as with dockerd: only with StdinOnce the end of input means the process.
        """
        if not self._once or self.tty:
            return False
        self._input_ends = True
        self._push_input()
        return True

    def _push_input(self) -> None:
        if self._input is None:
            if self._begun:  # before, early input waits for its process
                self._input_queue.clear()
            return
        try:
            while self._input_queue:
                done = os.write(self._input, self._input_queue[:INPUT_BYTES])
                del self._input_queue[:done]
        except BlockingIOError:
            self.loop.watch(self._input, OUT, lambda events: self._push_input())
        except OSError:  # EPIPE: the process has closed its stdin
            self._close_input()
        else:
            self.loop.forget(self._input)
            if self._input_ends:
                self._close_input()
        for client in self.clients:
            client.watch()

    def _close_input(self) -> None:
        self._input_queue.clear()
        if self._input is not None:
            self.loop.forget(self._input)
            os.close(self._input)
            self._input = None
