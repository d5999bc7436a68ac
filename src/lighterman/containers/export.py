"""A container's files as one archive, without what is mounted into it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from lighterman.containers.life import Creating, Removing
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict


def export(cs: Containers, ref: str) -> AsyncIterator[bytes]:
    """The tar archive of its root file system, as it is made.

    Raises: NoSuchContainer, Conflict; the iterator raises System. Source: ContainerExport.
    """
    container = cs.find(ref)
    if isinstance(container.life, Creating | Removing):
        raise Conflict(f"You cannot export container {container.id} which is being removed")
    return _export(cs, container)


async def _export(cs: Containers, container: Container) -> AsyncGenerator[bytes, None]:
    async with aclosing(cs.snapshots.export(container.id, cs.id_map(container))) as pieces:
        async for piece in pieces:
            yield piece
    cs.publish(container, "export")
