"""The monitor: starts one process, serves its streams (`runtime.stdio`), and tells its end.

It outlives the daemon: what it knows is in `state` and `exit` of the run's directory, and any later daemon
may ask on `mon.sock` there. What it is asked on a control connection:

| do | fds | answer |
|---|---|---|
| attach | the client's socket, and a file with its early input | ok |
| status | - | running, with copies of the pidfd and of the output fds |

What it tells by itself, on all of them: `running` (likewise) or `failed` after the start, `detach`, `log`
(an error of the log), and `exit`, after the log and all clients' streams are complete.
"""

import _socket
import os
import time

from lighterman.linux import process, small_files, sockets
from lighterman.runtime import fields
from lighterman.runtime.fields import Fields
from lighterman.runtime.launch import Launched, LaunchFailed, launch
from lighterman.runtime.loop import IN, Loop
from lighterman.runtime.stdio import Stdio
from lighterman.runtime.stream_client import StreamClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lighterman.runtime.shipping import Shipping

PROTOCOL = 1
_FLUSH_S = 2.0
"""How long the news of the end waits for clients that do not read; dockerd waits as long."""
_REAPED_WITHIN_S = 10.0
_REAP_RETRY_S = 0.02


def run(order: Fields, fds: list[int]) -> None:
    """Be a monitor until its process has ended. What is to be run is told in the file `request`.

    `fds`: the control connection; to `adopt` a process, also its pidfd and what is read from it.
    """
    os.chdir(order.text("dir"))
    request = Fields(small_files.read("request"))
    log = os.open("monitor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 2)
    os.close(log)
    process.rename_process("lm-" + request.text("name")[:12])
    process.become_subreaper()
    control = _socket.socket(fileno=fds[0])
    control.setblocking(False)
    try:
        monitor = Monitor(request, control)
        if order.text("do") == "adopt":
            monitor.adopt(order, fds[1], fds[2:])
        else:
            monitor.start()
    except (LaunchFailed, OSError) as error:
        _fail(control, str(error))
        return
    monitor.serve()


def _fail(control: _socket.socket, error: str) -> None:
    """Tell it, behind the clients that were queued: closed over them, the connection would be reset."""
    try:
        while sockets.receive(control)[0]:
            pass
    except BlockingIOError:
        sockets.send(control, fields.encode(do="failed", error=error))


class Monitor:
    """One run. Raises: OSError: the log cannot be opened."""

    def __init__(self, request: Fields, control: _socket.socket) -> None:
        self._request, self._loop = request, Loop()
        self._children = process.children_fd()
        self._stdio = Stdio(self._loop, request, self._told)
        self._controls: dict[int, _socket.socket] = {}
        self._listening = self._listen()
        self._add_control(control)
        self._pidfd = -1
        """Of the process; copies of it go to the daemons."""
        self._exit: bytes | None = None
        self._tell_at = 0.0

    # -- the process's life

    def start(self) -> None:
        """Run the OCI runtime, and be the parent of what it leaves. Raises: LaunchFailed, OSError."""
        if self._stdio.shipping is not None:
            self._stdio.shipping.start(connect=True)
        launched = launch(self._request)
        self._begin(launched, os.pidfd_open(launched.pid))
        self._loop.watch(self._children, IN, lambda events: self._reap())

    def adopt(self, order: Fields, pidfd: int, outputs: list[int]) -> None:
        """Go on for a monitor that was killed. Its process is no child: the kernel is asked for its code."""
        if self._stdio.shipping is not None:
            self._stdio.shipping.start(connect=False)
        stdin = os.dup(outputs[0]) if self._request.flag("tty") and outputs else None
        self._begin(Launched(order.number("pid"), order.number("started"), stdin, outputs), pidfd)
        self._loop.watch(pidfd, IN, lambda events: self._stranger_ended())

    def _begin(self, launched: Launched, pidfd: int) -> None:
        """First the clients that came before the process, then its output: nothing is lost."""
        self._launched, self._pidfd = launched, pidfd
        process.raise_open_files()  # one for each client; the process itself has the limit that it was given
        self._write_file("state", self._running())
        for fd in list(self._controls):
            self._take_requests(fd)
        self._tell(self._running(), [pidfd, *launched.outputs])
        self._stdio.begin(launched.outputs, launched.input)

    def serve(self) -> None:
        """Until the process has ended, this was told, and every client has had everything."""
        while self._exit is None:
            self._loop.turn(None)
        while self._stdio.clients and (left := self._tell_at - time.monotonic()) > 0:
            self._loop.turn(left)
        if self._stdio.shipping is not None:
            self._end_shipping(self._stdio.shipping)
        self._tell(self._exit)
        for fd in list(self._controls):
            self._drop_control(fd)
        self._loop.forget(self._listening.fileno())
        self._listening.close()
        while self._stdio.clients:
            self._loop.turn(None)

    def _end_shipping(self, shipping: "Shipping") -> None:
        """Let the log arrive, for as long as its mode allows."""
        while not shipping.is_done:
            self._loop.turn(max(0.0, shipping.give_up_at - time.monotonic()))
        shipping.give_up()

    def _reap(self) -> None:
        """Bury all children that have ended: strays of the host's pid namespace too."""
        try:
            os.read(self._children, 128)
        except BlockingIOError:
            return
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._launched.pid:
                    self._ended(process.shell_code(ended[1]), "")
        except ChildProcessError:
            pass

    def _stranger_ended(self) -> None:
        """Its code can be had as soon as its parent has buried it."""
        self._loop.forget(self._pidfd)
        until = time.monotonic() + _REAPED_WITHIN_S
        while (code := process.exit_code(self._pidfd)) is None and time.monotonic() < until:
            time.sleep(_REAP_RETRY_S)
        if code is None:
            self._ended(137, "the monitor was killed, and this kernel does not tell the exit code")
        else:
            self._ended(code, "")

    def _ended(self, code: int, error: str) -> None:
        at_ns = time.time_ns()
        self._stdio.finish()
        oom = _oom_kills(self._request.text("oom")) > 0
        self._exit = fields.encode(do="exit", code=code, oom=oom, at=at_ns, error=error)
        self._tell_at = time.monotonic() + _FLUSH_S
        self._write_file("exit", self._exit)

    def _told(self, what: str, text: str) -> None:
        self._tell(fields.encode(do=what, text=text))

    # -- control connections

    def _listen(self) -> _socket.socket:
        if os.path.lexists("mon.sock"):  # of the monitor before
            os.unlink("mon.sock")
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        listening.setblocking(False)
        listening.bind("mon.sock")
        listening.listen(4)
        self._loop.watch(listening.fileno(), IN, lambda events: self._accept())
        return listening

    def _accept(self) -> None:
        fd, _ = self._listening._accept()  # type: ignore[attr-defined]  # `socket.socket` is made of it
        control = _socket.socket(fileno=fd)
        control.setblocking(False)
        self._add_control(control)

    def _add_control(self, control: _socket.socket) -> None:
        fd = control.fileno()
        self._controls[fd] = control
        self._loop.watch(fd, IN, lambda events: self._take_requests(fd))

    def _drop_control(self, fd: int) -> None:
        self._loop.forget(fd)
        self._controls.pop(fd).close()

    def _take_requests(self, fd: int) -> None:
        """All that have come."""
        while control := self._controls.get(fd):
            try:
                message, fds = sockets.receive(control)
            except BlockingIOError:
                return
            except ConnectionResetError:
                message, fds = b"", []
            if not message:
                self._drop_control(fd)
            else:
                self._answer(fd, Fields(message), fds)

    def _answer(self, fd: int, request: Fields, fds: list[int]) -> None:
        if request.text("do") == "attach":
            self._send(fd, fields.encode(do="ok"))
            self._attach(request, fds)
        else:
            self._send(fd, self._running(), [self._pidfd, *self._stdio.outputs()])

    def _attach(self, request: Fields, fds: list[int]) -> None:
        early = b""
        if len(fds) > 1:
            early = small_files.read(fds[1])
            os.close(fds[1])
        client = StreamClient(self._stdio, _socket.socket(fileno=fds[0]), request)
        self._stdio.clients.append(client)
        client.start(early)
        if self._exit is not None:
            client.end()

    def _send(self, fd: int, message: bytes, fds: list[int] | None = None) -> None:
        try:
            sockets.send(self._controls[fd], message, fds)
        except OSError:
            self._drop_control(fd)  # a daemon that is gone, or hangs: the next one asks by itself

    def _tell(self, message: bytes, fds: list[int] | None = None) -> None:
        for fd in list(self._controls):
            self._send(fd, message, fds)

    # -- what is left in files

    def _running(self) -> bytes:
        launched = self._launched
        return fields.encode(
            do="running",
            pid=launched.pid,
            ticks=launched.ticks,
            started=launched.started_ns,
            protocol=PROTOCOL,
            monitor=os.getpid(),
            boot=process.boot_id(),
        )

    def _write_file(self, name: str, content: bytes) -> None:
        """Whole or not at all. No fsync: it tells of processes, and what cuts the power ends those too."""
        small_files.write(name + ".new", content)
        os.rename(name + ".new", name)


def _oom_kills(path: str) -> int:
    """The counter `oom_kill` of a cgroup's memory.oom_control (v1) or memory.events (v2); "": 0."""
    if not path:
        return 0
    try:
        counters = small_files.read(path).split()
    except FileNotFoundError:  # removed already, by `delete` of a run that was killed
        return 0
    return int(counters[counters.index(b"oom_kill") + 1]) if b"oom_kill" in counters else 0
