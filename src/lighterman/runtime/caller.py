"""Runs the OCI runtime: for the daemon a short command, for a monitor what starts its process."""

import _socket
import os

from lighterman.linux import process, sockets
from lighterman.runtime import fields, sealed, view


def spawn(argv: list[str], stdio: tuple[int, int, int]) -> int:
    """The pid of `argv`, with nothing inherited but `stdio`: no ignored or blocked signal, no other fd."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
    view.enter()
    try:
        return os.posix_spawn(
            sealed.program(argv[0]),
            argv,
            {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")},
            file_actions=actions,
            setsigdef=process.CATCHABLE_SIGNALS,
            setsigmask=[],
        )
    finally:
        view.leave()


def call(request: fields.Fields, fds: list[int]) -> None:
    """Run `argv` with output to the second of `fds`; tell its exit code on the first."""
    reply, output = _socket.socket(fileno=fds[0]), fds[1]
    process.children_fd()  # a child of this process is to be waited for again
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    _, status = os.waitpid(spawn(request.items("argv"), (null, output, output)), 0)
    sockets.send(reply, fields.encode(code=process.shell_code(status)))
