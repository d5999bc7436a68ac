"""The daemon's end of the zygote: starts it, asks it, and starts another one if it dies."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lighterman.linux import sockets
from lighterman.runtime import fields, zygote
from lighterman.runtime.fields import Fields

log = logging.getLogger(__name__)


class Zygote:
    """A zygote process. `hidden` are the mounts that OCI runtimes do not see."""

    def __init__(self, hidden: Sequence[str]) -> None:
        """Raises: OSError: the interpreter cannot be started."""
        self._hidden = list(hidden)
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start_monitor(self, directory: Path, program: str, control: socket.socket) -> None:
        """Fork a monitor for the run described in `directory`, which `program` starts.

        All else is told on `control`.
        """
        message = fields.encode(do="start", dir=str(directory), program=program)
        self._ask(message, [control.fileno()])

    def adopt(self, directory: Path, control: socket.socket, state: Fields, fds: Sequence[int]) -> None:
        """Fork a monitor for a process whose monitor died; `fds`: its pidfd, then its outputs."""
        message = fields.encode(
            do="adopt", dir=str(directory), pid=state.number("pid"), started=state.number("started")
        )
        self._ask(message, [control.fileno(), *fds])

    async def call(self, argv: Sequence[str]) -> tuple[int, str]:
        """The exit code and output of a short command, run where the containers are run."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output = os.memfd_create("output")
        try:
            with ours, theirs:
                self._ask(
                    fields.encode(do="call", argv=list(argv), program=argv[0]), [theirs.fileno(), output]
                )
                theirs.close()
                ours.setblocking(False)
                await readable(ours)
                message, _ = sockets.receive(ours)
            text = os.pread(output, 1 << 16, 0).decode(errors="replace")
        finally:
            os.close(output)
        return (Fields(message).number("code") if message else 127), text

    def close(self) -> None:
        """Let it end; its monitors go on."""
        self._requests.close()
        self._process.wait()

    def _start(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-I", "-S", zygote.__file__, str(theirs.fileno()), *self._hidden]
            self._process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # else whoever reads ours would wait for the last monitor's end
                start_new_session=True,
            )

    def _ask(self, message: bytes, fds: list[int]) -> None:
        try:
            sockets.send(self._requests, message, fds)
        except BrokenPipeError:
            log.error("the zygote died with status %s: starting another", self._process.wait())
            self._requests.close()
            self._start()
            sockets.send(self._requests, message, fds)


async def readable(sock: socket.socket) -> None:
    """Return when there is something to receive."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def once() -> None:
        loop.remove_reader(sock)
        ready.set_result(None)

    loop.add_reader(sock, once)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
