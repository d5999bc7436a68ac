"""Networks."""

from lighterman import containers
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.network import NetworkConnectBody, NetworkCreateBody, NetworkDisconnectBody
from lighterman.errdefs import NotFound


async def list_(request: Request, rooms: Rooms) -> Answer:
    """NetworkList. Below 1.28 each network comes with its containers."""
    found = rooms.networks.list(request.filters())
    if request.version < (1, 28):
        found = [rooms.networks.inspect(network.id) for network in found]
    return reply(found)


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """NetworkInspect."""
    network = rooms.networks.inspect(request.names["id"])
    if request.text("scope") not in ("", network.scope):
        raise NotFound(f"network {request.names['id']} not found")
    return reply(network)


async def create(request: Request, rooms: Rooms) -> Answer:
    """NetworkCreate."""
    return reply(await rooms.networks.create(await request.body(NetworkCreateBody)), 201)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """NetworkDelete."""
    await rooms.networks.remove(request.names["id"])
    return Reply(204)


async def prune(request: Request, rooms: Rooms) -> Answer:
    """NetworkPrune."""
    return reply(await rooms.networks.prune(request.filters()))


async def connect(request: Request, rooms: Rooms) -> Answer:
    """NetworkConnect."""
    body = await request.body(NetworkConnectBody)
    await containers.connect(rooms.containers, request.names["id"], body)
    return Reply(200)


async def disconnect(request: Request, rooms: Rooms) -> Answer:
    """NetworkDisconnect."""
    body = await request.body(NetworkDisconnectBody)
    await containers.disconnect(rooms.containers, request.names["id"], body)
    return Reply(200)
