"""openat2(2): opening a path that cannot leave a directory.

`RESOLVE_BENEATH` refuses what would leave it (EXDEV), `RESOLVE_IN_ROOT` resolves as a chroot would, so
that absolute links and `..` stay inside. Magic links (those of /proc) are refused with both.
"""

import ctypes
import os
from ctypes import c_char_p, c_long, c_size_t, c_uint64

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
"""No way out and no link on the way (ELOOP when there is one)."""
IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
"""As a process would see it whose root is the directory."""

_NR_OPENAT2 = 437
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = c_long


class _OpenHow(ctypes.Structure):
    """Source: struct open_how of linux/openat2.h."""

    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


def openat2(dir_fd: int, path: bytes, flags: int, *, resolve: int, mode: int = 0) -> int:
    """A close-on-exec fd of `path`, resolved from the directory `dir_fd` by the rules of `resolve`.

    `mode` only with O_CREAT. Raises: OSError (ENOENT, ELOOP, EXDEV; EAGAIN when a rename raced with a
    `..`: try again). Source: openat2(2), Linux 5.6.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    fd: int = _libc.syscall(
        c_long(_NR_OPENAT2), c_long(dir_fd), c_char_p(path), ctypes.byref(how), c_size_t(ctypes.sizeof(how))
    )
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return fd
