"""Removing."""

from lighterman.containers.state import Containers


async def remove(
    cs: Containers, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
) -> None:
    """Make a container go away, with `force` a running one, with `volumes` its anonymous volumes too.

    Raises: NoSuchContainer, Conflict. Source: ContainerDelete.
    """
    raise NotImplementedError
