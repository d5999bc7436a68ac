"""What a process reads and writes, as values: where its output is kept and who else hears and feeds it."""

import socket
from collections.abc import Mapping

from msgspec import Struct, field


class LogFile(Struct, frozen=True):
    """A log on disk. Only the monitor writes it; `containers` reads it."""

    path: str
    max_size_bytes: int = 0
    """0: never rotated."""
    max_files: int = 1
    """The file itself and its rotated elders `.1`, `.2`, ..."""
    attrs: Mapping[str, str] = field(default_factory=dict)
    """Labels, variables and tag that each line carries as "attrs", in the form "json"."""
    form: str = "json"
    """"json", as Docker's json-file, or "records", as `lib.log_records`."""
    compress: bool = False
    """Elders are compressed, and end with `.gz`."""


class Shipped(Struct, frozen=True):
    """A log that a helper process of the monitor takes care of: it is sent, or may not be waited for."""

    driver: str
    """syslog, journald, gelf, fluentd, splunk, or "file": what is in the `LogFile`, and nothing else."""
    settings: Mapping[str, str | int] = field(default_factory=dict)
    """As the module of the driver in `runtime.drivers` names them."""
    ring_bytes: int | None = None
    """Of output that waits, the oldest is dropped beyond this. None: the process waits."""


class ProcessIO(Struct, frozen=True):
    """The stdio of one process, container or exec."""

    tty: bool
    stdin: bool
    """False: the process reads /dev/null."""
    stdin_once: bool
    """The end of the first client's input is the end of the process's input."""
    log: LogFile | None
    """None: what no client hears is lost (driver "none", every exec)."""
    size: tuple[int, int] | None
    """Rows and columns of the terminal at the start; only with `tty`."""
    shipped: Shipped | None = None
    """Where the output goes beside `log`."""
    owner: tuple[int, int] = (0, 0)
    """Uid and gid that the container's root has on the host: it may open its stdio anew."""


class Client(Struct, frozen=True):
    """A client's end of a hijacked stream; whoever takes it owns the socket and closes it."""

    sock: socket.socket
    """Connected; blocking or not does not matter."""
    early: bytes
    """What the client sent behind its request's head already."""
    head: bytes
    """The HTTP response head, written before anything else; b"" if it was written already."""


class AttachTo(Struct, frozen=True):
    """Which streams a client gets, and in which form."""

    stdin: bool
    stdout: bool
    stderr: bool
    detach_keys: bytes
    """As `lib.detach_keys.parse` gives them; b"": the client cannot detach by keys."""
    framed: bool
    """Each piece behind Docker's 8-byte header (no terminal)."""
