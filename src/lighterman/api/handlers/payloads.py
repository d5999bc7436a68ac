"""Secrets and configs of the swarm. Everything heavy comes with the first request to a manager."""

from lighterman.api.handlers.swarm import version
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.errdefs import InvalidParameter


def _version(request: Request, kind: str) -> int:
    """The version that an update names; dockerd says less of a wrong one than with other objects."""
    try:
        return version(request, kind)
    except InvalidParameter:
        raise InvalidParameter(f"invalid {kind} version") from None


async def list_secrets(request: Request, rooms: Rooms) -> Answer:
    """SecretList."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    return reply(payloads.list_secrets(store, request.filters()))


async def create_secret(request: Request, rooms: Rooms) -> Answer:
    """SecretCreate. Templates since 1.37."""
    store = rooms.swarm.manager.store
    from lighterman.api import gates_swarm
    from lighterman.apitypes.service import IdResponse, SecretSpec
    from lighterman.swarm.control import payloads

    spec = await request.body(SecretSpec)
    spec = gates_swarm.secret(spec, request.version)
    return reply(IdResponse(await payloads.create_secret(store, spec)), 201)


async def inspect_secret(request: Request, rooms: Rooms) -> Answer:
    """SecretInspect."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    return reply(payloads.inspect_secret(store, request.names["id"]))


async def update_secret(request: Request, rooms: Rooms) -> Answer:
    """SecretUpdate."""
    store = rooms.swarm.manager.store
    from lighterman.apitypes.service import SecretSpec
    from lighterman.swarm.control import payloads

    spec = await request.body(SecretSpec)
    index = _version(request, "secret")
    await payloads.update_secret(store, request.names["id"], spec, version=index)
    return Reply(200)


async def delete_secret(request: Request, rooms: Rooms) -> Answer:
    """SecretDelete."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    await payloads.remove_secret(store, request.names["id"])
    return Reply(204)


async def list_configs(request: Request, rooms: Rooms) -> Answer:
    """ConfigList."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    return reply(payloads.list_configs(store, request.filters()))


async def create_config(request: Request, rooms: Rooms) -> Answer:
    """ConfigCreate. Templates since 1.37."""
    store = rooms.swarm.manager.store
    from lighterman.api import gates_swarm
    from lighterman.apitypes.service import ConfigSpec, IdResponse
    from lighterman.swarm.control import payloads

    spec = await request.body(ConfigSpec)
    spec = gates_swarm.config(spec, request.version)
    return reply(IdResponse(await payloads.create_config(store, spec)), 201)


async def inspect_config(request: Request, rooms: Rooms) -> Answer:
    """ConfigInspect."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    return reply(payloads.inspect_config(store, request.names["id"]))


async def update_config(request: Request, rooms: Rooms) -> Answer:
    """ConfigUpdate."""
    store = rooms.swarm.manager.store
    from lighterman.apitypes.service import ConfigSpec
    from lighterman.swarm.control import payloads

    spec = await request.body(ConfigSpec)
    index = _version(request, "config")
    await payloads.update_config(store, request.names["id"], spec, version=index)
    return Reply(200)


async def delete_config(request: Request, rooms: Rooms) -> Answer:
    """ConfigDelete."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import payloads

    await payloads.remove_config(store, request.names["id"])
    return Reply(204)
