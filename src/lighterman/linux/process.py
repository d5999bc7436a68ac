"""Processes: pidfds, what the kernel keeps of an end, and the signals a parent needs.

Monitors load this module: it imports nothing of weight (no `signal`, which brings `enum`).
"""

import ctypes
import fcntl
import os
import resource

from lighterman.linux import small_files

SIGKILL = 9
SIGCHLD = 17
CATCHABLE_SIGNALS = [number for number in range(1, 32) if number not in (SIGKILL, 19)]
"""What a child may have inherited as ignored and wants back at its default."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIG_BLOCK = 0
_SFD_CLOEXEC = os.O_CLOEXEC
_SFD_NONBLOCK = os.O_NONBLOCK
_PIDFD_INFO_SIZE = 64  # struct pidfd_info as first released
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO_SIZE << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.signal.restype = ctypes.c_void_p
_libc.sigemptyset.argtypes = [ctypes.c_void_p]
_libc.sigaddset.argtypes = [ctypes.c_void_p, ctypes.c_int]
_libc.sigprocmask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.signalfd.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]


def become_subreaper() -> None:
    """Take in the orphans below this process. Raises: OSError. Source: PR_SET_CHILD_SUBREAPER(2const)."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def rename_process(name: str) -> None:
    """Set what `ps -c` shows of this process, at most 15 bytes. Source: proc_pid_comm(5)."""
    small_files.write("/proc/self/comm", name.encode())


def signal_at_parents_end(number: int) -> None:
    """Have this signal sent to this process when its parent ends. Source: PR_SET_PDEATHSIG(2const)."""
    if _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def ignore_children() -> None:
    """Let the kernel reap the children of this process. Source: wait(2), SIGCHLD set to SIG_IGN."""
    _libc.signal(SIGCHLD, 1)


def children_fd() -> int:
    """A new fd, non-blocking and close-on-exec, readable after a child has ended.

    SIGCHLD is blocked from now on: give spawned programs an empty mask. Undoes `ignore_children`.
    Raises: OSError. Source: signalfd(2).
    """
    mask = ctypes.create_string_buffer(128)
    _libc.signal(SIGCHLD, 0)
    _libc.sigemptyset(mask)
    _libc.sigaddset(mask, SIGCHLD)
    _libc.sigprocmask(_SIG_BLOCK, mask, None)
    fd = _libc.signalfd(-1, mask, _SFD_CLOEXEC | _SFD_NONBLOCK)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return int(fd)


def give_back_memory() -> None:
    """Let the kernel have the memory back that was freed: a start needs more than what follows.

    Source: malloc_trim(3); a C library without it keeps what it has.
    """
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def raise_open_files() -> None:
    """Let this process, and what it starts from now on, have as many open files as it may.

    Source: getrlimit(2), RLIMIT_NOFILE; the usual 1024 is what select(2) can bear.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def shell_code(wait_status: int) -> int:
    """The exit code as a shell says it: 128 + signal for a signal. Source: wait(2)."""
    return os.WEXITSTATUS(wait_status) if os.WIFEXITED(wait_status) else 128 + os.WTERMSIG(wait_status)


def exit_code(pidfd: int) -> int | None:
    """The `shell_code` of a process that was no child of ours; None: not reaped yet, or an old kernel.

    Source: PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15; the pidfd must be older than the reaping.
    """
    info = bytearray(_PIDFD_INFO_SIZE)
    info[0] = _PIDFD_INFO_EXIT
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not info[0] & _PIDFD_INFO_EXIT:
        return None
    return shell_code(int.from_bytes(info[60:64], "little"))


def start_time(pid: int) -> int | None:
    """When a process was started, in ticks since boot: with the pid it names it once and for all.

    None: there is no such process. Source: proc_pid_stat(5), field 22.
    """
    try:
        text = small_files.read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text[text.rindex(b")") + 2 :].split()[19])


def boot_id() -> str:
    """A name for this boot of the machine. Source: proc_sys_kernel(5), random."""
    return small_files.read("/proc/sys/kernel/random/boot_id").decode().strip()
