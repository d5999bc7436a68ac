"""Freezing and thawing."""

from lighterman.containers.state import Containers


async def pause(cs: Containers, ref: str) -> None:
    """Freeze all processes. Raises: NoSuchContainer, Conflict. Source: ContainerPause."""
    raise NotImplementedError


async def unpause(cs: Containers, ref: str) -> None:
    """Thaw them. Raises: NoSuchContainer, Conflict. Source: ContainerUnpause."""
    raise NotImplementedError
