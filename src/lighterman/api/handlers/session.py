"""Session: a client lends the engine what its builds need."""

from lighterman.api.request import Answer, Request, Taken
from lighterman.api.rooms import Rooms
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.lib.effects import in_thread

_STABLE = (1, 39)
_HEADER = "X-Docker-Expose-Session-"


async def session(request: Request, rooms: Rooms) -> Answer:
    """Session. An experiment below 1.39. The connection speaks HTTP/2 from then on, and the client serves."""
    if request.version < _STABLE and not rooms.engine.experimental:
        raise Unimplemented(
            "This experimental feature is disabled by default. Start the Docker daemon in experimental mode "
            "in order to enable it."
        )
    if not request.upgrade:
        raise InvalidParameter("no upgrade proto in request")
    if request.upgrade != "h2c":
        raise InvalidParameter(f"protocol {request.upgrade} not supported")
    sessions = (await in_thread(rooms.builds)).sessions
    from lighterman.build import SessionWish  # not above: most engines never build

    wish = SessionWish(
        id=request.headers.get(f"{_HEADER}Uuid", ""),
        name=request.headers.get(f"{_HEADER}Name", ""),
        shared_key=request.headers.get(f"{_HEADER}Sharedkey", ""),
        methods=frozenset(method.lower() for method in request.headers.getall(f"{_HEADER}Grpc-Method", [])),
    )
    sessions.check(wish)
    sessions.begin(wish, await request.switch("h2c"))
    return Taken()
