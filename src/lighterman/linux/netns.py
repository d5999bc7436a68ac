"""Network namespaces: making, pinning, entering.

A namespace lives while a process is in it, an fd or a bind mount holds it. It belongs to threads: `new`
and `inside` move the calling thread and bring it back, so they are for a thread made for such work, never
for one of a shared pool. Source: network_namespaces(7), setns(2), ioctl_ns(2).
"""

import ctypes
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lighterman.linux import mount

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


def new() -> int:
    """A close-on-exec fd of a new namespace with nothing but a loopback that is down (0.4 ms).

    Raises: OSError (EPERM; ENOSPC at the limit of namespaces).
    """
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(CLONE_NEWNET) < 0:
            raise _failure("unshare")
        try:
            return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            enter(home)
    finally:
        os.close(home)


def enter(fd: int) -> None:
    """Move the calling thread into the namespace of `fd`. Raises: OSError (EINVAL: not a namespace)."""
    if _libc.setns(fd, CLONE_NEWNET) < 0:
        raise _failure("setns")


@contextmanager
def inside(fd: int) -> Iterator[None]:
    """The calling thread is in the namespace of `fd` while the block runs."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(fd)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def pin(fd: int, path: str) -> None:
    """Hold the namespace of `fd` by a bind mount on the file `path`, which is made if it is not there."""
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    mount.bind(f"/proc/self/fd/{fd}", path)


def unpin(path: str) -> None:
    """Take the mounts and the file away; idempotent. The kernel destroys the namespace in its own time."""
    while is_pinned(path):
        mount.umount(path, detach=True)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def open_pinned(path: str) -> int:
    """A close-on-exec fd of the namespace at `path` (a pin or /proc/PID/ns/net), owned by the caller.

    Raises: OSError (ENOENT; ENOTTY when it is only a file).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_pinned(path: str) -> bool:
    """Whether a namespace is mounted there."""
    try:
        os.close(open_pinned(path))
    except OSError:
        return False
    return True


def create(path: str) -> None:
    """Make a new namespace and pin it at `path`, from any thread."""

    def make() -> None:
        fd = new()
        try:
            pin(fd, path)
        finally:
            os.close(fd)

    _in_own_thread(make)


def delete(path: str) -> None:
    """The undo of `create`; idempotent."""
    unpin(path)


def run_in(path: str, call: Callable[[], T]) -> T:
    """The result of `call()` in a thread of its own that is in the namespace at `path`. Blocks."""

    def run() -> T:
        fd = open_pinned(path)
        try:
            enter(fd)  # the thread ends there: it need not come back
        finally:
            os.close(fd)
        return call()

    return _in_own_thread(run)


def _in_own_thread(call: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _failure(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
