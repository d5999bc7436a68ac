"""A host's network in miniature: one namespace for an engine, one for the world outside it.

The engine's side has loopback and an uplink (`HOST_ADDRESS`) whose default route leads to the outside
(`OUTSIDE_ADDRESS`). Sockets belong to the namespace they are made in, so a test that stays where it is can
hold a socket of either side.
"""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
HOST_ADDRESS = "198.51.100.2"
OUTSIDE_ADDRESS = "198.51.100.1"
_libc = ctypes.CDLL(None, use_errno=True)


def run_in(netns: Path, call: Callable[[], T]) -> T:
    """`call()` made by a thread of its own that lives in `netns`; the caller stays where it is."""
    answer: Future[T] = Future()

    def visit() -> None:
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(netns))
            finally:
                os.close(fd)
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    return answer.result()


class Neighbourhood:
    """Two joined network namespaces. Made by the constructor, gone with `close()`."""

    def __init__(self) -> None:
        name = f"lmt-{secrets.token_hex(3)}"
        self.name, self.outside_name = name, f"{name}-out"
        self.netns, self.outside = Path("/run/netns") / name, Path("/run/netns") / self.outside_name
        for line in (
            f"netns add {name}",
            f"netns add {name}-out",
            f"-n {name} link add up0 type veth peer name down0 netns {name}-out",
            f"-n {name} addr add {HOST_ADDRESS}/24 dev up0",
            f"-n {name}-out addr add {OUTSIDE_ADDRESS}/24 dev down0",
            f"-n {name} link set lo up",
            f"-n {name} link set up0 up",
            f"-n {name}-out link set lo up",
            f"-n {name}-out link set down0 up",
            f"-n {name} route add default via {OUTSIDE_ADDRESS}",
        ):
            subprocess.run(["ip", *line.split()], check=True)

    def entered(self, argv: list[str]) -> list[str]:
        """`argv` for a process of the engine's side. Only the network differs: mounts stay the caller's."""
        return [shutil.which("nsenter") or "nsenter", f"--net={self.netns}", *argv]

    def connect(self, address: tuple[str, int], *, outside: bool = False) -> socket.socket:
        """A TCP connection made from the engine's side, or from `outside`."""
        where = self.outside if outside else self.netns
        return run_in(where, lambda: socket.create_connection(address, timeout=60))

    def listen(self, address: tuple[str, int], *, outside: bool = False) -> socket.socket:
        """A listening TCP socket of the engine's side, or of `outside`."""
        return run_in(
            self.outside if outside else self.netns,
            lambda: socket.create_server(address, backlog=64),
        )

    def close(self) -> None:
        """Remove both namespaces (and with them every link)."""
        for name in (self.name, self.outside_name):
            subprocess.run(["ip", "netns", "del", name], check=True)
