"""The table is complete, nothing in it is hidden by something else, and its document is current."""

import re
from pathlib import Path

import pytest

from lighterman.api.docs import document
from lighterman.api.router import Router, cleaned
from lighterman.api.routes import MISSING, ROUTES, SERVED, Flow, Route

SPECIFICATION = """
ContainerList GET /containers/json
ContainerCreate POST /containers/create
ContainerInspect GET /containers/{id}/json
ContainerTop GET /containers/{id}/top
ContainerLogs GET /containers/{id}/logs
ContainerChanges GET /containers/{id}/changes
ContainerExport GET /containers/{id}/export
ContainerStats GET /containers/{id}/stats
ContainerResize POST /containers/{id}/resize
ContainerStart POST /containers/{id}/start
ContainerStop POST /containers/{id}/stop
ContainerRestart POST /containers/{id}/restart
ContainerKill POST /containers/{id}/kill
ContainerUpdate POST /containers/{id}/update
ContainerRename POST /containers/{id}/rename
ContainerPause POST /containers/{id}/pause
ContainerUnpause POST /containers/{id}/unpause
ContainerAttach POST /containers/{id}/attach
ContainerAttachWebsocket GET /containers/{id}/attach/ws
ContainerWait POST /containers/{id}/wait
ContainerDelete DELETE /containers/{id}
ContainerArchiveInfo HEAD /containers/{id}/archive
ContainerArchive GET /containers/{id}/archive
PutContainerArchive PUT /containers/{id}/archive
ContainerPrune POST /containers/prune
ImageList GET /images/json
ImageBuild POST /build
BuildPrune POST /build/prune
ImageCreate POST /images/create
ImageInspect GET /images/{name}/json
ImageHistory GET /images/{name}/history
ImagePush POST /images/{name}/push
ImageTag POST /images/{name}/tag
ImageDelete DELETE /images/{name}
ImageSearch GET /images/search
ImagePrune POST /images/prune
SystemAuth POST /auth
SystemInfo GET /info
SystemVersion GET /version
SystemPing GET /_ping
ImageCommit POST /commit
SystemEvents GET /events
SystemDataUsage GET /system/df
ImageGet GET /images/{name}/get
ImageGetAll GET /images/get
ImageLoad POST /images/load
ContainerExec POST /containers/{id}/exec
ExecStart POST /exec/{id}/start
ExecResize POST /exec/{id}/resize
ExecInspect GET /exec/{id}/json
VolumeList GET /volumes
VolumeCreate POST /volumes/create
VolumeInspect GET /volumes/{name}
VolumeDelete DELETE /volumes/{name}
VolumePrune POST /volumes/prune
NetworkList GET /networks
NetworkInspect GET /networks/{id}
NetworkDelete DELETE /networks/{id}
NetworkCreate POST /networks/create
NetworkConnect POST /networks/{id}/connect
NetworkDisconnect POST /networks/{id}/disconnect
NetworkPrune POST /networks/prune
PluginList GET /plugins
GetPluginPrivileges GET /plugins/privileges
PluginPull POST /plugins/pull
PluginInspect GET /plugins/{name}/json
PluginDelete DELETE /plugins/{name}
PluginEnable POST /plugins/{name}/enable
PluginDisable POST /plugins/{name}/disable
PluginUpgrade POST /plugins/{name}/upgrade
PluginCreate POST /plugins/create
PluginPush POST /plugins/{name}/push
PluginSet POST /plugins/{name}/set
NodeList GET /nodes
NodeInspect GET /nodes/{id}
NodeDelete DELETE /nodes/{id}
NodeUpdate POST /nodes/{id}/update
SwarmInspect GET /swarm
SwarmInit POST /swarm/init
SwarmJoin POST /swarm/join
SwarmLeave POST /swarm/leave
SwarmUpdate POST /swarm/update
SwarmUnlockkey GET /swarm/unlockkey
SwarmUnlock POST /swarm/unlock
ServiceList GET /services
ServiceCreate POST /services/create
ServiceInspect GET /services/{id}
ServiceDelete DELETE /services/{id}
ServiceUpdate POST /services/{id}/update
ServiceLogs GET /services/{id}/logs
TaskList GET /tasks
TaskInspect GET /tasks/{id}
TaskLogs GET /tasks/{id}/logs
SecretList GET /secrets
SecretCreate POST /secrets/create
SecretInspect GET /secrets/{id}
SecretDelete DELETE /secrets/{id}
SecretUpdate POST /secrets/{id}/update
ConfigList GET /configs
ConfigCreate POST /configs/create
ConfigInspect GET /configs/{id}
ConfigDelete DELETE /configs/{id}
ConfigUpdate POST /configs/{id}/update
DistributionInspect GET /distribution/{name}/json
Session POST /session
"""
"""operationId, method and path of each operation. Source: the specification of API 1.36."""

