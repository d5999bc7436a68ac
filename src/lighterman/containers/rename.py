"""Renaming."""

from lighterman.containers.state import Containers


async def rename(cs: Containers, ref: str, name: str) -> None:
    """Give another name. Raises: NoSuchContainer, InvalidParameter, Conflict. Source: ContainerRename."""
    raise NotImplementedError
