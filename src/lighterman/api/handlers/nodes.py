"""Nodes of the swarm. Everything heavy comes with the first request to a manager."""

from lighterman.api.handlers.swarm import version
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms


async def list_(request: Request, rooms: Rooms) -> Answer:
    """NodeList."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import nodes

    return reply(nodes.list_(store, request.filters()))


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """NodeInspect."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import nodes

    return reply(nodes.inspect(store, request.names["id"]))


async def update(request: Request, rooms: Rooms) -> Answer:
    """NodeUpdate."""
    store = rooms.swarm.manager.store
    from lighterman.apitypes.swarm import NodeSpec
    from lighterman.swarm.control import nodes

    spec = await request.body(NodeSpec)
    await nodes.update(store, request.names["id"], spec, version=version(request, "node"))
    return Reply(200)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """NodeDelete."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import nodes

    await nodes.remove(store, request.names["id"], force=request.flag("force"))
    return Reply(200)
