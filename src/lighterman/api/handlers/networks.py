"""Networks: this node's, and on a manager those of the swarm."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from lighterman import containers
from lighterman.api.handlers.services import exact_flag_explained
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.network import (
    Network,
    NetworkConnectBody,
    NetworkCreateBody,
    NetworkCreateResponse,
    NetworkDisconnectBody,
    NetworkPruneResponse,
)
from lighterman.errdefs import Conflict, NotFound, Unavailable
from lighterman.networks import NeedsSwarm

if TYPE_CHECKING:
    from lighterman.swarm.store import Store


ON_EVERY_NODE = ("bridge", "host")
"""Networks that a service may be in though they are no swarm's: it has them by name."""


def _store(rooms: Rooms) -> "Store | None":
    """The swarm's memory on a manager that can work; None anywhere else."""
    if rooms.swarm.node is None:
        return None
    try:
        return rooms.swarm.manager.store
    except Unavailable:
        return None


async def list_(request: Request, rooms: Rooms) -> Answer:
    """NetworkList, the swarm's first. Below 1.28 each network comes with its containers."""
    filters = request.filters()
    found = rooms.networks.list(filters)
    if request.version < (1, 28):
        found = [rooms.networks.inspect(network.id) for network in found]
    store = _store(rooms)
    if store is not None:
        from lighterman.swarm.control import networks

        of_swarm = networks.list_(store.state, filters)
        found = of_swarm + [network for network in found if network.scope != "swarm"]
    return reply(found)


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """NetworkInspect."""
    ref, scope = request.names["id"], request.text("scope")
    verbose = exact_flag_explained(request, "verbose")
    network = _found(rooms, ref)
    store = _store(rooms)
    if store is not None and network.scope == "swarm":
        from lighterman.swarm.control.network_detail import detailed

        network = detailed(store.state, network, verbose=verbose)
    if scope == "swarm" and ref in ON_EVERY_NODE and store is not None:
        network = replace(network, id=ref, scope=scope, containers={})
    if scope not in ("", network.scope):
        raise NotFound(f"network {ref} not found")
    return reply(network)


def _found(rooms: Rooms, ref: str) -> Network:
    """This node's network, or the swarm's with what is in it here. Raises NotFound."""
    store, here, missing = _store(rooms), None, None
    try:
        here = rooms.networks.inspect(ref)
    except NotFound as error:
        missing = error
    if store is not None and (here is None or here.scope == "swarm"):
        from lighterman.swarm.control import networks

        of_swarm = networks.find(store.state, here.id if here else ref)
        if of_swarm is not None:
            shown = networks.shown(store.state, of_swarm)
            return replace(shown, containers=here.containers if here else None)
        if here is not None:  # it was removed, and this node is about to hear of it
            raise NotFound(f"network {ref} not found")
    if here is None:
        assert missing is not None
        raise missing
    return here


async def create(request: Request, rooms: Rooms) -> Answer:
    """NetworkCreate."""
    body = await request.body(NetworkCreateBody)
    of_swarm = body.driver == "overlay" or body.scope == "swarm" or body.ingress
    store = rooms.swarm.manager.store if of_swarm and rooms.swarm.node is not None else _store(rooms)
    if store is None:
        return reply(await rooms.networks.create(body), 201)
    from lighterman.swarm.control import networks

    if networks.has_name(store.state, body.name) or body.name in rooms.networks:
        raise Conflict(f"network with name {body.name} already exists")
    if not of_swarm:
        try:
            return reply(await rooms.networks.create(body), 201)
        except NeedsSwarm:  # the driver's networks are of all nodes: only overlay's can be
            body = replace(body, scope="swarm")
    return reply(NetworkCreateResponse(await networks.create(store, body)), 201)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """NetworkDelete."""
    network = _found(rooms, request.names["id"])
    if network.scope != "swarm":
        await rooms.networks.remove(network.id)
        return Reply(204)
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import networks

    await networks.remove(store, network.id)
    return Reply(204)


async def prune(request: Request, rooms: Rooms) -> Answer:
    """NetworkPrune, the swarm's networks too."""
    pruned = await rooms.networks.prune(request.filters())
    store = _store(rooms)
    if store is not None:
        from lighterman.swarm.control import networks

        deleted = [*(pruned.networks_deleted or []), *await networks.prune(store, request.filters())]
        pruned = NetworkPruneResponse(deleted or None)
    return reply(pruned)


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
