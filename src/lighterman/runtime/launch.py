"""The start of a process by the OCI runtime: its stdio made, the runtime run to its end, the pid read.

The current directory is the run's own directory: the paths of a run are longer than a socket's path may be.
"""

import _socket
import fcntl
import os
import select
import time

from lighterman.linux import process, small_files, sockets
from lighterman.runtime.caller import spawn
from lighterman.runtime.fields import Fields
from lighterman.runtime.nulls import open_null

PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_TIOCSWINSZ = 0x5414


class Launched:
    """A process that runs, and our ends of its stdio."""

    __slots__ = ("input", "outputs", "pid", "started_ns", "ticks")

    def __init__(self, pid: int, started_ns: int, input: int | None, outputs: list[int]) -> None:
        self.pid, self.started_ns = pid, started_ns
        self.input = input
        """Write end of stdin, or None."""
        self.outputs = outputs
        """Read ends of stdout and stderr; of a terminal, its master."""
        self.ticks = process.start_time(pid) or 0


class LaunchFailed(Exception):
    """The OCI runtime failed; without a text, its log tells why."""


def launch(request: Fields) -> Launched:
    """Run `argv` of the request. Raises: LaunchFailed, OSError."""
    if request.flag("tty"):
        return _launch_on_terminal(request)
    null = open_null()
    stdin, input = os.pipe() if request.flag("stdin") else (null, None)
    output, stdout = _output_pipe()
    errors, stderr = _output_pipe()
    for fd in {stdin, stdout, stderr} - {null} if request.number("uid") else ():
        os.fchown(fd, request.number("uid"), request.number("gid"))
    runtime = spawn(request.items("argv"), (stdin, stdout, stderr))
    for fd in {null, stdin, stdout, stderr}:
        os.close(fd)
    _check(runtime)
    return Launched(_read_pid(), time.time_ns(), input, [output, errors])


def _output_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(reader, _F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return reader, writer  # over the share of pipe memory: a small pipe serves as well, slower
    return reader, writer


def _launch_on_terminal(request: Fields) -> Launched:
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listening.bind("console.sock")
    listening.listen(1)
    null = open_null()
    log = os.open("oci.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    runtime = spawn(request.items("argv"), (null, null, log))
    os.close(null)
    os.close(log)
    master = _receive_master(listening, runtime, request)
    _check(runtime)
    listening.close()
    os.unlink("console.sock")
    if master is None:
        raise LaunchFailed
    return Launched(_read_pid(), time.time_ns(), os.dup(master), [master])


def _receive_master(listening: _socket.socket, runtime: int, request: Fields) -> int | None:
    """The terminal's master; None when the runtime ended without.

    runc 1.1 leaves the size to us, and the process may have asked already: then it hears SIGWINCH.
    """
    ended = os.pidfd_open(runtime)
    poll = select.poll()
    poll.register(listening.fileno(), select.POLLIN)
    poll.register(ended, select.POLLIN)
    ready = [fd for fd, _ in poll.poll()]
    os.close(ended)
    if listening.fileno() not in ready:
        return None
    fd, _ = listening._accept()  # type: ignore[attr-defined]  # `socket.socket` is made of it
    connection = _socket.socket(fileno=fd)
    _, fds = sockets.receive(connection)
    connection.close()
    if request.number("rows"):
        set_size(fds[0], request.number("rows"), request.number("columns"))
    return fds[0]


def set_size(master: int, rows: int, columns: int) -> None:
    """Source: TIOCSWINSZ(2const), struct winsize."""
    size = rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4)
    fcntl.ioctl(master, _TIOCSWINSZ, size)


def _check(runtime: int) -> None:
    _, status = os.waitpid(runtime, 0)
    if os.WIFSIGNALED(status):  # it cannot have said why
        raise LaunchFailed(f"the OCI runtime was killed by signal {os.WTERMSIG(status)}")
    if status != 0:
        raise LaunchFailed


def _read_pid() -> int:
    try:
        return int(small_files.read("pid"))
    except FileNotFoundError:  # crun is content when its child is killed before it has become the process
        raise LaunchFailed("the OCI runtime ended without a process") from None
