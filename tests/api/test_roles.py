"""Listeners with a role: the whole table of operations by role, what bodies may ask for, and what is seen."""

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import UNSET, structs
from msgspec.structs import replace
from multidict import CIMultiDict, MultiDict

from lighterman.api import confined
from lighterman.api.acts import ACTS, Act
from lighterman.api.decode import decode, encode
from lighterman.api.request import Request
from lighterman.api.roles import Role, may, parse_role
from lighterman.api.router import Router
from lighterman.api.routes import DEBUG, EXPERIMENTAL, ROUTES, Route
from lighterman.apitypes.container import (
    ContainerCreateBody,
    ContainerUpdateBody,
    EndpointSettings,
    HostConfig,
    LogConfig,
    Mount,
    NetworkingConfig,
)
from lighterman.apitypes.exec import ExecCreateBody
from lighterman.errdefs import Forbidden, InvalidParameter, NotFound
from lighterman.lib.filters import Filters

LOOK, NO_EXEC, TEAM = Role(read_only=True), Role(no_exec=True), Role(label="team=a")
OPERATIONS = sorted({route.operation for route in ROUTES})
WAY_IN = {
    *("ContainerExec", "ExecStart", "ExecResize", "PutContainerArchive"),
    *("ImageBuild", "Session", "ImageLoad", "ImageCommit", "ImageTag"),
}
"""Runs something in a container, puts something into one, or makes an image that others would run."""
FOR_TEAM = (
    {operation for operation in OPERATIONS if operation.startswith("Container")}
    | {"ExecInspect", "ExecResize", "ExecStart", "ImageHistory", "ImageInspect", "ImageList"}
    | {"NetworkInspect", "NetworkList", "PutContainerArchive", "VolumeInspect", "VolumeList"}
    | {"SystemEvents", "SystemInfo", "SystemPing", "SystemVersion"}
)


def test_every_operation_says_what_it_does() -> None:
    assert sorted(ACTS) == OPERATIONS


@pytest.mark.parametrize("role", [LOOK, NO_EXEC, TEAM], ids=str)
def test_what_is_in_no_table_is_refused(role: Role) -> None:
    assert not any(may(role, route.operation) for route in DEBUG + EXPERIMENTAL)
    assert not may(role, "SomethingNew")


def test_a_reader_gets_looks_alone() -> None:
    changing = {route.operation for route in ROUTES if route.method not in ("GET", "HEAD")}
    allowed = {operation for operation in OPERATIONS if may(LOOK, operation)}
    assert allowed & changing == {"ContainerWait"}
    assert {operation for operation in allowed if ACTS[operation][0] is not Act.LOOK} == set()
    withheld = {"ContainerArchive", "ContainerArchiveInfo", "ContainerExport", "ImageGet", "SwarmUnlockkey"}
    assert not allowed & (withheld | {"SwarmInspect", "ContainerAttachWebsocket"})


def test_without_exec_there_is_no_way_in() -> None:
    assert not any(may(NO_EXEC, operation) for operation in WAY_IN)
    changed = {
        operation
        for operation in OPERATIONS
        if may(NO_EXEC, operation) and ACTS[operation][0] not in (Act.LOOK, Act.READ, Act.ASK)
    }
    tended = {operation for operation in OPERATIONS if ACTS[operation][0] is Act.TEND}
    more = {"ContainerAttach", "ContainerAttachWebsocket", "ContainerCreate", "ImageCreate"}
    assert changed == tended | more


def test_a_label_is_for_containers() -> None:
    assert {operation for operation in OPERATIONS if may(TEAM, operation)} == FOR_TEAM


def test_restrictions_add_up() -> None:
    both = Role(no_exec=True, label="team=a")
    for operation in OPERATIONS:
        assert may(both, operation) == (may(NO_EXEC, operation) and may(TEAM, operation))


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("role=read-only", LOOK),
        ("role=no-exec&label=team=a", Role(no_exec=True, label="team=a")),
        ("label=team", Role(label="team")),
        ("label=team=a%26b", Role(label="team=a&b")),
    ],
)
def test_a_role_is_read(text: str, role: Role) -> None:
    assert parse_role(text) == role


