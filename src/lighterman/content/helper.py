"""The helper process: an interpreter with the codecs loaded that forks one worker per job.

It reads jobs from the socket it was started with, and ends when its daemon does, or when it had nothing to
do for a while: at rest the engine does not pay for it. It has no threads, so forking it is safe. A worker
talks to the daemon over a socket of its own; if the helper should be killed, running jobs still finish.
"""

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence

import msgspec

from lighterman.content.jobs import AnyJob, Begun, Failed, Message, Step
from lighterman.content.work import perform
from lighterman.linux import sockets
from lighterman.linux.process import children_fd, rename_process

_decode = msgspec.msgpack.Decoder(AnyJob).decode
_encode = msgspec.msgpack.Encoder().encode


def main(control_fd: int, idle_s: float) -> None:
    """Serve until the daemon is gone or `idle_s` have passed without a job."""
    rename_process("lm-helper")
    control, ended = socket.socket(fileno=control_fd), children_fd()
    workers: set[int] = set()
    while True:
        ready, _, _ = select.select([control.fileno(), ended], [], [], idle_s)
        if ended in ready:
            _reap(ended, workers)
        if control.fileno() in ready and not _begin(control, workers):
            # the daemon is gone: what its jobs make belongs to nobody
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            return
        if not ready and not workers:
            return


def _reap(ended: int, workers: set[int]) -> None:
    """Forget the workers that have ended. Only here: a pid in `workers` is still a child, and no other's."""
    os.read(ended, 4096)
    for pid in list(workers):
        if os.waitpid(pid, os.WNOHANG)[0]:
            workers.discard(pid)


def _begin(control: socket.socket, workers: set[int]) -> bool:
    """Fork a worker for the next job; False: there will be none."""
    message, fds = sockets.receive(control)
    if not message:
        return False
    pid = os.fork()
    if pid == 0:
        control.close()
        _work(message, fds)
    workers.add(pid)
    for fd in fds:
        os.close(fd)
    return True


def _work(message: bytes, fds: Sequence[int]) -> None:
    """Do one job and exit. The last of `fds` is the socket to report on."""
    rename_process("lm-worker")
    code = 1
    try:
        channel = socket.socket(fileno=fds[-1])
        pidfd = os.pidfd_open(os.getpid())
        sockets.send(channel, _encode(Begun()), [pidfd])

        def report(step: Step) -> None:
            sockets.send(channel, _encode(step))

        answer: Message = perform(_decode(message), fds[:-1], report)
        sockets.send(channel, _encode(answer))
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        pass  # nobody waits for this job any more
    except BaseException as error:
        traceback.print_exc()
        sockets.send(channel, _encode(Failed("system", f"{type(error).__name__}: {error}")))
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
