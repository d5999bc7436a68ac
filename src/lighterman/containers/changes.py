"""What a container has changed of its image."""

from lighterman.apitypes.archive import ContainerChange
from lighterman.containers.state import Containers


async def changes(cs: Containers, ref: str) -> list[ContainerChange] | None:
    """Its changes in the order of their paths; None, as dockerd, when there are none.

    Raises: NoSuchContainer, System. Source: ContainerChanges.
    """
    container = cs.find(ref)
    found = await cs.snapshots.changes(container.id)
    listed = [ContainerChange(path=each.path.decode(errors="replace"), kind=each.kind) for each in found]
    return listed or None
