"""The OpenAPI document: every route is in it, with what its handler reads, and its schemas are whole."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from lighterman.api import docs
from lighterman.api.described import DESCRIBED
from lighterman.api.openapi import document
from lighterman.api.routes import SERVED, Route

READERS = ("text", "texts", "flag", "integer", "seconds")
DOCUMENT = document()


def reads(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    """The parameters of the query that a handler reads, itself or by functions of its kind."""
    seen.add(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if not isinstance(node, ast.Call):
            continue
        words = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "request":
            yield from words[:1] if node.func.attr in READERS else ()
            yield from ("filters",) if node.func.attr == "filters" else ()
        elif node.args and ast.unparse(node.args[0]) == "request" and isinstance(node.func, ast.Name):
            called = function.__globals__.get(node.func.id)
            if isinstance(called, FunctionType) and called not in seen:
                yield from reads(called, seen)
            if called is not None and "name" in inspect.signature(called).parameters:
                yield from words[:1]


@pytest.mark.parametrize("route", SERVED, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_described_with_what_its_handler_reads(route: Route) -> None:
    assert isinstance(route.handler, FunctionType)
    assert set(reads(route.handler, set())) == set(DESCRIBED[route.operation].query)


@pytest.mark.parametrize("route", SERVED, ids=lambda route: f"{route.method} {route.path}")
def test_a_body_is_described_where_one_is_read(route: Route) -> None:
    """By the type that the handler gives to the decoder."""
    assert route.handler is not None
    source = inspect.getsource(route.handler)
    told = DESCRIBED[route.operation].body
    if (name := getattr(told, "__name__", "")) and isinstance(told, type) and "request.body(" in source:
        assert f"request.body({name}" in source
    assert ("request.body(" in source or "request.chunks()" in source) <= (told is not None)


def test_every_operation_is_in_the_document_once() -> None:
    operations = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len(operations) == len(SERVED)
    assert {each["operationId"].partition("_")[0] for each in operations} == set(DESCRIBED)


def test_every_reference_leads_to_a_schema() -> None:
    def refs(value: Any) -> Iterator[str]:
        match value:
            case {"$ref": str(ref)}:
                yield ref
            case dict():
                for each in value.values():
                    yield from refs(each)
            case list():
                for each in value:
                    yield from refs(each)

    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(refs(DOCUMENT)) <= known


def test_a_stream_of_documents_is_none_itself() -> None:
    content = DOCUMENT["paths"]["/events"]["get"]["responses"]["200"]["content"]["application/json"]
    assert content == {"x-item-schema": {"$ref": "#/components/schemas/Event"}}


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    docs.main(["--openapi"])
    printed = capsys.readouterr().out
    assert printed.startswith('{\n  "openapi": "3.1.0"')
    docs.main([])
    assert capsys.readouterr().out == docs.document()
