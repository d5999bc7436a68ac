"""Other mount namespaces: moving there, or a thread of its own visits and brings back what it found.

Source: mount_namespaces(7), setns(2).
"""

import ctypes
import os

from lighterman.linux.mount import open_tree

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


def enter(namespace: int) -> None:
    """Move the process to the mount namespace of this fd; its root and working directory are the root there.

    Only a process of a single thread may. Raises: OSError.
    """
    if _libc.setns(namespace, CLONE_NEWNS) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "mount namespace")


def clone_from(pid: int, path: str) -> int:
    """A detached copy of the mount that process `pid` sees at `path`: a new fd, owned by the caller.

    What the path leads to is that namespace's business: it never leaves it. Blocks. Raises: OSError (ENOENT).
    """
    import threading  # monitors have this module too, and pay for each that it needs
    from concurrent.futures import Future

    found: Future[int] = Future()

    def visit() -> None:
        try:
            found.set_result(_open_there(pid, path))
        except OSError as error:  # handed to the caller's thread
            found.set_exception(error)

    thread = threading.Thread(target=visit, name="mountns")
    thread.start()
    thread.join()
    return found.result()


def _open_there(pid: int, path: str) -> int:
    """Move the calling thread for good; it must have its own root and working directory for it."""
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(CLONE_FS) < 0 or _libc.setns(namespace, CLONE_NEWNS) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), f"mount namespace of {pid}")
    finally:
        os.close(namespace)
    return open_tree(path, recursive=False)