@pytest.mark.parametrize(
    "text",
    [
        "",
        "role",
        "role=root",
        "role=",
        "label=",
        "label==x",
        "label=a&label=b",
        "rolE=read-only",
        "label=name",
    ],
)
def test_what_is_no_role_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_role(text)


# Bodies

GIVEN: Mapping[str, Any] = {
    "cgroupns_mode": "host",
    "ipc_mode": "host",
    "isolation": "hyperv",
    "log_config": LogConfig("syslog", {"syslog-address": "unix:///run/docker.sock"}),
    "security_opt": ["seccomp=unconfined"],
    "masked_paths": [],
    "readonly_paths": [],
}
"""What each of these fields must not be."""
OF_TYPE: Mapping[type, Any] = {str: "x", int: 7, bool: True, list: ["x"], dict: {"x": "y"}, float: 1.0}


def dangerous() -> list[str]:
    names = [each.name for each in structs.fields(HostConfig)]
    return [name for name in names if name not in confined.FREE]


def wished(name: str) -> Any:
    """A value of the field that is not its default."""
    if name in GIVEN:
        return GIVEN[name]
    default = getattr(HostConfig(), name)
    return ["x"] if default is None or default is UNSET else OF_TYPE[type(default)]


@pytest.mark.parametrize("name", dangerous())
@pytest.mark.parametrize("role", [NO_EXEC, TEAM], ids=str)
def test_a_field_that_reaches_beyond_the_container_is_refused(role: Role, name: str) -> None:
    body = ContainerCreateBody(image="x", host_config=structs.replace(HostConfig(), **{name: wished(name)}))
    with pytest.raises(Forbidden):
        confined.check_create(role, body)


def test_few_fields_are_free() -> None:
    assert {"privileged", "devices", "cap_add", "pid_mode", "volumes_from", "links"} <= set(dangerous())
    assert not confined.FREE - {each.name for each in structs.fields(HostConfig)}


@pytest.mark.parametrize(
    "body",
    [
        ContainerCreateBody(image="x", host_config=HostConfig(binds=["data:/data"])),
        ContainerCreateBody(image="x", host_config=HostConfig(binds=["a/../..:/data"])),
        ContainerCreateBody(image="x", host_config=HostConfig(mounts=[Mount("volume", "data", "/data")])),
        ContainerCreateBody(
            image="x",
            host_config=HostConfig(
                mounts=[
                    decode(
                        b'{"Type":"volume","Target":"/d","VolumeOptions":{"DriverConfig":{"Options":{"device":"/"}}}}',
                        Mount,
                    )
                ]
            ),
        ),
        ContainerCreateBody(image="x", host_config=HostConfig(binds=["/:/host"])),
        ContainerCreateBody(image="x", host_config=HostConfig(mounts=[Mount("bind", "/", "/host")])),
        ContainerCreateBody(image="x", host_config=HostConfig(network_mode="host")),
        ContainerCreateBody(image="x", host_config=HostConfig(network_mode="container:db")),
        ContainerCreateBody(image="x", host_config=HostConfig(network_mode="others")),
        ContainerCreateBody(image="x", networking_config=NetworkingConfig({"others": None})),
        ContainerCreateBody(image="x", networking_config=NetworkingConfig({"host": None})),
        ContainerCreateBody(
            image="x", networking_config=NetworkingConfig({"bridge": EndpointSettings(links=["db:db"])})
        ),
    ],
)
@pytest.mark.parametrize("role", [NO_EXEC, TEAM], ids=str)
async def test_what_belongs_to_others_is_not_used(role: Role, body: ContainerCreateBody) -> None:
    with pytest.raises(Forbidden):
        await admitted(role, "ContainerCreate", body=body)


