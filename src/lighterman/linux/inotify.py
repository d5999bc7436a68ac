"""inotify(7): being told that files change, in place of looking again and again."""

import ctypes
import os
from ctypes import c_char_p, c_int, c_uint32

IN_MODIFY = 0x002
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_ONLYDIR = 0x1000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = (c_int,)
_libc.inotify_add_watch.argtypes = (c_int, c_char_p, c_uint32)


def open_watch(path: str, events: int) -> int:
    """A close-on-exec, non-blocking fd that is readable when one of `events` (IN_*) happens at `path`.

    For a directory: to the files in it. What is read from it are the events; read and drop them to wait
    for the next. Raises: OSError (ENOENT, EMFILE: too many watches). Source: inotify(7).
    """
    fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise _error("inotify")
    if _libc.inotify_add_watch(fd, os.fsencode(path), events) < 0:
        error = _error(path)
        os.close(fd)
        raise error
    return int(fd)


def _error(about: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), about)
