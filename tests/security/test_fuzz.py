"""Requests that nobody would send, made from the table of routes: no traceback, no unexpected error, no hang.

Each route is asked with names, queries and bodies that hypothesis makes up: of the right shape, nearly, and
not at all. What goes out to other hosts or changes this one is left out (`SPARED`).
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.engines import Engine
from tests.support.http import Http

from lighterman.api.decode import decode
from lighterman.api.routes import ROUTES, Flow, Route
from lighterman.api.versions import split
from lighterman.apitypes import container, exec, network, volume
from lighterman.errdefs import EngineError
from lighterman.lib.filters import parse_filters
from lighterman.lib.go_time import parse_duration, parse_timestamp

SPARED = re.compile(
    r"Swarm|Node|Service|Task|Secret|Config|Plugin|Session|Push|Search|Distribution|Build|Auth"
)
"""Other hosts and swarms; what pulls is asked for names that cannot be."""
BODIES: dict[str, type[msgspec.Struct]] = {
    "ContainerCreate": container.ContainerCreateBody,
    "ContainerUpdate": container.ContainerUpdateBody,
    "ContainerExec": exec.ExecCreateBody,
    "ExecStart": exec.ExecStartBody,
    "NetworkCreate": network.NetworkCreateBody,
    "NetworkConnect": network.NetworkConnectBody,
    "NetworkDisconnect": network.NetworkDisconnectBody,
    "VolumeCreate": volume.VolumeCreateBody,
}
WHOLE: dict[str, dict[str, Any]] = {
    "ContainerCreate": {"Image": "busybox", "Cmd": ["true"]},
    "ContainerExec": {"Cmd": ["true"]},
    "NetworkCreate": {"Name": "net"},
}
"""What makes a body whole enough to get to the rest of it."""
NAMES = st.one_of(
    st.sampled_from(
        ["busybox", "bridge", "none", "0" * 64, "sha256:" + "0" * 64, "a" * 300, "%", "..", "a/b:c"]
    ),
    st.just("box"),
    st.text(max_size=12),
)
PARAMETERS = """
    all force v link signal t h w stream one-shot tail since until follow stdout stderr timestamps
    details path filters limit size name condition detachKeys logs stdin repo tag comment author changes
    pause container platform noprune ps_args names quiet type shared-size digests
    """.split()  # noqa: SIM905 a list of words reads best as words
VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-1", "true", "999999999999999999999", "1e9", "ctrl-p,ctrl-q", "{}", "[]", "null"]
    ),
    st.sampled_from(
        ['{"a":["b"]}', '{"label":{"x":true}}', '{"until":["x"]}', "/etc", "../..", "1h", "\x00", "é"]
    ),
    st.text(max_size=10),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.sampled_from(
        ["", "x", "host", "none", "container:box", "1", "a:b", "/:/", "/a:/b:ro", "80/tcp", "80"]
    ),
    st.text(max_size=8),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def members(kind: type[msgspec.Struct], depth: int = 2) -> st.SearchStrategy[Any]:
    """Objects with some of the keys that `kind` has; the values are of any sort."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        inner = struct_in(field.type)
        fields[field.encode_name] = st.one_of(JUNK, members(inner, depth - 1)) if inner and depth else JUNK
    return st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: fields[key] for key in keys})
    )


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field's type is, or may be."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((kind for each in getattr(kind, "__args__", ()) if (kind := struct_in(each))), None)


def asked(route: Route) -> bool:
    """Whether the route can be asked anything at all without harm."""
    return (
        not SPARED.search(route.operation)
        and route.flow in (Flow.PLAIN, Flow.STREAM)
        and route.operation
        not in ("SystemEvents", "ContainerWait", "ContainerStats", "ContainerLogs", "ImageCreate")
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes | None]:
    """(method, path with its query, body) for one of the routes."""
    route = draw(st.sampled_from([route for route in ROUTES if asked(route)]))
    path = re.sub(r"\{\w+(:\.\*)?\}", lambda _: quote(draw(NAMES), safe="/"), route.path)
    query = draw(st.dictionaries(st.sampled_from(PARAMETERS), VALUES, max_size=3))
    body: bytes | None = None
    if route.method in ("POST", "PUT"):
        shaped = members(BODIES[route.operation]) if route.operation in BODIES else JUNK
        if whole := WHOLE.get(route.operation):
            shaped = shaped.map(lambda value: whole | value)
        body = draw(
            st.one_of(st.none(), st.binary(max_size=20), shaped.map(lambda value: json.dumps(value).encode()))
        )
    version = draw(st.sampled_from(["/v1.24", "/v1.36", "/v1.44", ""]))
    return route.method, f"{version}{path}?{urlencode(query)}", body


@pytest.fixture(scope="module")
def bare(engine: Engine) -> Iterator[Http]:
    """Without a version, and a container called box."""
    engine.docker("create", "--name=box", "busybox", "true")
    yield Http(engine.socket, prefix="", timeout_s=60)
    engine.clean()


@pytest.mark.engine
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(request=requests())
def test_no_request_brings_out_what_the_engine_did_not_expect(
    bare: Http, engine: Engine, request: tuple[str, str, bytes | None]
) -> None:
    method, target, body = request
    before = len(engine.log)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        answer = bare(method, target, body, headers)
    except HTTPException:
        answer = None  # an answer that broke off is told in the log
    said = engine.log[before:]
    assert "unexpected error" not in said, said[-3000:]
    assert answer is None or b"Traceback" not in answer.body


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), JUNK.map(lambda value: json.dumps(value))))
def test_filters_are_read_or_refused(text: str) -> None:
    read_or_refused(parse_filters, text)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), st.from_regex(r"[0-9hmsunµ.TZ:+-]{0,30}")))
def test_times_are_read_or_refused(text: str) -> None:
    for read in (parse_duration, lambda text: parse_timestamp(text, now_ns=0)):
        read_or_refused(read, text)


@settings(max_examples=300, deadline=None)
@given(path=st.text())
def test_a_version_is_cut_off_any_path(path: str) -> None:
    wish, rest = split(path)
    assert path.endswith(rest)
    assert wish == "" or path == f"/v{wish}{rest}"


@pytest.mark.parametrize("kind", BODIES.values(), ids=BODIES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bodies_are_read_or_refused(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    value = data.draw(members(kind))
    for raw in (json.dumps(value).encode(), json.dumps(value).encode()[: data.draw(st.integers(0, 60))]):
        read_or_refused(lambda raw: decode(raw, kind), raw)


def read_or_refused(read: Any, given: Any) -> None:
    """Nothing else than the two errors that are told to a client may come of it."""
    with suppress(EngineError, ValueError):
        read(given)
