"""The HTTP server: runs on sockets that were given to it, and turns answers into bytes."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from lighterman.api.rooms import Rooms


@asynccontextmanager
async def serve(rooms: Rooms, listeners: Sequence[socket.socket], *, grace_s: float = 15.0) -> AsyncIterator[None]:
    """Answer requests on `listeners` (bound and listening, unix or TCP; they are closed at the end).

    Leaving the block stops: no new requests, readers are cut off, changes get `grace_s` to finish.
    """
    raise NotImplementedError
    yield
