"""The daemon as a process: what it inherits, what it holds alone, what a supervisor hears of it.

Locks are POSIX record locks: a forked child never inherits them (a monitor that outlives its daemon must not
keep the next one out), and the kernel lets go of them however the daemon ends.
"""

import fcntl
import os
import resource
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lighterman.daemon.config import EngineConfig
from lighterman.errdefs import System
from lighterman.linux.mountinfo import read_mountinfo

NO_UPPER = ("overlay", "nfs", "nfs4", "cifs", "9p", "vfat", "exfat")
"""File systems that lack what an upper layer needs (trusted xattrs, d_type, RENAME_WHITEOUT)."""


def prepare_process() -> None:
    """Raise the limit of open files, fix the umask, and let no inherited descriptor reach a child."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.umask(0o022)
    os.chdir("/")  # the directory that it was started in can be unmounted
    # Debian's `su` leaves these out, and runc, nft and dockerd's tini live there.
    os.environ["PATH"] = ":".join(dict.fromkeys([*os.get_exec_path(), "/usr/sbin", "/sbin"]))
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and Path(f"/proc/self/fd/{fd}").exists():
            os.set_inheritable(fd, False)


def connections_possible() -> int:
    """How many clients this process has descriptors for, beside what it needs itself.

    Beyond the limit accept() fails again and again, and the engine cannot open its own files.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft - max(256, soft // 4))


def adjust_oom_score(score: int) -> None:
    """How soon the kernel kills this process when memory runs out; 0 leaves what a supervisor has set.

    Raises: System: below what it is, the kernel wants CAP_SYS_RESOURCE.
    """
    if score == 0:
        return
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except OSError as error:
        raise System(f"oom-score-adjust {score} cannot be set: {error.strerror}") from error


def set_proxies(config: EngineConfig) -> None:
    """Let the configured proxies be those of the environment, for all that asks registries.

    Helpers inherit them too. Source: overrideProxyEnv of moby.
    """
    for name, value in (
        ("HTTP_PROXY", config.http_proxy),
        ("HTTPS_PROXY", config.https_proxy),
        ("NO_PROXY", config.no_proxy),
    ):
        if value:
            os.environ[name] = os.environ[name.lower()] = value


def claim_data_root(root: Path) -> None:
    """Make the data root, unless something that is not ours lies there already, or it can hold no layers.

    Raises: System: dockerd's own root must never be taken for ours and tidied up.
    """
    _make(root, 0o711)
    found = {entry.name for entry in root.iterdir()}
    # a swarm may lie there that was restored for the first engine of a host
    if found - {"lost+found", "lock", "swarm"} and "state.db" not in found:
        raise System(f"{root} is not empty and is no data root of Lighterman: name another --data-root")
    if (kind := _file_system(root)) in NO_UPPER:
        raise System(
            f"{root} cannot hold layers: overlayfs has no upper layer on {kind}; name another --data-root"
        )
    root.chmod(0o711)  # containers of other users pass it; Source: setupDaemonRoot of moby


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell a supervisor that started this process what state it is in. Source: sd_notify(3).

    A supervisor that does not listen (any more) is no reason to fail.
    """
    if not (address := environment.get("NOTIFY_SOCKET", "")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, suppress(OSError):
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(state.encode())


def claim_exec_root(root: Path) -> None:
    """Make the exec root. Raises: System."""
    _make(root, 0o711)


def close_to_others(directory: Path) -> None:
    """Have the directory, and let others than root and its group neither list nor pass it."""
    _make(directory, 0o710)
    directory.chmod(0o710)


@contextmanager
def held_alone(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, which names this process, while the block lasts.

    Raises: System with the process that holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise System(f"{what} is in use: process with PID {holder} is still running") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def pidfile(path: Path) -> Iterator[None]:
    """`path` holds this process's id while the block lasts. Raises: System: another engine's does."""
    _make(path.parent, 0o755)
    with held_alone(path, f"pidfile {path}"):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _make(directory: Path, mode: int) -> None:
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise System(f"unable to make the directory {directory}: {error.strerror}") from error


def _file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`; "" in a chroot that is no mount."""
    place = directory.resolve()
    above = [mount for mount in read_mountinfo() if place.is_relative_to(mount.point)]
    return max(above, key=lambda mount: len(mount.point)).type if above else ""
