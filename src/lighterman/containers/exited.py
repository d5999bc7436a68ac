"""When a process has ended."""

from lighterman.containers.state import Containers
from lighterman.runtime import Exit


async def on_exit(cs: Containers, container_id: str, end: Exit) -> None:
    """The runtime tells that a container's process has ended."""
    raise NotImplementedError


async def on_exec_exit(cs: Containers, container_id: str, exec_id: str, end: Exit) -> None:
    """The runtime tells that an exec's process has ended."""
    raise NotImplementedError


def on_detach(cs: Containers, container_id: str) -> None:
    """The runtime tells that a client has detached by keys."""
    raise NotImplementedError
