"""The OpenAPI document, made from the table of routes and from the types that bodies are read into.

`python -m lighterman.api.docs --openapi` prints it, the status page serves it, schemathesis asks the engine
by it (`make fuzz`). It says what this engine does: a schema is a Struct of `apitypes`.

Source: OpenAPI 3.1, whose schemas are JSON Schema 2020-12, as msgspec writes them.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from lighterman import __version__
from lighterman.api import versions
from lighterman.api.described import DESCRIBED, RAW, TAR, TEXT, Described
from lighterman.api.errors import ErrorResponse
from lighterman.api.request import JSON
from lighterman.api.routes import SERVED, Flow, Route

_OPEN_PART = re.compile(r"\{(\w+)(?::\.\*)?\}")
_BYTES = (TAR, RAW, TEXT)
_REF = "#/components/schemas/{name}"
_TAGS = {
    **dict.fromkeys(("_ping", "auth", "events", "info", "session", "version"), "system"),
    **dict.fromkeys(("build", "commit", "distribution"), "images"),
}
"""Where operations belong whose path does not say it."""
BODY_MAY_MISS = frozenset({"ImageCommit", "ImageCreate", "ImageBuild", "ImagePush"})
"""Operations that do something without a body, too."""


def document(routes: Sequence[Route] = SERVED) -> dict[str, Any]:
    """The document, ready to be written as JSON. Takes some 80 ms of computing."""
    types = [ErrorResponse]
    for route in routes:
        told = DESCRIBED[route.operation]
        types += [each for each in (told.gives, told.body) if each is not None and each not in _BYTES]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    refs = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_OPEN_PART.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(
            route, refs
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lighterman: the Docker Engine API",
            "version": versions.text(versions.DEFAULT),
            "description": f"What Lighterman {__version__} answers. `/v{versions.text(versions.OLDEST)}` to "
            f"`/v{versions.text(versions.NEWEST)}` may stand before each path.",
        },
        "servers": [{"url": f"/v{versions.text(versions.DEFAULT)}"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, refs: Mapping[str, Any]) -> dict[str, Any]:
    told = DESCRIBED[route.operation]
    same = sum(1 for other in SERVED if other.operation == route.operation and other.path == route.path)
    made: dict[str, Any] = {
        "operationId": route.operation if same == 1 else f"{route.operation}_{route.method.lower()}",
        "tags": [_TAGS.get(first := route.path[1:].partition("/")[0], first)],
        "parameters": _parameters(route, told),
        "responses": _responses(route, told, refs),
    }
    if text := _explained(route):
        made["description"] = text
    if route.since > versions.OLDEST:
        made["x-since"] = versions.text(route.since)
    if route.flow is not Flow.PLAIN:
        made["x-flow"] = route.flow.value
    if told.body is not None:
        made["requestBody"] = {
            "required": route.operation not in BODY_MAY_MISS,
            "content": _content(told.body, refs),
        }
    return made


def _explained(route: Route) -> str:
    """What the handler's docstring says beyond the operation's name."""
    text = inspect.getdoc(route.handler) or ""
    return text.removeprefix(route.operation).lstrip(".: ")


def _parameters(route: Route, told: Described) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _OPEN_PART.findall(route.path)
    ]
    in_query = [{"name": name, "in": "query", **_valued(kind)} for name, kind in told.query.items()]
    in_head = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in told.headers]
    return in_path + in_query + in_head


def _valued(kind: str) -> dict[str, Any]:
    match kind:
        case "array":
            return {"schema": {"type": "array", "items": {"type": "string"}}}
        case "object":
            return {"content": {JSON: {"schema": {"type": ["object", "array"]}}}}
    return {"schema": {"type": kind}}


def _responses(route: Route, told: Described, refs: Mapping[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": HTTPStatus(told.status).phrase}
    if told.gives is not None and route.method != "HEAD":
        done["content"] = _content(told.gives, refs)
        if route.flow is Flow.STREAM and JSON in done["content"]:  # one document after the other
            done["content"][JSON] = {"x-item-schema": done["content"][JSON]["schema"]}
    failed = {"description": "A failure, in Docker's words", "content": _content(ErrorResponse, refs)}
    return {str(told.status): done, "default": failed}


def _content(kind: Any, refs: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {}} if kind in _BYTES else {JSON: {"schema": refs[repr(kind)]}}
