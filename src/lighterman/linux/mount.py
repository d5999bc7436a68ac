"""Mounts: the new mount API, and mount(2) and umount2(2) beside it.

Thin wrappers only: a file descriptor that a function returns is close-on-exec and owned by the caller,
and every failure is an OSError with the path. What to mount where is decided elsewhere. Paths may be
`/proc/self/fd/N`, so that what was opened is what is mounted on.
"""

import ctypes
import os
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_long, c_uint, c_uint64, c_void_p

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

CLONE_NEWNS = 0x20000

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_MOUNT_SETATTR = 442

_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = c_long
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, ctypes.c_ulong, c_char_p)
_libc.umount2.argtypes = (c_char_p, c_int)
_libc.unshare.argtypes = (c_int,)


class _MountAttr(ctypes.Structure):
    """Source: struct mount_attr of linux/mount.h."""

    _fields_ = (
        ("attr_set", c_uint64),
        ("attr_clr", c_uint64),
        ("propagation", c_uint64),
        ("userns_fd", c_uint64),
    )


def fsopen(kind: str) -> int:
    """A configuration context for a new file system of `kind` ("overlay").

    Raises: OSError (ENODEV: the kernel does not have it). Source: fsopen(2), Linux 5.2.
    """
    fd = _libc.syscall(c_long(_NR_FSOPEN), c_char_p(kind.encode()), c_uint(_FSOPEN_CLOEXEC))
    return _checked(fd, kind)


def fsconfig_set(fs_fd: int, key: str, value: str | None = None) -> None:
    """Set the option `key`, a flag when there is no value.

    Raises: OSError (EINVAL), with the kernel's own words where it left some. Source: fsconfig(2).
    """
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    _fsconfig(fs_fd, command, key, None if value is None else os.fsencode(value), 0)


def fsconfig_set_fd(fs_fd: int, key: str, fd: int) -> None:
    """Set the option `key` to an open file; overlay takes O_PATH ones since Linux 6.13.

    Raises: OSError (EINVAL). Source: fsconfig(2).
    """
    _fsconfig(fs_fd, _FSCONFIG_SET_FD, key, None, fd)


def fsconfig_create(fs_fd: int) -> None:
    """Make the file system of what was set. Raises: OSError. Source: fsconfig(2)."""
    _fsconfig(fs_fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fs_fd: int, attributes: int = 0) -> int:
    """A detached mount of the file system, as an O_PATH fd: closed, it is gone unless it was moved.

    `attributes` are MOUNT_ATTR_*. Raises: OSError. Source: fsmount(2).
    """
    fd = _libc.syscall(c_long(_NR_FSMOUNT), c_long(fs_fd), c_uint(_FSMOUNT_CLOEXEC), c_uint(attributes))
    return _checked(fd, "fsmount")


