"""The HTTP server: runs on sockets that were given to it, and turns answers into bytes.

`serve` holds the server; `Front` is called for each request: it finds the route, lets the handler work and
sends what comes of it. A *reader* (GET, a stream) ends when its client goes away; a *change* is a task of the
server and goes on to its end whoever listens.
"""

import asyncio
import itertools
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lighterman.api import errors, versions, web
from lighterman.api.browsers import refuse_browsers
from lighterman.api.hijack import Connection, Crowd, Peer, Place, Server, stream_head, switched_head
from lighterman.api.request import Answer, Reply, Request, Stream, ended
from lighterman.api.roles import Role
from lighterman.api.rooms import Rooms
from lighterman.api.router import Router, cleaned, location
from lighterman.api.routes import DEBUG, EXPERIMENTAL, ROUTES, Flow, Route
from lighterman.api.tls import Wrapping
from lighterman.api.versions import Version
from lighterman.api.websocket import WebSocket
from lighterman.errdefs import InvalidParameter, NotFound, Unimplemented
from lighterman.lib.effects import to_end
from lighterman.lib.inline import inline
from lighterman.registry import upstream_client
from lighterman.runtime import Client

log = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The number of the request that is being answered; "" outside of one. It is on each line of the log."""

IDLE_LIMIT_S = 300.0
"""How long a connection may be without a whole request, as in moby (ReadHeaderTimeout)."""
UPLOAD_AHEAD_BYTES = 1 << 20
"""How much of an upload is read before somebody wants it: with less, both ends wait for each other."""
BODY_LIMIT_S = 60.0
"""How long a client may take to send a body that is read as a whole."""


class Listener(Struct, frozen=True):
    """A bound and listening socket, unix or TCP; with `tls` its clients are met in TLS."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None
    role: Role | None = None
    """What its clients may do; None: everything."""
    has_page: bool = False
    """It is for browsers: the status page is served there, and nothing else."""


Next = Callable[[Request], Awaitable[Answer]]
Work = Callable[[], Awaitable[Answer]]
Guard = Callable[[Route, Request, Next], Awaitable[Answer]]
"""Stands before every handler: it may refuse (raise), ask on with another request, or change the answer."""
Observe = Callable[[str, int, float], None]
"""Hears of each answer: the operation ("" for none), its status, the seconds that it took."""


class Deed(Struct, frozen=True):
    """Something that was asked to be changed, for an audit."""

    operation: str
    names: Mapping[str, str]
    """Which object: the parts of the path, and what of the query names one (`NAMING`)."""
    peer: Peer
    status: int
    """Of the answer, or of its beginning; 499 when the client has gone before there was one."""
    made: str = ""
    """The id of what came of it."""
    role: str = ""
    """Of the listener; "" for one that lets everything through."""


Audit = Callable[[Deed], Coroutine[Any, Any, None]]
"""Hears of each change, done or refused, before its answer goes out."""
NAMING = ("name", "fromImage", "repo", "tag", "container", "t", "path", "signal")
"""Of the query: what an operation concerns. None of them holds a secret, as `remote` may."""
GONE = 499
"""Nobody's status on the wire: nginx's word for a client that did not wait."""


@asynccontextmanager
async def serve(
    rooms: Rooms,
    listeners: Sequence[Listener],
    *,
    routes: Sequence[Route] = ROUTES + EXPERIMENTAL + DEBUG,
    pages: Sequence[Route] = (),
    grace_s: float = 15.0,
    most_connections: int = 10000,
    guard: Guard | None = None,
    observe: Observe | None = None,
    audit: Audit | None = None,
) -> AsyncIterator["Front"]:
    """Answer requests on `listeners`, which are closed at the end; on those for browsers only `pages`.

    Leaving the block stops: no new requests, readers are cut off, changes get `grace_s` to finish.
    """
    async with asyncio.TaskGroup() as group:
        front = Front(rooms, routes, pages, group, grace_s, guard, observe, audit)
        crowd = Crowd(most_connections)
        servers = [front.server(_place(listener), crowd) for listener in listeners]
        accepting = [
            await _accept(listener, server) for listener, server in zip(listeners, servers, strict=True)
        ]
        try:
            yield front
        finally:
            for each in accepting:
                each.close()
            await front.stop(servers)


