"""Plugins: how they come, what they may do, and whether they run."""

from lighterman.api.credentials import registry_auth
from lighterman.api.decode import decode
from lighterman.api.handlers.images import progress
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.plugin import PluginPrivilege
from lighterman.errdefs import InvalidParameter, NotFound


async def list_(request: Request, rooms: Rooms) -> Answer:
    """PluginList."""
    filters = request.filters()
    if rooms.plugins.is_empty:
        filters.check(("capability", "enabled"))
        return reply([])
    return reply((await rooms.plugins.opened()).list(filters))


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """PluginInspect. `docker inspect` of anything asks for a plugin last."""
    name = request.names["name"]
    if rooms.plugins.is_empty:
        raise NotFound(f'plugin "{name}" not found')
    return reply((await rooms.plugins.opened()).inspect(name))


async def privileges(request: Request, rooms: Rooms) -> Answer:
    """GetPluginPrivileges."""
    plugins = await rooms.plugins.opened()
    return reply(await plugins.privileges(request.text("remote"), registry_auth(request.headers)))


async def pull(request: Request, rooms: Rooms) -> Answer:
    """PluginPull."""
    plugins = await rooms.plugins.opened()
    allowed = await _allowed(request)
    name, messages = await plugins.pull(
        request.text("remote"), request.text("name"), allowed, registry_auth(request.headers)
    )
    return progress(messages, {"Docker-Plugin-Name": name})


async def upgrade(request: Request, rooms: Rooms) -> Answer:
    """PluginUpgrade."""
    plugins = await rooms.plugins.opened()
    allowed = await _allowed(request)
    name, messages = await plugins.upgrade(
        request.names["name"], request.text("remote"), allowed, registry_auth(request.headers)
    )
    return progress(messages, {"Docker-Plugin-Name": name})


async def _allowed(request: Request) -> list[PluginPrivilege]:
    """What the client allows; null, as its library sends it, is nothing. Any label will do, as dockerd."""
    body = await request.read()
    try:
        return decode(body, list[PluginPrivilege])
    except InvalidParameter as error:
        raise InvalidParameter(f"failed to parse privileges: {error}") from error


async def create(request: Request, rooms: Rooms) -> Answer:
    """PluginCreate. The body is a tar, in whatever compression."""
    plugins = await rooms.plugins.opened()
    await plugins.create(request.text("name"), request.chunks())
    return Reply(204)


async def enable(request: Request, rooms: Rooms) -> Answer:
    """PluginEnable."""
    plugins = await rooms.plugins.opened()
    timeout_s = request.integer("timeout") if request.text("timeout") else 0
    await plugins.enable(request.names["name"], timeout_s=timeout_s)
    return Reply()


async def disable(request: Request, rooms: Rooms) -> Answer:
    """PluginDisable. Clients before 1.28 cannot force it."""
    plugins = await rooms.plugins.opened()
    force = request.flag("force") if request.version >= (1, 28) else False
    await plugins.disable(request.names["name"], force=force)
    return Reply()


async def delete(request: Request, rooms: Rooms) -> Answer:
    """PluginDelete."""
    plugins = await rooms.plugins.opened()
    await plugins.remove(request.names["name"], force=request.flag("force"))
    return Reply()


async def push(request: Request, rooms: Rooms) -> Answer:
    """PluginPush."""
    plugins = await rooms.plugins.opened()
    return progress(await plugins.push(request.names["name"], registry_auth(request.headers)))


async def set_(request: Request, rooms: Rooms) -> Answer:
    """PluginSet."""
    plugins = await rooms.plugins.opened()
    body = await request.read()
    if not body:
        raise InvalidParameter("got EOF while reading request body")
    await plugins.set(request.names["name"], decode(body, list[str]))
    return Reply(204)
