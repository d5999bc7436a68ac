"""The zygote: a warm interpreter that forks a monitor per container and exec, in about a millisecond.

Started by the daemon as `python -I -S zygote.py FD`, a program rather than a module of the package: it takes
modules of `lighterman` one by one, without the packages' own `__init__`, and only such as need little of the
standard library. Each monitor is a copy of this process, so every import here is paid for in all of them.

On FD, a SEQPACKET socket, it is asked (`runtime.fields`) to `start` a monitor for a new process, to `adopt`
a process whose monitor died, to `call` a program. It never answers: whom it forks does, on the
socket that comes with the request. It ends when the daemon closes FD or dies; monitors do not.
"""

import _socket
import gc
import os
import sys


def make_importable(root: str) -> None:
    """Let `lighterman.room.module` be imported from `root` without running any `__init__`."""
    for room in ("", ".lib", ".linux", ".runtime", ".runtime.drivers"):
        name = f"lighterman{room}"
        package = type(sys)(name)
        package.__path__ = [os.path.join(root, *name.split(".")[1:])]
        sys.modules[name] = package


if __name__ == "__main__":
    make_importable(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lighterman.linux import process, sockets  # noqa: E402
from lighterman.runtime import caller, monitor, nulls, sealed, view  # noqa: E402
from lighterman.runtime.fields import Fields  # noqa: E402


def serve(requests: _socket.socket) -> None:
    """Fork one child per request, until the daemon is gone."""
    while True:
        message, fds = sockets.receive(requests)
        if not message:
            return
        request = Fields(message)
        if request.text("program"):
            sealed.seal(request.text("program"))
        if os.fork() == 0:
            requests.close()
            run_child(request, fds)
        for fd in fds:
            os.close(fd)


def run_child(request: Fields, fds: list[int]) -> None:
    """Be what was asked for, and end."""
    code = 1
    try:
        os.setsid()
        if request.text("do") == "call":
            caller.call(request, fds)
        else:
            monitor.run(request, fds)
        code = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def main(fd: int, hidden: list[str]) -> None:
    requests = _socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    os.chdir("/")
    os.umask(0o022)
    process.rename_process("lm-zygote")
    process.ignore_children()
    process.become_subreaper()  # a killed monitor's process falls to us: reaped at once, its code can be had
    view.prepare(hidden)
    nulls.prepare()
    gc.collect()
    gc.freeze()  # what children never write stays shared with them
    gc.disable()
    serve(requests)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
