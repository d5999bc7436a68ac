"""What operations take and give, for the documents: parameters, the types of bodies and of answers.

Beside `routes.py` since nothing that serves needs it, and since it loads the types of swarms and builds.
tests/api/test_openapi.py holds it to the table of routes and to what the handlers read.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from lighterman.apitypes import (
    archive,
    build,
    container,
    event,
    exec,
    image,
    network,
    plugin,
    registry,
    service,
    stats,
    swarm,
    system,
    volume,
)

TAR = "application/x-tar"
"""In place of a type: bytes of an archive."""
RAW = "application/vnd.docker.raw-stream"
"""In place of a type: bytes of a process."""
TEXT = "text/plain"


class Described(Struct, frozen=True):
    """One operation."""

    gives: Any = None
    """The type of a success's body; of each line where the route streams. None: there is none."""
    body: Any = None
    """The type of the request's body."""
    status: int = 200
    query: Mapping[str, str] = field(default_factory=dict)
    """Name -> the type of the value, in words of JSON Schema; "array" may be given several times, "object" is
    JSON in a text."""
    headers: tuple[str, ...] = ()


def _query(
    texts: str = "", flags: str = "", numbers: str = "", lists: str = "", json: str = ""
) -> Mapping[str, str]:
    """Names of each kind, as the words of one text."""
    kinds = {"string": texts, "boolean": flags, "integer": numbers, "array": lists, "object": json}
    return {name: kind for kind, names in kinds.items() for name in names.split()}


_FILTERS = _query(json="filters")
_FORCE = _query(flags="force")
_SIZE = _query(numbers="h w")
_LOGS = _query("since tail", flags="stdout stderr follow timestamps details")
_VERSION = _query(numbers="version")
_AUTH = ("X-Registry-Auth",)

