"""Attaching."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lighterman.containers.state import Containers
from lighterman.runtime import Client


@dataclass(frozen=True)
class AttachOptions:
    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str | None = None  # None: the default, ctrl-p ctrl-q


async def attach(
    cs: Containers, ref: str, options: AttachOptions, take: Callable[[], Awaitable[Client]]
) -> None:
    """Connect a client's stream: validate, then `take` it, then hand it to the container's monitor.

    Raises (before the stream is taken): NoSuchContainer, InvalidParameter, Conflict. Source: ContainerAttach.
    """
    raise NotImplementedError


async def resize(cs: Containers, ref: str, *, rows: int, columns: int) -> None:
    """Set the size of the terminal. Raises: NoSuchContainer, NotRunning. Source: ContainerResize."""
    raise NotImplementedError