async def test_what_carries_the_label_is_used() -> None:
    mine = HostConfig(binds=["mine:/data", "/anonymous"], network_mode="my-net")
    asked = await admitted(TEAM, "ContainerCreate", body=ContainerCreateBody(image="x", host_config=mine))
    assert decode(await asked.read(), ContainerCreateBody).host_config == mine
    with pytest.raises(Forbidden):
        await admitted(NO_EXEC, "ContainerCreate", body=ContainerCreateBody(image="x", host_config=mine))


@pytest.mark.parametrize(
    ("label", "asked", "made"),
    [
        ("team=a", None, {"team": "a"}),
        ("team=a", {"x": "y", "team": "a"}, {"x": "y", "team": "a"}),
        ("team", None, {"team": ""}),
        ("team", {"team": "b"}, {"team": "b"}),
    ],
)
async def test_a_new_container_carries_the_label(
    label: str, asked: dict[str, str] | None, made: dict[str, str]
) -> None:
    request = await admitted(
        Role(label=label), "ContainerCreate", body=ContainerCreateBody(image="x", labels=asked)
    )
    assert decode(await request.read(), ContainerCreateBody).labels == made
    assert b"".join([piece async for piece in request.chunks()]) == await request.read()


async def test_another_value_of_the_label_is_refused() -> None:
    with pytest.raises(Forbidden, match="another label team"):
        await admitted(TEAM, "ContainerCreate", body=ContainerCreateBody(image="x", labels={"team": "b"}))


async def test_a_key_in_another_case_is_read_as_the_handler_reads_it() -> None:
    raw = b'{"Image": "x", "LABELS": {"team": "b"}, "labels": null, "hostconfig": {"privileged": true}}'
    with pytest.raises(Forbidden, match="Privileged"):
        await admitted(TEAM, "ContainerCreate", raw=raw)


def test_a_body_that_is_written_anew_is_the_same() -> None:
    body = ContainerCreateBody(
        image="x",
        cmd=["a"],
        labels={"a": "b"},
        stop_timeout=3,
        host_config=HostConfig(init=True, console_size=[3, 4], masked_paths=None, memory=1 << 40),
        networking_config=NetworkingConfig({"bridge": None, "x": EndpointSettings(aliases=["y"])}),
    )
    for each in (body, ContainerCreateBody(), ContainerUpdateBody(memory=3), ExecCreateBody(cmd=["x"])):
        assert decode(encode(each), type(each)) == each


async def test_an_exec_of_a_label_is_not_privileged() -> None:
    ok = await admitted(TEAM, "ContainerExec", names={"id": "mine"}, body=ExecCreateBody(cmd=["x"]))
    assert ok.names == {"id": "1" * 64}
    with pytest.raises(Forbidden, match="Privileged"):
        await admitted(TEAM, "ContainerExec", names={"id": "mine"}, body=ExecCreateBody(privileged=True))


@pytest.mark.parametrize(
    "body",
    [
        b'{"Devices": [{"PathOnHost": "/dev/mem"}]}',
        b'{"CgroupParent": "/"}',
        b'{"DeviceCgroupRules": ["a *:* rwm"]}',
        b'{"OomKillDisable": true}',
        b'{"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}]}',
    ],
)
@pytest.mark.parametrize("role", [NO_EXEC, TEAM], ids=str)
async def test_an_update_is_of_limits_alone(role: Role, body: bytes) -> None:
    with pytest.raises(Forbidden):
        await admitted(role, "ContainerUpdate", names={"id": "mine"}, raw=body)


async def test_without_exec_nothing_more_is_published() -> None:
    more = b'{"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}'
    await admitted(TEAM, "ContainerUpdate", names={"id": "mine"}, raw=more)
    with pytest.raises(Forbidden, match="PortBindings"):
        await admitted(NO_EXEC, "ContainerUpdate", names={"id": "mine"}, raw=more)


# What is seen


