"""Where things are in the exec root, and how it is made ready.

    c/<id>/             one container's run: config.json, request, pid, oci.log, state, mon.sock, exit
    c/<id>/x/<exec>/    one exec's run: process.json instead of config.json, the rest likewise
    oci/<runtime>/      the state of an OCI runtime
    seccomp/, probe/    compiled filters; throw-away containers

A run's directory goes when the run was deleted. `exit` is the last file that a monitor writes.
"""

import errno
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lighterman.linux.cgroup import Cgroup, Layout
from lighterman.runtime import fields
from lighterman.runtime.fields import Fields
from lighterman.runtime.outcomes import Exit
from lighterman.runtime.streams import LogFile, ProcessIO, Shipped

WRITTEN_FOR_S = 2.0


def prepare(exec_root: Path) -> None:
    """Make the exec root. Raises: OSError."""
    exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
    (exec_root / "c").mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(exec_root / "probe", ignore_errors=True)


def directory(exec_root: Path, id: str, exec_id: str | None) -> Path:
    """Of a container's run, or of an exec's."""
    container = exec_root / "c" / id
    return container if exec_id is None else container / "x" / exec_id


def request(name: str, io: ProcessIO, *, argv: list[str], runtime: str, cgroup: str, oom: str) -> bytes:
    """What a monitor needs to know, for its file `request`."""
    rows, columns = io.size or (0, 0)
    return fields.encode(
        name=name,
        argv=argv,
        runtime=runtime,
        cgroup=cgroup,
        oom=oom,
        tty=io.tty,
        stdin=io.stdin,
        once=io.stdin_once,
        uid=io.owner[0],
        gid=io.owner[1],
        rows=rows,
        columns=columns,
        **_log(io.log),
        **_shipped(io.shipped),
    )


def _log(log: LogFile | None) -> dict[str, fields.Value]:
    if log is None:
        return {}
    return {
        "log": log.path,
        "log_format": log.form,
        "log_max": log.max_size_bytes,
        "log_files": log.max_files,
        "log_compress": log.compress,
        "attrs": msgspec.json.encode(log.attrs, order="sorted").decode() if log.attrs else "",
    }


def _shipped(log: Shipped | None) -> dict[str, fields.Value]:
    if log is None:
        return {}
    return {
        "log.driver": log.driver,
        "log_drops": log.ring_bytes is not None,
        "log_ring": log.ring_bytes or 0,
        **{f"log.{name}": value for name, value in log.settings.items()},
    }


def oom_file(layout: Layout, cgroup: str) -> str:
    """The file with the counter `oom_kill` of a cgroup; "" where there is none."""
    below = cgroup.lstrip("/")
    if layout.mode == "v2" and layout.unified is not None:
        return str(layout.unified / below / "memory.events")
    if "memory" in layout.v1:
        return str(layout.v1["memory"] / below / "memory.oom_control")
    return ""


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Make a run's directory. Raises: FileExistsError: the last run was not deleted."""
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    directory.mkdir(mode=0o700)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def read(file: Path) -> bytes:
    """The content of a file, b"" when it is not there."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def read_request(directory: Path) -> Fields:
    return Fields(read(directory / "request"))


def read_state(directory: Path) -> Fields | None:
    """What the monitor wrote when the process ran; None: it never did."""
    state = read(directory / "state")
    return Fields(state) if state else None


def read_exit(directory: Path) -> Exit | None:
    """The end that the monitor wrote; None: it has not ended, or the monitor ended first."""
    end = read(directory / "exit")
    return exit_of(Fields(end)) if end else None


def exit_of(message: Fields) -> Exit:
    """The end as a monitor tells it, in a message or in its file."""
    at_ns = message.number("at")
    return Exit(message.number("code"), message.flag("oom"), at_ns, message.text("error"))


def lost_exit(why: str) -> Exit:
    """The end of a process whose code nobody could have: as if it had been killed, now."""
    return Exit(137, False, time.time_ns(), why)


def connect(directory: Path) -> socket.socket | None:
    """A connection to the monitor of a run; None: there is no monitor (any more)."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        control.connect(f"/proc/self/fd/{fd}/mon.sock")  # its own path may be too long for a socket
    except (ConnectionRefusedError, FileNotFoundError):
        control.close()
        return None
    finally:
        os.close(fd)
    return control


def kill(cgroup: Cgroup | None) -> None:
    """Kill all that lives in a cgroup, frozen or not."""
    if cgroup is not None and cgroup.pids():
        cgroup.kill()


def remove(directory: Path, states: Sequence[Path], cgroup: Cgroup | None) -> None:
    """Take away a container's cgroup with all that lives in it, the OCI runtime's state, the directory."""
    kill(cgroup)
    if cgroup is not None:
        cgroup.remove()
    for path in (*states, directory):
        _remove_tree(path)


def _remove_tree(path: Path) -> None:
    """A directory and all in it, also what the monitor of an exec that starts or ends writes meanwhile.

    Raises: OSError when it goes on for WRITTEN_FOR_S.
    """
    deadline = time.monotonic() + WRITTEN_FOR_S
    while path.exists():
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