DESCRIBED: Mapping[str, Described] = {
    "SystemInfo": Described(system.SystemInfo),
    "SystemVersion": Described(system.SystemVersion),
    "SystemPing": Described(TEXT),
    "SystemAuth": Described(registry.AuthResponse, registry.AuthConfig),
    "SystemDataUsage": Described(system.DataUsage, query=_query(lists="type")),
    "SystemEvents": Described(event.Event, query=_query("since until", json="filters")),
    "ContainerList": Described(
        list[container.ContainerSummary],
        query=_query(flags="all size", numbers="limit", json="filters"),
    ),
    "ContainerCreate": Described(
        container.ContainerCreateResponse,
        container.ContainerCreateBody,
        status=201,
        query=_query("name platform"),
    ),
    "ContainerInspect": Described(container.ContainerInspectResponse, query=_query(flags="size")),
    "ContainerTop": Described(container.ContainerTopResponse, query=_query("ps_args")),
    "ContainerLogs": Described(RAW, query={**_LOGS, "until": "string"}),
    "ContainerChanges": Described(list[archive.ContainerChange] | None),
    "ContainerExport": Described(TAR),
    "ContainerStats": Described(stats.StatsResponse, query=_query(flags="stream one-shot")),
    "ContainerResize": Described(query=_SIZE),
    "ContainerStart": Described(status=204, query=_query("checkpoint")),
    "ContainerStop": Described(status=204, query=_query("signal", numbers="t")),
    "ContainerRestart": Described(status=204, query=_query("signal", numbers="t")),
    "ContainerKill": Described(status=204, query=_query("signal")),
    "ContainerUpdate": Described(container.ContainerUpdateResponse, container.ContainerUpdateBody),
    "ContainerRename": Described(status=204, query=_query("name")),
    "ContainerPause": Described(status=204),
    "ContainerUnpause": Described(status=204),
    "ContainerAttach": Described(RAW, query=_query("detachKeys", flags="logs stream stdin stdout stderr")),
    "ContainerAttachWebsocket": Described(
        status=101, query=_query("detachKeys", flags="logs stream stdin stdout stderr")
    ),
    "ContainerWait": Described(container.ContainerWaitResponse, query=_query("condition")),
    "ContainerDelete": Described(status=204, query=_query(flags="force v link")),
    "ContainerArchiveInfo": Described(query=_query("path")),
    "ContainerArchive": Described(TAR, query=_query("path")),
    "PutContainerArchive": Described(body=TAR, query=_query("path", flags="noOverwriteDirNonDir copyUIDGID")),
    "ContainerPrune": Described(container.ContainerPruneResponse, query=_FILTERS),
    "ContainerExec": Described(exec.ExecCreateResponse, exec.ExecCreateBody, status=201),
    "ExecStart": Described(RAW, exec.ExecStartBody),
    "ExecResize": Described(query=_SIZE),
    "ExecInspect": Described(exec.ExecInspectResponse),
    "ImageList": Described(
        list[image.ImageSummary], query=_query("filter", flags="all shared-size", json="filters")
    ),
    "ImageCreate": Described(
        image.Progress,
        TAR,
        query=_query("fromImage fromSrc repo tag message platform", lists="changes"),
        headers=_AUTH,
    ),
    "ImagePush": Described(image.Progress, registry.AuthConfig, query=_query("tag"), headers=_AUTH),
    "ImageInspect": Described(image.ImageInspect),
    "ImageHistory": Described(list[image.HistoryItem]),
    "ImageGet": Described(TAR),
    "ImageGetAll": Described(TAR, query=_query(lists="names")),
    "ImageTag": Described(status=201, query=_query("repo tag")),
    "ImageDelete": Described(list[image.ImageDeleted], query=_query(flags="force noprune")),
    "ImagePrune": Described(image.ImagesPruned, query=_FILTERS),
    "ImageLoad": Described(image.Progress, TAR, query=_query(flags="quiet")),
    "ImageCommit": Described(
        image.ImageCommitted,
        container.ContainerConfig,
        status=201,
        query=_query("container repo tag author comment", flags="pause", lists="changes"),
    ),
    "ImageBuild": Described(
        image.Progress,
        TAR,
        query=_query(
            "cgroupparent cpusetcpus cpusetmems dockerfile isolation networkmode outputs platform remote "
            "session target version",
            flags="forcerm nocache pull q rm squash",
            numbers="cpuperiod cpuquota cpushares memory memswap shmsize",
            lists="extrahosts securityopt t",
            json="buildargs cachefrom labels ulimits",
        ),
        headers=("X-Registry-Config",),
    ),
    "BuildPrune": Described(
        build.BuildPruned, query=_query(flags="all", numbers="keep-storage", json="filters")
    ),
    "Session": Described(
        status=101,
        headers=(
            "X-Docker-Expose-Session-Uuid",
            "X-Docker-Expose-Session-Name",
            "X-Docker-Expose-Session-Sharedkey",
            "X-Docker-Expose-Session-Grpc-Method",
        ),
    ),
    "ImageSearch": Described(
        list[registry.SearchResult], query=_query("term", numbers="limit", json="filters"), headers=_AUTH
    ),
    "DistributionInspect": Described(registry.DistributionInspect, headers=_AUTH),
    "NetworkList": Described(list[network.Network], query=_FILTERS),
    "NetworkInspect": Described(network.Network, query=_query("scope", flags="verbose")),
    "NetworkDelete": Described(status=204),
    "NetworkCreate": Described(network.NetworkCreateResponse, network.NetworkCreateBody, status=201),
    "NetworkConnect": Described(body=network.NetworkConnectBody),
    "NetworkDisconnect": Described(body=network.NetworkDisconnectBody),
    "NetworkPrune": Described(network.NetworkPruneResponse, query=_FILTERS),
    "VolumeList": Described(volume.VolumeListResponse, query=_FILTERS),
    "VolumeCreate": Described(volume.Volume, volume.VolumeCreateBody, status=201),
    "VolumeInspect": Described(volume.Volume),
    "VolumeDelete": Described(status=204, query=_FORCE),
    "VolumePrune": Described(
        volume.VolumePruneResponse, query=_query("undo", flags="dry-run", json="filters")
    ),
    "PluginList": Described(list[plugin.Plugin], query=_FILTERS),
    "PluginInspect": Described(plugin.Plugin),
    "GetPluginPrivileges": Described(list[plugin.PluginPrivilege], query=_query("remote"), headers=_AUTH),
    "PluginPull": Described(
        image.Progress, list[plugin.PluginPrivilege], query=_query("remote name"), headers=_AUTH
    ),
    "PluginDelete": Described(query=_FORCE),
    "PluginEnable": Described(query=_query(numbers="timeout")),
    "PluginDisable": Described(query=_FORCE),
    "PluginUpgrade": Described(
        image.Progress, list[plugin.PluginPrivilege], query=_query("remote"), headers=_AUTH
    ),
    "PluginCreate": Described(body=TAR, status=204, query=_query("name")),
    "PluginPush": Described(image.Progress, headers=_AUTH),
    "PluginSet": Described(body=list[str], status=204),
    "SwarmInspect": Described(swarm.Swarm),
    "SwarmInit": Described(str, swarm.SwarmInitBody),
    "SwarmJoin": Described(body=swarm.SwarmJoinBody),
    "SwarmLeave": Described(query=_FORCE),
    "SwarmUpdate": Described(
        body=swarm.SwarmSpec,
        query={
            **_VERSION,
            **_query(flags="rotateWorkerToken rotateManagerToken rotateManagerUnlockKey"),
        },
    ),
    "SwarmUnlockkey": Described(swarm.SwarmUnlockKeyResponse),
    "SwarmUnlock": Described(body=swarm.SwarmUnlockBody),
    "NodeList": Described(list[swarm.Node], query=_FILTERS),
    "NodeInspect": Described(swarm.Node),
    "NodeDelete": Described(query=_FORCE),
    "NodeUpdate": Described(body=swarm.NodeSpec, query=_VERSION),
    "ServiceList": Described(list[service.Service], query=_query(flags="status", json="filters")),
    "ServiceCreate": Described(service.ServiceCreateResponse, service.ServiceSpec, status=201, headers=_AUTH),
    "ServiceInspect": Described(service.Service, query=_query(flags="insertDefaults")),
    "ServiceDelete": Described(),
    "ServiceUpdate": Described(
        service.ServiceUpdateResponse,
        service.ServiceSpec,
        query={**_VERSION, **_query("registryAuthFrom rollback")},
        headers=_AUTH,
    ),
    "ServiceLogs": Described(RAW, query=_LOGS),
    "TaskList": Described(list[service.Task], query=_FILTERS),
    "TaskInspect": Described(service.Task),
    "TaskLogs": Described(RAW, query=_LOGS),
    "SecretList": Described(list[service.Secret], query=_FILTERS),
    "SecretCreate": Described(service.IdResponse, service.SecretSpec, status=201),
    "SecretInspect": Described(service.Secret),
    "SecretDelete": Described(status=204),
    "SecretUpdate": Described(body=service.SecretSpec, query=_VERSION),
    "ConfigList": Described(list[service.Config], query=_FILTERS),
    "ConfigCreate": Described(service.IdResponse, service.ConfigSpec, status=201),
    "ConfigInspect": Described(service.Config),
    "ConfigDelete": Described(status=204),
    "ConfigUpdate": Described(body=service.ConfigSpec, query=_VERSION),
}
