"""Authorization plugins: asked before a handler works, and again before its answer goes out.

A plugin sees exactly what the handler sees: the body is read once, and these bytes are what both get. No
route takes a body that is too large to be shown, however it is framed and labelled. What is never shown:
archives, which the operation, not the client's label, makes one (`Route.body_bytes`); credentials
(SystemAuth, and headers that hold some); and the pieces of an answer that goes on (a stream, a hijacked
connection), of which the plugin sees the head.

Source: "Access authorization plugin" of Docker's documentation; pkg/authorization of moby 20.10, whose limit
for bodies lets larger ones pass unseen (CVE-2024-41110 and CVE-2026-34040 are of this kind).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from lighterman.api.request import JSON, Answer, Reply, Request, Stream
from lighterman.api.routes import Route
from lighterman.api.websocket import WebSocket
from lighterman.errdefs import Conflict, EngineError, Forbidden, InvalidParameter, System
from lighterman.plugins import Plugins
from lighterman.runtime import Client

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import Authorization as Plugin
    from lighterman.plugins.interfaces import Verdict

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 4 << 20
"""What is shown of a request or an answer; dockerd's limit is 1 MiB, that of newer ones 4 MiB. No route lets
a larger body in that is to be shown."""
SECRET = frozenset({"SystemAuth"})
"""Operations whose bodies hold credentials."""
_HIDDEN_HEADERS = frozenset({"authorization", "x-registry-auth", "x-registry-config"})

Ask = Callable[["Plugin", Mapping[str, Any]], Awaitable["Verdict"]]


class Authorization:
    """Stands before all handlers; `names` are asked in this order, each has to allow."""

    def __init__(self, plugins: Plugins, names: Sequence[str]) -> None:
        self._plugins, self.names = plugins, tuple(dict.fromkeys(names))

    async def validate(self) -> None:
        """At the engine's start: raise System unless all of them are there."""
        for name in self.names:
            try:
                await self._plugins.authorization(name)
            except EngineError as error:
                raise System(f"validating authorization plugin: {error}") from error

    async def guard(
        self, route: Route, request: Request, ask_on: Callable[[Request], Awaitable[Answer]]
    ) -> Answer:
        """The answer of `ask_on`, if it may be asked and may answer so. Raises: Forbidden, System."""
        if not self.names:
            return await ask_on(request)
        shown = b""
        if route.body_bytes is not None:
            shown = await request.read()
            request = request.with_body(shown)
        facts = _asked(request, b"" if route.operation in SECRET else shown)
        await self._all(facts, lambda plugin, told: plugin.authorize_request(told))

        async def may_answer(answer: Mapping[str, Any]) -> None:
            await self._all({**facts, **answer}, lambda plugin, told: plugin.authorize_response(told))

        answer = await ask_on(_with_takers(request, may_answer))
        match answer:
            case Reply():
                await may_answer(_answered(answer, secret=route.operation in SECRET))
            case WebSocket():
                await may_answer({"ResponseStatusCode": 101})
            case Stream():
                await may_answer({"ResponseStatusCode": 200, "ResponseHeaders": dict(answer.headers)})
        return answer

    async def _all(self, facts: Mapping[str, Any], ask: Ask) -> None:
        """Raise Forbidden for the first that does not allow, System for one that does not answer."""
        for name in self.names:
            try:
                verdict = await ask(await self._plugins.authorization(name), facts)
            except Conflict:  # somebody who might has disabled it: as with dockerd it has no say then
                log.warning("op=authorize plugin=%s is disabled: it is not asked", name)
                continue
            except EngineError as error:
                raise System(f"plugin {name} failed with error: {error}") from error
            if not verdict.allow:
                raise Forbidden(f"authorization denied by plugin {name}: {verdict.message}")


def _with_takers(request: Request, may_answer: Callable[[Mapping[str, Any]], Awaitable[None]]) -> Request:
    """The request whose connection is taken over only if the plugins let it be."""

    async def take(with_headers: bool, kind: str) -> Client:
        await may_answer({"ResponseStatusCode": 101, "ResponseHeaders": {"Content-Type": kind}})
        return await request.take(with_headers, kind)

    async def switch(protocol: str) -> Client:
        await may_answer({"ResponseStatusCode": 101, "ResponseHeaders": {"Upgrade": protocol}})
        return await request.switch(protocol)

    return replace(request, take=take, switch=switch)


def _asked(request: Request, body: bytes) -> dict[str, Any]:
    """A request in the words of the plugin API."""
    facts: dict[str, Any] = {
        "RequestMethod": request.method,
        "RequestUri": request.target,
        "RequestHeaders": _shown(request.headers),
    }
    if request.user:
        facts |= {"User": request.user, "UserAuthNMethod": "TLS"}
    if body:
        facts["RequestBody"] = body
    return facts


def _answered(answer: Reply, *, secret: bool) -> dict[str, Any]:
    """A whole answer likewise. Raises: InvalidParameter: it is too large to be shown."""
    headers = dict(answer.headers)
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    facts: dict[str, Any] = {"ResponseStatusCode": answer.status, "ResponseHeaders": headers}
    if answer.content_type == JSON and not secret:
        if len(answer.body) > BODY_LIMIT_BYTES:
            raise InvalidParameter(
                f"the answer has more than {BODY_LIMIT_BYTES} bytes, too many for authorization plugins"
            )
        facts["ResponseBody"] = answer.body
    return facts


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HIDDEN_HEADERS}
