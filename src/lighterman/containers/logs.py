"""Logs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lighterman.containers.state import Containers


@dataclass(frozen=True)
class LogOptions:
    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: str = ""  # as the client wrote it: seconds, RFC 3339 or a duration
    until: str = ""
    tail: str = "all"


def logs(cs: Containers, ref: str, options: LogOptions) -> AsyncIterator[bytes]:
    """What the container wrote, in 8-byte frames unless it has a terminal.

    Raises at once: NoSuchContainer, InvalidParameter. Source: ContainerLogs.
    """
    raise NotImplementedError
