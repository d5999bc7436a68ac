"""Containers: their life, their streams, and what is told about them."""

from collections.abc import AsyncIterator, Awaitable

from lighterman import containers
from lighterman.api import errors, gates
from lighterman.api.decode import encode
from lighterman.api.handlers.elsewhere import here_or_elsewhere
from lighterman.api.request import (
    MULTIPLEXED_STREAM,
    RAW_STREAM,
    Answer,
    Reply,
    Request,
    Stream,
    Taken,
    ended,
    reply,
)
from lighterman.api.rooms import Rooms
from lighterman.api.websocket import NoHandshake
from lighterman.apitypes.container import ContainerCreateBody, ContainerUpdateBody, ContainerWaitResponse
from lighterman.apitypes.stats import StatsResponse
from lighterman.errdefs import EngineError, InvalidParameter


async def list_(request: Request, rooms: Rooms) -> Answer:
    """ContainerList."""
    found = await containers.list_containers(
        rooms.containers,
        all=request.flag("all"),
        limit=request.integer("limit") if request.text("limit") else 0,
        size=request.flag("size"),
        filters=request.filters(),
    )
    return reply([gates.gated(one, gates.CONTAINER_SUMMARY, request.version) for one in found])


async def create(request: Request, rooms: Rooms) -> Answer:
    """ContainerCreate."""
    body = await request.body(ContainerCreateBody, empty="EOF")
    body = gates.gated(body, gates.CONTAINER_CREATE, request.version)
    if rooms.host.cgroup_mode != "v2":
        body = gates.gated(body, gates.CONTAINER_CREATE_ON_V1, request.version)
    made = await containers.create(
        rooms.containers,
        body,
        name=request.text("name"),
        platform=request.text("platform") if request.version >= (1, 41) else "",
        deep_read_only=request.version >= (1, 44),
    )
    return reply(made, 201)


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """ContainerInspect."""
    ref, size = request.names["id"], request.flag("size")
    here = containers.inspect(rooms.containers, ref, size=size)
    found = await here_or_elsewhere(rooms, here, lambda there: there.inspect(ref, size=size))
    return reply(gates.gated(found, gates.CONTAINER_INSPECT, request.version))


async def top(request: Request, rooms: Rooms) -> Answer:
    """ContainerTop."""
    return reply(await containers.top(rooms.containers, request.names["id"], ps_args=request.text("ps_args")))


async def logs(request: Request, rooms: Rooms) -> Answer:
    """ContainerLogs. Frames, or a terminal's bytes; labelled as moby does (20.10: not at all)."""
    options = containers.LogOptions(
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        follow=request.flag("follow"),
        timestamps=request.flag("timestamps"),
        details=request.flag("details"),
        since=request.text("since"),
        until=request.text("until"),
        tail=request.text("tail") or "all",
    )
    name = request.names["id"]
    read = await containers.logs(rooms.containers, name, options)
    return Stream(read, _stream_kind(request, rooms, name))


def _stream_kind(request: Request, rooms: Rooms, name: str) -> str:
    """What the bytes of a container's streams are called; that they come in frames is told since 1.42."""
    framed = request.version >= (1, 42) and not rooms.containers.find(name).config.tty
    return MULTIPLEXED_STREAM if framed else RAW_STREAM


async def stats(request: Request, rooms: Rooms) -> Answer:
    """ContainerStats. `one-shot` (1.41) wants nothing to compare with; nothing is waited for anyway."""
    name = request.names["id"]
    one_shot = request.version >= (1, 41) and request.flag("one-shot")
    if not request.flag("stream", default=True):
        sample = containers.stats(rooms.containers, name)
        return reply(containers.uncompared(sample) if one_shot else sample)
    if one_shot:
        rooms.containers.find(name)
        raise InvalidParameter("cannot have stream=true and one-shot=true")
    return Stream(_lines(containers.stats_stream(rooms.containers, name)))


async def _lines(samples: AsyncIterator[StatsResponse]) -> AsyncIterator[bytes]:
    async with ended(samples):
        async for sample in samples:
            yield encode(sample)


async def resize(request: Request, rooms: Rooms) -> Answer:
    """ContainerResize."""
    rows, columns = request.integer("h"), request.integer("w")
    await containers.resize(rooms.containers, request.names["id"], rows=rows, columns=columns)
    return Reply()