class Rooms:
    """As much of an engine as roles look at."""

    mine: str = "1" * 64
    other: str = "2" * 64

    def __init__(self) -> None:
        by_ref = {self.mine: {"team": "a"}, "mine": {"team": "a"}, self.other: {"team": "b"}, "other": {}}
        ids = {"mine": self.mine, "other": self.other}

        def container(ref: str) -> Any:
            if ref not in by_ref:
                raise NotFound(f"No such container: {ref}")
            return SimpleNamespace(id=ids.get(ref, ref), config=SimpleNamespace(labels=by_ref[ref]))

        execs = {
            "e1": SimpleNamespace(container_id=self.mine),
            "e2": SimpleNamespace(container_id=self.other),
        }
        self.containers = SimpleNamespace(find=container, execs=execs)
        self.networks, self.volumes = Named("my-net"), Named("mine")


class Named:
    """Objects by name, one of which carries the label."""

    def __init__(self, mine: str) -> None:
        self.mine = mine

    def __contains__(self, name: str) -> bool:
        return name in (self.mine, "others")

    def find(self, name: str) -> Any:
        if name in (self.mine, "others", "data", "host"):
            return SimpleNamespace(id=f"id of {name}", labels={"team": "a"} if name == self.mine else None)
        raise NotFound(name)


def route_of(operation: str) -> Route:
    return next(route for route in ROUTES if route.operation == operation)


async def admitted(
    role: Role,
    operation: str,
    *,
    names: Mapping[str, str] | None = None,
    body: object = None,
    raw: bytes | None = None,
    version: tuple[int, int] = (1, 36),
    query: Mapping[str, str] | None = None,
) -> Request:
    """The request as the handler would get it."""
    data = encode(body) if raw is None else raw

    async def read() -> bytes:
        return data

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    unused = cast(Any, None)
    request = Request(
        version=version,
        names=names or {},
        query=MultiDict(query or {}),
        headers=CIMultiDict({"Content-Type": "application/json"}),
        has_body=True,
        read=read,
        chunks=chunks,
        take=unused,
        upgrade="",
        switch=unused,
        websocket=unused,
    )
    return await role.admit(route_of(operation), request, cast(Any, Rooms()))


OF_CONTAINERS = [
    route for route in ROUTES if route.path.startswith("/containers/{") and may(TEAM, route.operation)
]


@pytest.mark.parametrize("route", OF_CONTAINERS, ids=lambda route: route.operation)
async def test_others_containers_are_not_there(route: Route) -> None:
    for ref in ("other", "2" * 64, "nobody", ""):
        with pytest.raises(NotFound, match=f"No such container: {ref}"):
            await admitted(TEAM, route.operation, names={"id": ref})


@pytest.mark.parametrize("route", OF_CONTAINERS, ids=lambda route: route.operation)
async def test_a_reference_becomes_the_id_that_was_looked_at(route: Route) -> None:
    body = ExecCreateBody() if route.operation == "ContainerExec" else ContainerUpdateBody()
    assert (await admitted(TEAM, route.operation, names={"id": "mine"}, body=body)).names == {"id": "1" * 64}


@pytest.mark.parametrize("operation", ["ExecStart", "ExecResize", "ExecInspect"])
async def test_others_execs_are_not_there(operation: str) -> None:
    assert (await admitted(TEAM, operation, names={"id": "e1"})).names == {"id": "e1"}
    for ref in ("e2", "e3"):
        with pytest.raises(NotFound, match=f"No such exec instance: {ref}"):
            await admitted(TEAM, operation, names={"id": ref})


@pytest.mark.parametrize(
    "operation", ["ContainerList", "ContainerPrune", "VolumeList", "NetworkList", "SystemEvents"]
)
async def test_a_list_gets_one_more_filter(operation: str) -> None:
    asked = await admitted(TEAM, operation, query={"filters": '{"label": {"x=y": true}, "name": ["z"]}'})
    assert asked.filters().get("label") == ("x=y", "team=a")
    assert asked.filters().get("name") == ("z",)
    assert asked.query.getall("filters") == [asked.text("filters")]