def _place(listener: Listener) -> Place:
    if listener.sock.family == socket.AF_UNIX:
        return Place(role=listener.role)
    address, encrypted = listener.sock.getsockname()[0], listener.tls is not None
    return Place(address, encrypted=encrypted, role=listener.role, has_page=listener.has_page)


async def _accept(listener: Listener, server: Server) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    if listener.sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(server, sock=listener.sock)
    if (context := listener.tls) is not None:
        return await loop.create_server(lambda: Wrapping(context, server), sock=listener.sock)
    return await loop.create_server(server, sock=listener.sock)


class Front:
    """What stands before the handlers."""

    def __init__(
        self,
        rooms: Rooms,
        routes: Sequence[Route],
        pages: Sequence[Route],
        group: asyncio.TaskGroup,
        grace_s: float,
        guard: Guard | None,
        observe: Observe | None,
        audit: Audit | None,
    ) -> None:
        self._router = Router(routes)
        self._pages = Router(pages)
        self._group = group
        self._guard = guard
        self._observe = observe
        self._audit = audit
        self._numbers = itertools.count(1)
        self._readers: set[asyncio.Task[Any]] = set()
        self._changes: set[asyncio.Task[Answer]] = set()
        # Clients look for "Docker/" and read a version behind it, so we are called Docker here too.
        self.name = f"Docker/{rooms.engine.version} (linux)"
        self.grace_s = grace_s
        """What changes that are under way get when the server stops."""
        self.tell(rooms)

    def tell(self, rooms: Rooms) -> None:
        """From now on handlers work with `rooms`: the engine was configured anew."""
        self._rooms = rooms
        self._headers = {
            "Api-Version": versions.text(rooms.engine.api.newest),
            "Docker-Experimental": str(rooms.engine.experimental).lower(),
            "Ostype": "linux",
            "Server": self.name,
        }

    @property
    def under_way(self) -> int:
        """How many changes are being made."""
        return len(self._changes)

    def server(self, place: Place, crowd: Crowd) -> Server:
        """What makes a connection of each client that comes in at `place`."""
        return Server(
            self.serve_one,
            name=self.name,
            place=place,
            crowd=crowd,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_LIMIT_S,
            read_bufsize=UPLOAD_AHEAD_BYTES,
            max_line_size=64 * 1024,  # filters and build arguments live in the query
            max_field_size=512 * 1024,  # X-Registry-Config holds the credentials of all registries
        )

    async def serve_one(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; aiohttp calls this in a task of its own, which ends with the connection."""
        request_id.set(str(next(self._numbers)))
        upstream_client.set(http.headers.get("User-Agent", ""))
        began_s = time.monotonic()
        operation, answer = await self._answer(http)
        took_s = time.monotonic() - began_s
        if self._observe is not None:
            self._observe(operation, _status(answer), took_s)
        response = await self._send(http, answer)
        if log.isEnabledFor(logging.DEBUG):
            took_ms = (time.monotonic() - began_s) * 1000
            log.debug("%s %s %d %.1f ms", http.method, inline(http.path), response.status, took_ms)
        return response

    async def stop(self, servers: Sequence[Server]) -> None:
        """Cut off the readers, then wait for the changes; what is not done in time is cancelled."""
        for server in servers:
            server.pre_shutdown()  # connections without a request end now, the others after their answer
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*(server.shutdown(self.grace_s) for server in servers))
        if self._changes:
            await asyncio.wait(self._changes, timeout=self.grace_s)
        for change in self._changes:
            change.cancel()

    async def _answer(self, http: web.BaseRequest) -> tuple[str, Answer]:
        """The operation that was asked for, and its answer."""
        try:
            found = self._find(http)
            if isinstance(found, Reply):
                return "", found
            route, request = found
        except Exception as error:  # the border: here errors become answers
            return "", errors.answer(error)
        return route.operation, await self._asked(http, route, request)

    async def _asked(self, http: web.BaseRequest, route: Route, request: Request) -> Answer:
        assert isinstance(http.protocol, Connection)
        role, peer = http.protocol.place.role, http.protocol.peer
        work: Work = partial(self._work, route, request, role)
        told = _changes(route) or (role is not None and route.operation != "SystemPing")
        if self._audit is not None and peer is not None and told:
            deed = Deed(route.operation, _named(request), peer, GONE, role=str(role or ""))
            work = partial(self._audited, work, deed)
        if route.flow is Flow.STREAM or not _changes(route):
            return await work()
        change = self._group.create_task(self._change(route, request, work))
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        return await asyncio.shield(change)

    async def _audited(self, work: Work, deed: Deed) -> Answer:
        """Work, and the line about it, also when nobody waits for the answer any longer."""
        assert self._audit is not None
        try:
            answer = await work()
            deed = replace(deed, status=_status(answer), made=_made(answer))
        finally:
            await to_end(self._audit(deed))
        return answer

    async def _change(self, route: Route, request: Request, work: Work) -> Answer:
        """Work to its end, and the operator's line about it."""
        began_s = time.monotonic()
        answer = await work()
        took_ms = (time.monotonic() - began_s) * 1000
        names = (f"{name}={inline(value)}" for name, value in request.names.items())
        what, status = " ".join([route.operation, *names]), _status(answer)
        log.info("op=%s duration_ms=%.0f outcome=%s", what, took_ms, "ok" if status < 400 else status)
        return answer

    async def _work(self, route: Route, request: Request, role: Role | None) -> Answer:
        try:
            if role is not None:
                request = await role.admit(route, request, self._rooms)
            if self._guard is not None:
                return await self._guard(route, request, lambda asked: self._handle(route, asked))
            return await self._handle(route, request)
        except Exception as error:  # the border: here errors become answers
            return errors.answer(error)

    async def _handle(self, route: Route, request: Request) -> Answer:
        if route.handler is None:
            raise Unimplemented(f"{route.operation} is not implemented yet")
        return await route.handler(request, self._rooms)

    def _find(self, http: web.BaseRequest) -> Reply | tuple[Route, Request]:
        """The route and what it is asked. Raises: InvalidParameter, NotFound, Forbidden."""
        assert isinstance(http.protocol, Connection)
        place = http.protocol.place
        if place.address:
            own_name = self._rooms.host.hostname
            refuse_browsers(
                http.headers,
                place.address,
                own_name,
                encrypted=place.encrypted,
                own_page=place.has_page,
            )
        if http.method == "OPTIONS":
            return Reply()
        url = http.rel_url
        if (clean := cleaned(url.path)) != url.path:
            return Reply(301, headers={"Location": location(clean, url.raw_query_string)})
        wish, path = versions.split(url.path)
        found = (self._pages if place.has_page else self._router).find(http.method, path)
        if found is None:
            raise NotFound("page not found")
        version, (route, names) = self._rooms.engine.api.choose(wish), found
        if version < route.since:
            raise InvalidParameter(
                f"{route.method} {route.path} requires minimum API version {versions.text(route.since)}"
            )
        return route, self._request(http, route, version, names)

    def _request(
        self, http: web.BaseRequest, route: Route, version: Version, names: Mapping[str, str]
    ) -> Request:
        body = _Body(http, route.body_bytes)

        connection = http.protocol
        assert isinstance(connection, Connection)

        async def take(with_headers: bool, kind: str) -> Client:
            headers = self._headers if with_headers else {}
            return await connection.take(stream_head(connection, headers, kind))

        async def switch(protocol: str) -> Client:
            return await connection.take(switched_head(protocol))

        return Request(
            version=version,
            names=names,
            query=http.rel_url.query,
            headers=http.headers,
            has_body=http.body_exists,
            read=body.read,
            chunks=body.chunks,
            take=take,
            upgrade=connection.hijack.protocol if connection.hijack else "",
            switch=switch,
            websocket=lambda text: WebSocket(http, text=text),
            method=http.method,
            target=http.raw_path,
            user=connection.peer.certificate if connection.peer else "",
        )

    async def _send(self, http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        match answer:
            case Stream():
                return await self._send_stream(http, answer)
            case Reply():
                return self._response(http, answer)
            case WebSocket():
                return await self._serve_websocket(answer)
        raise ConnectionResetError("the connection belongs to somebody else now")

    def _response(self, http: web.BaseRequest, answer: Reply) -> web.Response:
        headers = {**self._headers, **answer.headers}
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        if http.method == "HEAD":  # aiohttp leaves it out, Go does not
            headers["Content-Length"] = str(len(answer.body))
        response = web.Response(status=answer.status, body=answer.body or None, headers=headers)
        connection = http.protocol
        if answer.close or (isinstance(connection, Connection) and connection.hijack is not None):
            response.force_close()  # what the client sent behind its request is not HTTP
        return response

    async def _send_stream(self, http: web.BaseRequest, answer: Stream) -> web.StreamResponse:
        headers = {**self._headers, **answer.headers, "Content-Type": answer.content_type}
        response = web.StreamResponse(headers=headers)
        reader = asyncio.current_task()
        assert reader is not None
        self._readers.add(reader)
        try:
            async with ended(answer.chunks):
                if http.transport is not None:
                    http.transport.set_write_buffer_limits(high=answer.ahead_bytes)
                if answer.head_at_once:
                    await response.prepare(http)
                async for chunk in answer.chunks:
                    await response.prepare(http)  # the first time only
                    await _write(http, response, chunk, answer.patience_s)
                await response.prepare(http)
            await response.write_eof()
        except OSError:
            raise  # the client is gone
        except Exception as error:  # the border: the head is sent, so the client can only be cut off
            errors.status_of(error)
            raise ConnectionResetError("the answer broke off") from error
        finally:
            self._readers.discard(reader)
        return response

    async def _serve_websocket(self, answer: WebSocket) -> web.StreamResponse:
        reader = asyncio.current_task()
        assert reader is not None
        self._readers.add(reader)
        try:
            await answer.served()
        finally:
            self._readers.discard(reader)
        return answer.response


async def _write(
    http: web.BaseRequest, response: web.StreamResponse, chunk: bytes, patience_s: float | None
) -> None:
    """Send the chunk, once the client has read enough of those before. Raises: OSError: it will not."""
    try:
        async with asyncio.timeout(patience_s):
            await response.write(chunk)
    except TimeoutError as error:
        log.info("a client is cut off that has read nothing for %.0f s", patience_s)
        if http.transport is not None:
            http.transport.abort()  # else what it does not read would be kept for it
        raise ConnectionResetError("the client does not read") from error


def _changes(route: Route) -> bool:
    """Whether the operation is more than a look."""
    return route.method not in ("GET", "HEAD") or route.flow in (Flow.HIJACK, Flow.WEBSOCKET)


def _status(answer: Answer) -> int:
    return answer.status if isinstance(answer, Reply) else 200


def _named(request: Request) -> dict[str, str]:
    """What it concerns, for an audit."""
    return {name: request.text(name) for name in NAMING if request.text(name)} | dict(request.names)


def _made(answer: Answer) -> str:
    """The id or name in the answer to a create."""
    if not isinstance(answer, Reply) or answer.status != 201 or not answer.body:
        return ""
    made = json.loads(answer.body)
    return str(made.get("Id") or made.get("ID") or made.get("Name") or "") if isinstance(made, dict) else ""


class _Body:
    """The body of one request."""

    def __init__(self, http: web.BaseRequest, most_bytes: int | None) -> None:
        self._http = http
        self._most_bytes = most_bytes or 0

    async def read(self) -> bytes:
        """All of it. Raises: InvalidParameter when it is too large (if it says so, at once) or broken."""
        self._check(self._http.content_length or 0)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_LIMIT_S):
                async for chunk in self.chunks():
                    body += chunk
                    self._check(len(body))
        except TimeoutError as error:
            raise InvalidParameter(f"the body did not come within {BODY_LIMIT_S:.0f} s") from error
        return bytes(body)

    def _check(self, length: int) -> None:
        if length > self._most_bytes:
            raise InvalidParameter("http: request body too large")

    async def chunks(self) -> AsyncIterator[bytes]:
        """It, as it comes. Raises: InvalidParameter when the client breaks off or its framing is wrong."""
        if self._http.headers.get("Expect", "").lower() == "100-continue" and self._http.version >= (1, 1):
            await self._http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._http.writer.output_size = 0  # the answer itself has not begun
        try:
            async for chunk in self._http.content.iter_any():
                yield chunk
        except (web.RequestPayloadError, ConnectionError) as error:
            raise InvalidParameter("unexpected EOF") from error