def open_tree(path: str, *, recursive: bool) -> int:
    """A detached copy of the mount at `path`, as an O_PATH fd.

    Raises: OSError with errno and filename (EPERM without CAP_SYS_ADMIN, ENOENT).
    Source: open_tree(2), Linux 5.2. Blocks for microseconds, no disk access.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    # syscall() is variadic: ctypes would pass a bare int as 32 bits.
    fd = _libc.syscall(c_long(_NR_OPEN_TREE), c_long(AT_FDCWD), c_char_p(os.fsencode(path)), c_long(flags))
    return _checked(fd, path)


def move_mount(mount_fd: int, target: str | int) -> None:
    """Attach the detached mount at `target`, a path or an open directory.

    Raises: OSError (ENOENT, EINVAL). Source: move_mount(2), Linux 5.2.
    """
    to_fd, to_path, flags = (
        (AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        if isinstance(target, str)
        else (target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)
    )
    done = _libc.syscall(
        c_long(_NR_MOVE_MOUNT),
        c_long(mount_fd),
        c_char_p(b""),
        c_long(to_fd),
        c_char_p(to_path),
        c_uint(flags),
    )
    _checked(done, str(target))


def mount_setattr(
    mount: str | int,
    *,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    userns: int = 0,
) -> None:
    """Change the attributes (MOUNT_ATTR_*) and the propagation (MS_*) of a mount, a path or an fd.

    `userns` is an fd of the user namespace that MOUNT_ATTR_IDMAP shows owners by.
    Raises: OSError (EINVAL, ENOSYS before Linux 5.12). Source: mount_setattr(2).
    """
    attributes = _MountAttr(set_, clear, propagation, userns)
    at_fd, path, flags = (
        (AT_FDCWD, os.fsencode(mount), 0) if isinstance(mount, str) else (mount, b"", AT_EMPTY_PATH)
    )
    done = _libc.syscall(
        c_long(_NR_MOUNT_SETATTR),
        c_long(at_fd),
        c_char_p(path),
        c_uint(flags | (AT_RECURSIVE if recursive else 0)),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _checked(done, str(mount))


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount, remount, bind or change propagation in the old way.

    Raises: OSError; options of a page and more fail (overlay with many layers). Source: mount(2).
    """
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(options) or None
    )
    _checked(done, target)


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show the tree at `source` at `target` too; `read_only` holds for this mount, not for those below.

    Raises: OSError (ENOENT, ENOTDIR when one is a directory and the other is not).
    """
    tree = open_tree(source, recursive=recursive)
    try:
        if read_only:
            mount_setattr(tree, set_=MOUNT_ATTR_RDONLY)
        move_mount(tree, target)
    finally:
        os.close(tree)


def make_shared(path: str, *, recursive: bool = False) -> None:
    """Let mounts below `path` appear in the copies of it. Raises: OSError (EINVAL: not a mount)."""
    mount_setattr(path, propagation=MS_SHARED, recursive=recursive)


def make_private(path: str, *, recursive: bool = False) -> None:
    """Keep mounts below `path` out of all copies of it. Raises: OSError (EINVAL: not a mount)."""
    mount_setattr(path, propagation=MS_PRIVATE, recursive=recursive)


def umount(path: str, *, detach: bool = False) -> None:
    """Take away the topmost mount at `path`, never following a link there.

    `detach` takes it out of sight at once, the rest when nobody uses it. An overlay's end writes out all
    dirty data of its upper file system: 100 ms and more. Raises: OSError (EINVAL: no mount, EBUSY).
    Source: umount2(2).
    """
    done = _libc.umount2(os.fsencode(path), UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0))
    _checked(done, path)


def unshare_mounts() -> None:
    """Give the calling thread a mount namespace of its own. Raises: OSError. Source: unshare(2)."""
    _checked(_libc.unshare(CLONE_NEWNS), "mount namespace")


def idmapped(path: str, userns: int) -> int:
    """A detached copy of the mount at `path` that shows owners by a user namespace's map, as an O_PATH fd.

    Raises: OSError (EINVAL: the file system cannot, Linux before 5.12; EPERM: it is idmapped already).
    """
    tree = open_tree(path, recursive=False)
    try:
        mount_setattr(tree, set_=MOUNT_ATTR_IDMAP, userns=userns)
    except OSError:
        os.close(tree)
        raise
    return tree


def overlay(
    lowers: Sequence[int],
    upper: str | int | None,
    work: str | int | None,
    options: Sequence[str] = (),
) -> int:
    """A detached overlay of the directories open as `lowers` (topmost first), read-only without an upper.

    `options` are overlay's flags ("volatile"). Up to 500 lowers, no limit of a page. Raises: OSError.
    Source: overlayfs of Linux 6.13, `lowerdir+` with file descriptors, of idmapped mounts too.
    """
    fs_fd = fsopen("overlay")
    try:
        fsconfig_set(fs_fd, "source", "overlay")
        for lower in lowers:
            fsconfig_set_fd(fs_fd, "lowerdir+", lower)
        if upper is not None and work is not None:
            for key, place in (("upperdir", upper), ("workdir", work)):
                if isinstance(place, int):
                    fsconfig_set_fd(fs_fd, key, place)
                else:
                    fsconfig_set(fs_fd, key, place)
        for option in options:
            fsconfig_set(fs_fd, option)
        fsconfig_create(fs_fd)
        return fsmount(fs_fd)
    finally:
        os.close(fs_fd)


def _fsconfig(fs_fd: int, command: int, key: str | None, value: bytes | None, aux: int) -> None:
    done = _libc.syscall(
        c_long(_NR_FSCONFIG),
        c_long(fs_fd),
        c_uint(command),
        c_char_p(key.encode() if key is not None else None),
        c_void_p() if value is None else c_char_p(value),
        c_long(aux),
    )
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, _kernels_words(fs_fd) or os.strerror(code), key)


def _kernels_words(fs_fd: int) -> str:
    """What the kernel says about the last failure of a context, "" when it says nothing."""
    try:
        return os.read(fs_fd, 4096).decode(errors="replace").strip().removeprefix("e ")
    except OSError:  # ENODATA: nothing to say
        return ""


def _checked(result: int, about: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), about)
    return result