async def test_events_are_those_of_containers() -> None:
    assert (await admitted(TEAM, "SystemEvents")).filters().get("type") == ("container",)
    images = await admitted(TEAM, "SystemEvents", query={"filters": '{"type": ["image"]}'})
    assert not images.filters().exact("type", "image")
    assert not images.filters().exact("type", "container")


@pytest.mark.parametrize("name", ["before", "since"])
async def test_a_list_is_not_asked_what_else_there_is(name: str) -> None:
    await admitted(TEAM, "ContainerList", query={"filters": f'{{"{name}": ["mine"]}}'})
    with pytest.raises(NotFound):
        await admitted(TEAM, "ContainerList", query={"filters": f'{{"{name}": ["other"]}}'})


async def test_networks_and_volumes_are_seen_by_their_label() -> None:
    assert (await admitted(TEAM, "NetworkInspect", names={"id": "my-net"})).names == {"id": "id of my-net"}
    assert (await admitted(TEAM, "VolumeInspect", names={"name": "mine"})).names == {"name": "mine"}
    with pytest.raises(NotFound, match="network others not found"):
        await admitted(TEAM, "NetworkInspect", names={"id": "others"})
    with pytest.raises(NotFound, match="get data: no such volume"):
        await admitted(TEAM, "VolumeInspect", names={"name": "data"})


@pytest.mark.parametrize("role", [LOOK, NO_EXEC, TEAM], ids=str)
async def test_no_column_is_called_pid_but_that_one(role: Role) -> None:
    await admitted(role, "ContainerTop", names={"id": "mine"}, query={"ps_args": "-o pid,args"})
    with pytest.raises(Forbidden, match="ps_args"):
        await admitted(role, "ContainerTop", names={"id": "mine"}, query={"ps_args": "-eorss=PID,args"})


async def test_a_link_is_somebody_elses_name() -> None:
    with pytest.raises(Forbidden):
        await admitted(TEAM, "ContainerDelete", names={"id": "mine"}, query={"link": "1"})


@pytest.mark.parametrize(
    ("operation", "version", "query", "goes"),
    [
        ("ContainerAttach", (1, 36), {"stdout": "1"}, True),
        ("ContainerAttach", (1, 36), {"stdin": "1"}, False),
        ("ContainerAttach", (1, 36), {"stdin": "false"}, True),
        ("ContainerAttachWebsocket", (1, 36), {"stdout": "1"}, False),
        ("ContainerAttachWebsocket", (1, 42), {"stdout": "1"}, True),
        ("ContainerAttachWebsocket", (1, 42), {"stdin": "1"}, False),
        ("ImageCreate", (1, 36), {"fromImage": "busybox"}, True),
        ("ImageCreate", (1, 36), {"fromSrc": "-"}, False),
        ("ImageCreate", (1, 36), {"fromImage": "", "fromSrc": "-"}, False),
    ],
)
async def test_without_exec_nothing_goes_in(
    operation: str, version: tuple[int, int], query: dict[str, str], goes: bool
) -> None:
    if goes:
        await admitted(NO_EXEC, operation, version=version, names={"id": "mine"}, query=query)
    else:
        with pytest.raises(Forbidden):
            await admitted(NO_EXEC, operation, version=version, names={"id": "mine"}, query=query)


async def test_a_reader_of_a_label_sees_its_own() -> None:
    role = replace(TEAM, read_only=True)
    assert (await admitted(role, "ContainerList")).filters() == Filters({"label": ("team=a",)})
    with pytest.raises(Forbidden, match="read-only, label team=a: ContainerStop is refused"):
        await admitted(role, "ContainerStop", names={"id": "mine"})


@pytest.mark.parametrize("path", ["/containers/json", "/containers/prune", "/containers/create"])
def test_no_name_hides_a_list(path: str) -> None:
    method = "GET" if path.endswith("json") else "POST"
    found = Router(ROUTES).find(method, path)
    assert found is not None
    assert "{" not in found[0].path