async def start(request: Request, rooms: Rooms) -> Answer:
    """ContainerStart. A body is refused: it is the HostConfig of clients before 1.22."""
    if request.has_body and (await request.read()).strip() not in (b"", b"{}", b"null"):
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    if request.text("checkpoint"):
        raise InvalidParameter("checkpoint is only supported in experimental mode")
    await containers.start(rooms.containers, request.names["id"])
    return Reply(204)


async def stop(request: Request, rooms: Rooms) -> Answer:
    """ContainerStop."""
    signal = _stop_signal(request)
    await containers.stop(
        rooms.containers, request.names["id"], timeout_s=request.seconds("t"), signal=signal
    )
    return Reply(204)


async def restart(request: Request, rooms: Rooms) -> Answer:
    """ContainerRestart."""
    name, signal = request.names["id"], _stop_signal(request)
    await containers.restart(rooms.containers, name, timeout_s=request.seconds("t"), signal=signal)
    return Reply(204)


def _stop_signal(request: Request) -> str:
    return request.text("signal") if request.version >= (1, 42) else ""


async def kill(request: Request, rooms: Rooms) -> Answer:
    """ContainerKill."""
    await containers.kill(rooms.containers, request.names["id"], signal=request.text("signal"))
    return Reply(204)


async def update(request: Request, rooms: Rooms) -> Answer:
    """ContainerUpdate."""
    body = await request.body(ContainerUpdateBody, empty="EOF")
    body = gates.gated(body, gates.CONTAINER_UPDATE, request.version)
    return reply(await containers.update(rooms.containers, request.names["id"], body))


async def rename(request: Request, rooms: Rooms) -> Answer:
    """ContainerRename."""
    await containers.rename(rooms.containers, request.names["id"], request.text("name"))
    return Reply(204)


async def pause(request: Request, rooms: Rooms) -> Answer:
    """ContainerPause."""
    await containers.pause(rooms.containers, request.names["id"])
    return Reply(204)


async def unpause(request: Request, rooms: Rooms) -> Answer:
    """ContainerUnpause."""
    await containers.unpause(rooms.containers, request.names["id"])
    return Reply(204)


async def attach(request: Request, rooms: Rooms) -> Answer:
    """ContainerAttach. Failures are told as dockerd does, which has taken the stream by then."""
    options = containers.AttachOptions(
        logs=request.flag("logs"),
        stream=request.flag("stream"),
        stdin=request.flag("stdin"),
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        detach_keys=request.text("detachKeys") or None,
    )
    name = request.names["id"]
    try:
        kind = _stream_kind(request, rooms, name)
        await containers.attach(rooms.containers, name, options, lambda: request.take(False, kind))
    except EngineError as error:
        return errors.raw(error)
    return Taken()


async def attach_websocket(request: Request, rooms: Rooms) -> Answer:
    """ContainerAttachWebsocket. All streams in one, without frames; below 1.42 none can be left out."""
    choice = request.version >= (1, 42)
    options = containers.AttachOptions(
        logs=request.flag("logs"),
        stream=request.flag("stream"),
        stdin=not choice or request.flag("stdin"),
        stdout=not choice or request.flag("stdout"),
        stderr=not choice or request.flag("stderr"),
        detach_keys=request.text("detachKeys") or None,
        framed=False,
    )
    websocket = request.websocket(request.version < (1, 28))
    try:
        await containers.attach(rooms.containers, request.names["id"], options, websocket.take)
    except NoHandshake as error:
        return Reply(400, str(error).encode(), close=True)
    return websocket


async def wait(request: Request, rooms: Rooms) -> Answer:
    """ContainerWait. The head is sent at once: a client starts the container when it has seen it."""
    if request.version < (1, 30):  # no condition then, and one whole answer
        return reply(await containers.wait(rooms.containers, request.names["id"]))
    end = containers.wait(rooms.containers, request.names["id"], request.text("condition"))
    return Stream(_one(end))


async def _one(end: Awaitable[ContainerWaitResponse]) -> AsyncIterator[bytes]:
    yield encode(await end)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """ContainerDelete."""
    ref = request.names["id"]
    if request.flag("link"):
        await containers.unlink(rooms.containers, ref)
    else:
        force, volumes = request.flag("force"), request.flag("v")
        await containers.remove(rooms.containers, ref, force=force, volumes=volumes)
    return Reply(204)


async def prune(request: Request, rooms: Rooms) -> Answer:
    """ContainerPrune."""
    return reply(await containers.prune(rooms.containers, request.filters()))
