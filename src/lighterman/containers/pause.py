"""Freezing and thawing."""

from lighterman.containers.errors import NotRunning
from lighterman.containers.life import Froze, Paused, Restarting, Running, Thawed
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict
from lighterman.lib.effects import rollback


async def pause(cs: Containers, ref: str) -> None:
    """Freeze all processes. Raises: NoSuchContainer, Conflict. Source: ContainerPause."""
    async with cs.locked(ref) as container:
        match container.life:
            case Running():
                await freeze(cs, container)
            case Paused():
                raise Conflict(f"Container {container.id} is already paused")
            case Restarting():
                raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
            case _:
                raise NotRunning(container.id)


async def unpause(cs: Containers, ref: str) -> None:
    """Thaw them. Raises: NoSuchContainer, Conflict. Source: ContainerUnpause."""
    async with cs.locked(ref) as container:
        if not isinstance(container.life, Paused):
            raise Conflict(f"Container {container.id} is not paused")
        await thaw(cs, container)


async def freeze(cs: Containers, container: Container, *, for_now: bool = False) -> Container:
    """Freeze the processes of one that runs, with its lock held; as it is then.

    `for_now`: whatever becomes of this engine, it does not stay so.
    """
    if for_now:  # the mark comes first: an engine that is killed in between thaws one that runs
        async with rollback() as undo:
            container = await cs.record(container, Froze(for_now))
            undo.push_async_callback(cs.record, container, Thawed())
            await cs.runtime.pause(container.id)
    else:
        await cs.runtime.pause(container.id)
        container = await cs.record(container, Froze())
    cs.publish(container, "pause")
    return container


async def thaw(cs: Containers, container: Container) -> Container:
    """Thaw the processes of one that is paused, with its lock held; as it is then."""
    await cs.runtime.unpause(container.id)
    container = await cs.record(container, Thawed())
    cs.publish(container, "unpause")
    return container
