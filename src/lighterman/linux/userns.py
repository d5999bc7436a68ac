"""User namespaces: made by a process that is gone at once, held by descriptors, used to shift owners.

An *id map* says which ids of the host are those of a namespace. A namespace can be made from any thread: the
process that it is made with sleeps, and is killed when its maps are written and its descriptors are open.
Nobody can make files through an idmapped mount under an id outside of the map: who has to, acts as an id of
the map (`acting_as`). Source: user_namespaces(7), mount_setattr(2), ioctl_ns(2).
"""

import ctypes
import errno
import fcntl
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from msgspec import Struct

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
_CLONE_FILES = 0x400
_WALL = 0x40000000  # __WALL: the sleeper sends no SIGCHLD, which others would hear
_NS_GET_USERNS = 0xB701
_CAPABILITY_VERSION_3 = 0x20080522
_SLEEP_S = 30
"""What is left of an engine that is killed in the middle of `create` ends by itself."""
_STACK_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.clone.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


class Range(Struct, frozen=True):
    """`length` ids from `inside` on in the namespace are those from `outside` on of the host."""

    inside: int
    outside: int
    length: int


class IdMap(Struct, frozen=True):
    """All ranges, users and groups. The namespace's root is in both."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    @property
    def root(self) -> tuple[int, int]:
        """Uid and gid that root of the namespace has on the host."""
        return self.outside(0, 0)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The ids of the host. Raises: OSError (EOVERFLOW): one is in no range."""
        return _outside(self.uids, uid), _outside(self.gids, gid)


def _outside(ranges: Sequence[Range], inside: int) -> int:
    for each in ranges:
        if each.inside <= inside < each.inside + each.length:
            return each.outside + inside - each.inside
    raise OSError(errno.EOVERFLOW, f"the id {inside} is not mapped")


def create(id_map: IdMap, *, network: bool = False) -> tuple[int, int]:
    """Close-on-exec fds of a new user namespace, and of a new network namespace that it owns, else -1.

    Takes some milliseconds. Raises: OSError (ENOSPC at the limit of namespaces; EINVAL: bad ranges).
    """
    stack = ctypes.create_string_buffer(_STACK_BYTES)
    top = (ctypes.addressof(stack) + _STACK_BYTES) & ~15
    flags = CLONE_NEWUSER | _CLONE_FILES | (CLONE_NEWNET if network else 0)
    pid = _libc.clone(ctypes.cast(_libc.sleep, ctypes.c_void_p), top, flags, _SLEEP_S)
    if pid < 0:
        raise _failure("clone")
    try:
        for kind, ranges in (("uid", id_map.uids), ("gid", id_map.gids)):
            text = "".join(f"{each.inside} {each.outside} {each.length}\n" for each in ranges)
            Path(f"/proc/{pid}/{kind}_map").write_text(text)
        user = _open(pid, "user")
        try:
            return user, _open(pid, "net") if network else -1
        except OSError:
            os.close(user)
            raise
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, _WALL)


def _open(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


@cache
def of_map(id_map: IdMap) -> int:
    """An fd of one namespace with this map, which lives as long as this process. Raises: OSError."""
    return create(id_map)[0]


def owner(namespace: int) -> int:
    """A close-on-exec fd of the user namespace that owns the namespace of this fd. Raises: OSError."""
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


def map_of(pid: int) -> IdMap | None:
    """The map of a process's namespace as this process sees it, None where nothing is mapped.

    Raises: OSError (ENOENT: there is no such process).
    """
    uids, gids = (
        tuple(
            Range(*map(int, line.split()))
            for line in Path(f"/proc/{pid}/{kind}_map").read_text().splitlines()
        )
        for kind in ("uid", "gid")
    )
    return None if all(each.inside == each.outside for each in uids + gids) else IdMap(uids, gids)


def enter(fd: int) -> None:
    """Move this process, of a single thread, into a user namespace, as its root.

    Raises: OSError (EINVAL with more threads than one, or when it is in it).
    """
    if _libc.setns(fd, CLONE_NEWUSER) < 0:
        raise _failure("setns")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_Sets = ctypes.c_uint32 * 6  # effective, permitted, inheritable; then the same for the higher half


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """What the calling thread makes in file systems belongs to these ids; it keeps all its capabilities.

    Overlay remembers who mounted it, and makes what it needs as that one. Source: setfsuid(2).
    """
    former_uid, former_gid = _libc.setfsuid(uid), _libc.setfsgid(gid)
    try:
        _raise_capabilities()  # another user of file systems loses those over them
        yield
    finally:
        _libc.setfsgid(former_gid)
        _libc.setfsuid(former_uid)
        _raise_capabilities()


def _raise_capabilities() -> None:
    """Make all effective that is permitted. Source: capset(2)."""
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), _Sets()
    if _libc.capget(ctypes.byref(header), ctypes.byref(sets)) < 0:
        raise _failure("capget")
    sets[0], sets[3] = sets[1], sets[4]
    if _libc.capset(ctypes.byref(header), ctypes.byref(sets)) < 0:
        raise _failure("capset")


def _failure(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
