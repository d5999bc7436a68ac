"""A request as handlers see it, and the forms of an answer.

`Reply` is whole and has a length; `Stream` goes out piece by piece and ends with its client; `Taken` says
that the connection has left HTTP (`hijack.py`) and nothing is to be sent. A `WebSocket` (`websocket.py`) is
an answer of its own kind: it speaks for as long as both ends do.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace
from multidict import MultiDict, MultiMapping

from lighterman.api import queries
from lighterman.api.decode import decode, encode
from lighterman.api.versions import Version
from lighterman.api.websocket import WebSocket
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters, parse_filters
from lighterman.runtime import Client

T = TypeVar("T")

JSON = "application/json"
TAR = "application/x-tar"
PLAIN_TEXT = "text/plain; charset=utf-8"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


class Reply(Struct, frozen=True):
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


class Stream(Struct, frozen=True):
    """An answer whose body comes as it is made."""

    chunks: AsyncIterator[bytes]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    head_at_once: bool = True
    """Whether the head goes before there is a body. Else with its first bytes: a client that reads no
    further than the head of a quiet load goes away when all is loaded, not before."""
    ahead_bytes: int = 1 << 20
    """How much of it is made before the client has read it."""
    patience_s: float | None = None
    """How long a client that has so much to read may read nothing, then it is cut off; None: for ever."""


class Taken(Struct, frozen=True):
    """No answer: the connection belongs to somebody else now."""


Answer = Reply | Stream | Taken | WebSocket


@asynccontextmanager
async def ended(items: AsyncIterator[T]) -> AsyncIterator[None]:
    """Closes `items` when the block ends: what a room holds for them goes with their client."""
    try:
        yield
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def reply(value: object, status: int = 200) -> Reply:
    """The answer that holds `value` as JSON."""
    return Reply(status, encode(value), JSON)


class Request(Struct, frozen=True):
    """What was asked: everything of HTTP that a handler may know."""

    version: Version
    names: Mapping[str, str]
    """The parts of the path that the route leaves open."""
    query: MultiMapping[str]
    headers: MultiMapping[str]
    """By name, in any case."""
    has_body: bool
    read: Callable[[], Awaitable[bytes]]
    """The whole body. Raises InvalidParameter when it is too large to be JSON."""
    chunks: Callable[[], AsyncIterator[bytes]]
    """The body as it comes, for what may be large."""
    take: Callable[[bool, str], Awaitable[Client]]
    """Take the connection over: whether Docker's headers go into the head, and what the stream is called."""
    upgrade: str
    """The protocol that the client of a hijacked request wants to speak from now on; "" for none."""
    switch: Callable[[str], Awaitable[Client]]
    """Take the connection over to speak this protocol."""
    websocket: Callable[[bool], WebSocket]
    """The connection as a websocket, still to be opened; the argument says whether it sends texts."""
    method: str = ""
    target: str = ""
    """As the client wrote it: the path, with its version, and the query."""
    user: str = ""
    """The name in the client's certificate; "" where it showed none."""

    def text(self, name: str) -> str:
        """The query's value; "" when it is not there."""
        return self.query.get(name, "")

    def texts(self, name: str) -> list[str]:
        """All values that the query has under this name."""
        return self.query.getall(name, [])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """The query's value as a boolean."""
        return queries.boolean(self.query.get(name), default=default)

    def integer(self, name: str) -> int:
        """The query's value, which must be a number."""
        return queries.integer(self.text(name))

    def seconds(self, name: str) -> int | None:
        """The query's value, a number, or None when it is not there."""
        return queries.integer(self.text(name)) if self.text(name) else None

    def filters(self) -> Filters:
        """The filters asked for."""
        return parse_filters(self.text("filters"))

    def with_filters(self, filters: Filters) -> "Request":
        """The request that asks for these."""
        query = MultiDict(self.query)
        query["filters"] = json.dumps({name: list(values) for name, values in filters.wanted.items()})
        return replace(self, query=query)

    def with_body(self, body: bytes) -> "Request":
        """The request whose body was read already, and is this."""

        async def read() -> bytes:
            return body

        async def chunks() -> AsyncIterator[bytes]:
            if body:
                yield body

        return replace(self, read=read, chunks=chunks)

    async def body(self, kind: type[T], *, empty: str = "got EOF while reading request body") -> T:
        """The JSON body. Raises InvalidParameter: not labelled as JSON, nothing there (`empty`), no fit."""
        self.check_json()
        body = await self.read()
        if not body:
            raise InvalidParameter(empty)
        return decode(body, kind)

    def check_json(self) -> None:
        """Raises InvalidParameter unless the body is labelled as JSON, or there is neither body nor label."""
        label = self.headers.get("content-type", "")
        if not label and not self.has_body:
            return
        if label.partition(";")[0].strip().lower() != JSON:
            raise InvalidParameter(f"Content-Type specified ({label}) must be 'application/json'")