BESIDES = {("SystemPing", "HEAD", "/_ping"), ("NetworkList", "GET", "/networks/")}
"""What dockerd serves beyond the specification, and clients use."""


def specified() -> set[tuple[str, str, str]]:
    return {(each[0], each[1], each[2]) for line in SPECIFICATION.split("\n") if (each := line.split())}


def row(route: Route) -> tuple[str, str, str]:
    return route.operation, route.method, route.path.replace(":.*", "")


def test_the_table_holds_every_operation_of_the_specification() -> None:
    assert len(specified()) == 105
    assert {row(route) for route in ROUTES} == specified() | BESIDES
    assert len(ROUTES) == len(specified()) + len(BESIDES)


def test_an_operation_has_a_handler_or_is_listed_as_missing() -> None:
    assert all(route.handler for route in SERVED)
    assert not any(route.handler for route in MISSING)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("value", ["a", "a0c1", "get", "json"])
def test_every_route_is_found_by_its_own_path(route: Route, value: str) -> None:
    path = re.sub(r"\{\w+(:\.\*)?\}", value, route.path)
    taken = {other.path for other in ROUTES if other.method == route.method and other is not route}
    found = Router(ROUTES).find(route.method, path)
    assert found is not None
    assert found[0] is route or path in taken


@pytest.mark.parametrize(
    ("method", "path", "operation", "names"),
    [
        ("GET", "/images/registry:5000/a/b:1/json", "ImageInspect", {"name": "registry:5000/a/b:1"}),
        ("GET", "/images/json", "ImageList", {}),
        ("GET", "/images/json/json", "ImageInspect", {"name": "json"}),
        ("GET", "/images/get", "ImageGetAll", {}),
        ("GET", "/images/a/get/get", "ImageGet", {"name": "a/get"}),
        ("POST", "/images/a/b/push", "ImagePush", {"name": "a/b"}),
        ("DELETE", "/images/a/b@sha256:00", "ImageDelete", {"name": "a/b@sha256:00"}),
        ("GET", "/containers/a/b/json", "ContainerInspect", {"id": "a/b"}),
        ("GET", "/containers/a/attach/ws", "ContainerAttachWebsocket", {"id": "a"}),
        ("POST", "/containers/prune", "ContainerPrune", {}),
        ("GET", "/networks/", "NetworkList", {}),
        ("GET", "/networks/a/b", "NetworkInspect", {"id": "a/b"}),
        ("GET", "/tasks/t1/logs", "TaskLogs", {"id": "t1"}),
        ("GET", "/volumes/a b", "VolumeInspect", {"name": "a b"}),
    ],
)
def test_a_path_finds_its_operation(method: str, path: str, operation: str, names: dict[str, str]) -> None:
    found = Router(ROUTES).find(method, path)
    assert found is not None
    assert (found[0].operation, dict(found[1])) == (operation, names)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/containers"), ("HEAD", "/containers/json"), ("GET", "/tasks/a/b"), ("GET", "*")],
)
def test_what_is_not_in_the_table_is_not_found(method: str, path: str) -> None:
    assert Router(ROUTES).find(method, path) is None


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/a/b", "/a/b"), ("/a/b/", "/a/b/"), ("//a", "/a"), ("/a/./b/../c", "/a/c"), ("/..", "/"), ("/", "/")],
)
def test_a_clean_path_has_one_spelling(path: str, clean: str) -> None:
    assert cleaned(path) == clean


def test_hijacked_routes_are_those_whose_heads_are_cut() -> None:
    """A new one has to be known to `api.hijack.is_hijack` as well."""
    hijacked = {route.operation for route in SERVED if route.flow is Flow.HIJACK}
    assert hijacked == {"ContainerAttach", "ExecStart", "Session"}


def test_the_document_of_the_api_is_current() -> None:
    """`python -m lighterman.api.docs > docs/api.md` brings it up to date."""
    assert (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text() == document()
