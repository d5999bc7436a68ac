"""Where kinds of failure become statuses, and the one place that logs what nobody expected."""

import logging

from msgspec import Struct

from lighterman import errdefs
from lighterman.api.decode import encode
from lighterman.api.request import JSON, PLAIN_TEXT, RAW_STREAM, Reply
from lighterman.api.versions import TooOld

log = logging.getLogger(__name__)

STATUS: dict[type[BaseException], int] = {
    errdefs.NotModified: 304,
    errdefs.InvalidParameter: 400,
    errdefs.Unauthorized: 401,
    errdefs.Forbidden: 403,
    errdefs.NotFound: 404,
    errdefs.Conflict: 409,
    errdefs.System: 500,
    errdefs.Unimplemented: 501,
    errdefs.Unavailable: 503,
}


class ErrorResponse(Struct, frozen=True):
    """The body of every failure."""

    message: str


def status_of(error: Exception) -> int:
    """The status of a failure; 500 for what has no kind, which is logged with its traceback here only."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    log.error("unexpected error", exc_info=error)
    return 500


def answer(error: Exception) -> Reply:
    """What the client hears of a failure: Docker's text under its status, never a traceback."""
    status = status_of(error)
    if status == 304:
        return Reply(304)
    if isinstance(error, TooOld):
        return Reply(400, f"{error}\n".encode(), PLAIN_TEXT, {"X-Content-Type-Options": "nosniff"})
    if status >= 500 and isinstance(error, errdefs.System):
        log.warning("%s", error)
    return Reply(status, encode(ErrorResponse(str(error))), JSON)


def raw(error: Exception) -> Reply:
    """A failure of attach: the text alone, labelled as the stream that was asked for.

    Source: dockerd 20.10.24, which writes it on the connection that it has taken over already.
    """
    return Reply(status_of(error), f"{error}\r\n".encode(), RAW_STREAM, close=True)
