"""Making an image of a container."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lighterman.apitypes.container import ContainerConfig
from lighterman.containers.life import Running
from lighterman.containers.merge import merge
from lighterman.containers.pause import freeze, thaw
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict
from lighterman.images import CommitWish, changed, tagged_reference
from lighterman.lib.effects import to_end


@dataclass(frozen=True)
class CommitOptions:
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

    The container is held against every change meanwhile: what is packed must not go away.
    Raises: NoSuchContainer, Conflict, InvalidParameter, System. Source: ImageCommit; daemon/commit.go, 20.10.
    """
    name = tagged_reference(options.repo, options.tag) if options.repo else None
    async with cs.locked(ref) as container:
        if cs.live(container.id).removing:
            raise Conflict(f"You cannot commit container {container.id} which is being removed")
        config = changed(options.config or container.config, options.changes)
        wish = CommitWish(
            upper=Path(cs.snapshots.dirs(container.id)["UpperDir"]),
            parent=container.image_id,
            config=merge(config, container.config),
            container_id=container.id,
            container_config=container.config,
            author=options.author,
            comment=options.comment,
        )
        async with _held(cs, container, pause=options.pause):
            image = await cs.images.commit(wish, name)
            cs.publish(
                container,
                "commit",
                comment=options.comment,
                imageID=image.id,
                imageRef=str(name) if name else "",
            )
    return image.id


@asynccontextmanager
async def _held(cs: Containers, container: Container, *, pause: bool) -> AsyncIterator[None]:
    """Its processes stand still meanwhile, if it has some that run and `pause` is wished."""
    if not (pause and isinstance(container.life, Running)):
        yield
        return
    frozen = await freeze(cs, container, for_now=True)
    try:
        yield
    finally:
        await to_end(thaw(cs, frozen))
