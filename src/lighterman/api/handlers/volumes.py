"""Volumes."""

from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.volume import VolumeCreateBody


async def list_(request: Request, rooms: Rooms) -> Answer:
    """VolumeList."""
    return reply(await rooms.volumes.list(request.filters()))


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """VolumeInspect."""
    return reply(await rooms.volumes.inspect(request.names["name"]))


async def create(request: Request, rooms: Rooms) -> Answer:
    """VolumeCreate."""
    body = await request.body(VolumeCreateBody)
    return reply(await rooms.volumes.create(body), 201)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """VolumeDelete."""
    await rooms.volumes.remove(request.names["name"], force=request.flag("force"))
    return Reply(204)


async def prune(request: Request, rooms: Rooms) -> Answer:
    """VolumePrune. Since 1.42 without the filter `all` only what nobody gave a name.

    Ours: `dry-run` tells what would go, `undo` brings a volume back from the trash.
    """
    if name := request.text("undo"):
        return reply(await rooms.volumes.bring_back(name))
    return reply(
        await rooms.volumes.prune(
            request.filters(), anonymous_only=request.version >= (1, 42), dry_run=request.flag("dry-run")
        )
    )
