"""The swarm as a whole. Whatever is heavy comes with the first request that needs it.

Each manager's verb asks for `rooms.swarm.manager` first: outside of a swarm that is the refusal.
"""

from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.errdefs import InvalidParameter


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """SwarmInspect."""
    manager = rooms.swarm.manager
    from lighterman.swarm.node import cluster

    return reply(cluster.inspect(manager))


async def init(request: Request, rooms: Rooms) -> Answer:
    """SwarmInit. Address pools since 1.39, the port of the data path since 1.40."""
    from lighterman.api import gates_swarm
    from lighterman.apitypes.swarm import SwarmInitBody

    body = await request.body(SwarmInitBody)
    return reply(await rooms.swarm.init(gates_swarm.init(body, request.version)))


async def join(request: Request, rooms: Rooms) -> Answer:
    """SwarmJoin."""
    from lighterman.apitypes.swarm import SwarmJoinBody

    await rooms.swarm.join(await request.body(SwarmJoinBody))
    return Reply(200)


async def leave(request: Request, rooms: Rooms) -> Answer:
    """SwarmLeave."""
    await rooms.swarm.leave(force=request.flag("force"))
    return Reply(200)


async def update(request: Request, rooms: Rooms) -> Answer:
    """SwarmUpdate."""
    index = version(request, "swarm")
    manager = rooms.swarm.manager
    from lighterman.apitypes.swarm import SwarmSpec
    from lighterman.swarm.node import cluster

    await cluster.update(
        manager,
        await request.body(SwarmSpec),
        version=index,
        rotate_worker_token=exact_flag(request, "rotateWorkerToken"),
        rotate_manager_token=exact_flag(request, "rotateManagerToken"),
        rotate_unlock_key=exact_flag(request, "rotateManagerUnlockKey"),
    )
    return Reply(200)


async def unlock_key(request: Request, rooms: Rooms) -> Answer:
    """SwarmUnlockkey."""
    manager = rooms.swarm.manager
    from lighterman.apitypes.swarm import SwarmUnlockKeyResponse
    from lighterman.swarm.node import cluster

    return reply(SwarmUnlockKeyResponse(cluster.unlock_key(manager)))


async def unlock(request: Request, rooms: Rooms) -> Answer:
    """SwarmUnlock."""
    from lighterman.apitypes.swarm import SwarmUnlockBody

    await rooms.swarm.unlock((await request.body(SwarmUnlockBody)).unlock_key)
    return Reply(200)


def version(request: Request, kind: str) -> int:
    """The version of the object that an update names. Raises InvalidParameter in the words of Go."""
    text = request.text("version")
    if text.isascii() and text.isdigit() and int(text[:20]) < 2**64:
        return int(text)
    problem = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    raise InvalidParameter(
        f"invalid {kind} version '{text}': strconv.ParseUint: parsing \"{text}\": {problem}"
    )


def exact_flag(request: Request, name: str) -> bool:
    """A boolean that is spelled as Go's ParseBool wants it; false when it is not there."""
    text = request.text(name)
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("", "0", "f", "F", "FALSE", "false", "False"):
        return False
    raise InvalidParameter(f"invalid value for {name}: {text}")
