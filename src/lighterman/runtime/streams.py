"""What a process reads and writes, as values: where its output is kept and who else hears and feeds it."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LogFile:
    """A json-file log in Docker's form. Only the monitor writes it; `containers` reads it."""

    path: str
    max_size_bytes: int = 0
    """0: never rotated."""
    max_files: int = 1
    """The file itself and its rotated elders `.1`, `.2`, ..."""
    attrs: Mapping[str, str] = field(default_factory=dict)
    """Labels, variables and tag that each line carries as "attrs"."""


@dataclass(frozen=True)
class ProcessIO:
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


@dataclass(frozen=True)
class Client:
    """A client's end of a hijacked stream; whoever takes it owns the socket and closes it."""

    sock: socket.socket
    """Connected; blocking or not does not matter."""
    early: bytes
    """What the client sent behind its request's head already."""
    head: bytes
    """The HTTP response head, written before anything else; b"" if it was written already."""


@dataclass(frozen=True)
class AttachTo:
    """Which streams a client gets, and in which form."""

    stdin: bool
    stdout: bool
    stderr: bool
    detach_keys: bytes
    """As `lib.detach_keys.parse` gives them; b"": the client cannot detach by keys."""
    framed: bool
    """Each piece behind Docker's 8-byte header (no terminal)."""
