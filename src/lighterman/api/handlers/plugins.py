"""Plugins: none can be installed yet, so there is none; `docker inspect` of anything asks for one last."""

from lighterman.api.request import Answer, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.errdefs import NotFound


async def list_(request: Request, rooms: Rooms) -> Answer:
    """PluginList."""
    request.filters().check(("capability", "enabled"))
    return reply([])


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """PluginInspect."""
    raise NotFound(f'plugin "{request.names["name"]}" not found')
