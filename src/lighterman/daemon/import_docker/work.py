"""The taking over: the rooms of images and volumes are opened without an engine round them.

They are the same rooms with the same rows, so nothing has to be known twice of how things are kept; what is
cut off in the middle is tidied up by the next start of the engine, as always.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lighterman.content import Content, Workers
from lighterman.daemon.import_docker.docker_root import DockerImage, DockerRoot, DockerVolume
from lighterman.db import Database
from lighterman.errdefs import EngineError, NotFound
from lighterman.events import Events
from lighterman.images import Images
from lighterman.images.adopt import Offered
from lighterman.registry import Registry
from lighterman.snapshots import Snapshots
from lighterman.volumes import VolumeRow, Volumes

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import VolumeDriver

ANONYMOUS = "com.docker.volume.anonymous"
"""The label by which dockerd, since 23.0, knows the volumes that nobody has named."""


async def take_over(docker: DockerRoot, data_root: Path) -> int:
    """All images, then all volumes, with a line for each; how many could not be taken.

    Raises: EngineError: nothing could.
    """
    failed = 0
    async with _rooms(data_root) as (images, volumes):
        for image in docker.images():
            failed += await _told(f"image {image.title}", image.fault, _image(images, docker, image))
        for volume in docker.volumes():
            failed += await _told(f"volume {volume.name}", volume.fault, _volume(volumes, volume))
    return failed


async def _told(title: str, fault: str, work: Awaitable[str]) -> bool:
    """Print what has become of one; whether it could not be taken."""
    try:
        outcome = await work
    except EngineError as error:
        fault = fault or f"cannot be taken: {error}"
    click.echo(f"{title}: {fault or outcome}")
    return bool(fault)


async def _image(images: Images, docker: DockerRoot, image: DockerImage) -> str:
    if image.fault:
        return ""
    adopted = await images.adopt(Offered(image.raw, image.names, docker.tar, image.parent))
    told = "is here already" if adopted.was_here else "taken"
    if adopted.was_here and adopted.named:
        told += ", named anew: " + ", ".join(name.familiar() for name in adopted.named)
    if adopted.taken:
        told += ", without names that are another's here: " + ", ".join(
            name.familiar() for name in adopted.taken
        )
    return told


async def _volume(volumes: Volumes, volume: DockerVolume) -> str:
    if volume.fault:
        return ""
    row = VolumeRow(
        volume.name,
        volume.created_ns,
        volume.options or None,
        volume.labels or None,
        anonymous=ANONYMOUS in volume.labels,
    )
    return "taken" if await volumes.adopt(row, volume.copy_to) else "is here already"


@asynccontextmanager
async def _rooms(data_root: Path) -> AsyncIterator[tuple[Images, Volumes]]:
    """What `daemon.wiring` builds of the whole engine, without recovery: what runs may go on."""
    async with AsyncExitStack() as opened:
        db = Database(data_root / "state.db")
        opened.callback(db.close)
        workers = Workers()
        opened.push_async_callback(workers.close)
        content = Content(data_root)
        snapshots = Snapshots(content, db, workers)
        opened.push_async_callback(snapshots.close)
        events = Events(db)
        images = await Images.open(
            db=db,
            events=events,
            content=content,
            snapshots=snapshots,
            workers=workers,
            registry=Registry(),
            users=lambda image_id: (),
        )
        volumes = await Volumes.open(
            root=data_root / "volumes",
            db=db,
            events=events,
            users=lambda name: (),
            workers=workers,
            driver=_no_driver,
            driver_names=_no_names,
        )
        opened.push_async_callback(volumes.close)
        yield images, volumes


async def _no_names() -> Sequence[str]:
    return ()


async def _no_driver(name: str) -> "VolumeDriver":
    raise NotFound(f"plugin {name!r} not found")
