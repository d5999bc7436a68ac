"""What is not on this node, and may be on another one of the swarm: asked of managers only."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from lighterman.api.rooms import Rooms
from lighterman.errdefs import NotFound, Unavailable

if TYPE_CHECKING:
    from lighterman.swarm.node.elsewhere import Elsewhere

T = TypeVar("T")


async def here_or_elsewhere(
    rooms: Rooms, here: Awaitable[T], there: "Callable[[Elsewhere], Awaitable[T | None]]"
) -> T:
    """What this node says; if it knows no such thing, what another node does. Raises what `here` raises."""
    try:
        return await here
    except NotFound:
        if (elsewhere := _elsewhere(rooms)) is None or (found := await there(elsewhere)) is None:
            raise
        return found


def _elsewhere(rooms: Rooms) -> "Elsewhere | None":
    if rooms.swarm.node is None:
        return None
    try:
        return rooms.swarm.manager.elsewhere
    except Unavailable:
        return None
