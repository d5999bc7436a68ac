"""Making an image of a container."""

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from msgspec import Struct

from lighterman.apitypes.container import ContainerConfig
from lighterman.containers.errors import NoSuchContainer
from lighterman.containers.life import LIVING, Paused, Running
from lighterman.containers.merge import merge
from lighterman.containers.pause import freeze, thaw
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict
from lighterman.images import CommitWish, changed, tagged_reference
from lighterman.lib.effects import to_end


class CommitOptions(Struct, frozen=True):
    """What ImageCommit asks for beside the container."""

    repo: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    changes: Sequence[str] = ()
    pause: bool = True
    config: ContainerConfig | None = None
    """None: the container's own."""


async def commit(cs: Containers, ref: str, options: CommitOptions) -> str:
    """The id of the image. Its files are those of one moment when it is paused.

    Meanwhile the container can be stopped and killed, which ends the pause; its removal waits.
    Raises: NoSuchContainer, Conflict, InvalidParameter, System. Source: ImageCommit; daemon/commit.go, 20.10.
    """
    name = tagged_reference(options.repo, options.tag) if options.repo else None
    async with AsyncExitStack() as held:
        async with cs.locked(ref) as container:
            if cs.live(container.id).removing:
                raise Conflict(f"You cannot commit container {container.id} which is being removed")
            config = changed(options.config or container.config, options.changes)
            await _stand_still(cs, container, held, pause=options.pause)
            # the last in and the first out: a removal that waits for it has the container's lock
            upper = await held.enter_async_context(cs.snapshots.kept(container.id))
        wish = CommitWish(
            upper=upper,
            parent=container.image_id,
            config=merge(config, container.config),
            container_id=container.id,
            container_config=container.config,
            author=options.author,
            comment=options.comment,
        )
        image = await cs.images.commit(wish, name)
        cs.publish(
            container,
            "commit",
            comment=options.comment,
            imageID=image.id,
            imageRef=str(name) if name else "",
        )
    return image.id


async def _stand_still(cs: Containers, container: Container, held: AsyncExitStack, *, pause: bool) -> None:
    """Let its processes stand still until `held` ends, if it has some that run and `pause` is wished."""
    if not pause or not isinstance(container.life, LIVING):
        return
    if isinstance(container.life, Running):
        await freeze(cs, container, for_now=True)
    cs.live(container.id).commits += 1
    held.push_async_callback(_go_on, cs, container.id)


async def _go_on(cs: Containers, container_id: str) -> None:
    """The end of one commit, whoever is cancelled."""
    with suppress(NoSuchContainer):  # it was removed meanwhile
        await to_end(_end_pause(cs, container_id))


async def _end_pause(cs: Containers, container_id: str) -> None:
    """With the last commit the pause ends, unless somebody has ended it already."""
    async with cs.locked(container_id) as container:
        cs.live(container_id).commits -= 1
        frozen = isinstance(container.life, Paused) and container.life.for_now
        if frozen and not cs.live(container_id).commits:
            await thaw(cs, container)
