"""Execs: further processes in running containers."""

from collections.abc import Awaitable

from lighterman import containers
from lighterman.api import gates
from lighterman.api.handlers.elsewhere import here_or_elsewhere
from lighterman.api.request import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Reply, Request, Taken, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody
from lighterman.runtime import Client


async def create(request: Request, rooms: Rooms) -> Answer:
    """ContainerExec."""
    body = await request.body(ExecCreateBody)
    body = gates.gated(body, gates.EXEC_CREATE, request.version)
    ref = request.names["id"]
    here = containers.exec_create(rooms.containers, ref, body)
    made = await here_or_elsewhere(rooms, here, lambda there: there.exec_create(ref, body))
    return reply(made, 201)


async def start(request: Request, rooms: Rooms) -> Answer:
    """ExecStart."""
    body = gates.gated(await request.body(ExecStartBody), gates.EXEC_START, request.version)
    kind = MULTIPLEXED_STREAM if request.version >= (1, 42) and not body.tty else RAW_STREAM
    id = request.names["id"]

    def take() -> Awaitable[Client]:
        return request.take(True, kind)

    here = containers.exec_start(rooms.containers, id, body, take)
    await here_or_elsewhere(rooms, here, lambda there: there.exec_start(id, body, take))
    return Reply() if body.detach else Taken()


async def resize(request: Request, rooms: Rooms) -> Answer:
    """ExecResize. 201, as dockerd answers (the specification says 200)."""
    rows, columns = request.integer("h"), request.integer("w")
    id = request.names["id"]
    here = containers.exec_resize(rooms.containers, id, rows=rows, columns=columns)
    await here_or_elsewhere(rooms, here, lambda there: there.exec_resize(id, rows=rows, columns=columns))
    return Reply()


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """ExecInspect."""
    id = request.names["id"]
    here = containers.exec_inspect(rooms.containers, id)
    return reply(await here_or_elsewhere(rooms, here, lambda there: there.exec_inspect(id)))
