"""Execs: further processes in running containers."""

from lighterman import containers
from lighterman.api import gates
from lighterman.api.request import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Reply, Request, Taken, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody


async def create(request: Request, rooms: Rooms) -> Answer:
    """ContainerExec."""
    body = await request.body(ExecCreateBody, empty="got EOF while reading request body")
    body = gates.gated(body, gates.EXEC_CREATE, request.version)
    return reply(await containers.exec_create(rooms.containers, request.names["id"], body), 201)


async def start(request: Request, rooms: Rooms) -> Answer:
    """ExecStart."""
    body = gates.gated(await request.body(ExecStartBody), gates.EXEC_START, request.version)
    kind = MULTIPLEXED_STREAM if request.version >= (1, 42) and not body.tty else RAW_STREAM
    await containers.exec_start(rooms.containers, request.names["id"], body, lambda: request.take(True, kind))
    return Reply() if body.detach else Taken()


async def resize(request: Request, rooms: Rooms) -> Answer:
    """ExecResize. 201, as dockerd answers (the specification says 200)."""
    rows, columns = request.integer("h"), request.integer("w")
    await containers.exec_resize(rooms.containers, request.names["id"], rows=rows, columns=columns)
    return Reply()


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """ExecInspect."""
    return reply(await containers.exec_inspect(rooms.containers, request.names["id"]))
