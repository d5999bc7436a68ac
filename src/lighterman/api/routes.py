"""The one table of routes. The router, `docs/api.md`, the tests and the list of what is missing come from it.

An *operation* is named as in the specification. `SERVED` and `MISSING` are the two halves of the table: an
operation that gets its handler moves from the one to the other; `MISSING` has to become empty. A name in a
path that may hold slashes (`{name:.*}`, image names do) is written as in Docker's own router.
"""

import enum
from collections.abc import Awaitable, Callable

from msgspec import Struct

from lighterman.api import debug, versions
from lighterman.api.handlers import (
    archives,
    build,
    containers,
    execs,
    images,
    networks,
    nodes,
    payloads,
    plugins,
    services,
    session,
    swarm,
    system,
    volumes,
)
from lighterman.api.request import Answer, Request
from lighterman.api.rooms import Rooms
from lighterman.api.versions import Version

Handler = Callable[[Request, Rooms], Awaitable[Answer]]


SMALL_BYTES = 1 << 20
"""For a body of JSON that wishes little."""
LARGE_BYTES = 4 << 20
"""For one that holds whole environments, or a secret. Authorization plugins are shown no more than this."""


class Flow(enum.Enum):
    """What becomes of the connection, and of the work when the client goes away."""

    PLAIN = "plain"
    """One answer. Work of GET and HEAD ends with its client, a change goes on."""
    STREAM = "stream"
    """The answer comes as it is made; the work ends with its client."""
    HIJACK = "hijack"
    """The connection leaves HTTP."""
    WEBSOCKET = "websocket"
    """The connection speaks frames for as long as both ends do."""


class Route(Struct, frozen=True):
    """One row: what is asked for, and who answers."""

    operation: str
    method: str
    path: str
    handler: Handler | None = None
    flow: Flow = Flow.PLAIN
    since: Version = versions.OLDEST
    """Requests that speak an older version are refused. Source: WithMinimumAPIVersion in moby's routers."""
    body_bytes: int | None = SMALL_BYTES
    """The most that a body may have that is read as a whole; None: it is an archive, read as it comes."""


SERVED: tuple[Route, ...] = (
    Route("SystemInfo", "GET", "/info", system.info),
    Route("SystemVersion", "GET", "/version", system.version),
    Route("SystemPing", "GET", "/_ping", system.ping),
    Route("SystemPing", "HEAD", "/_ping", system.ping_head),
    Route("SystemAuth", "POST", "/auth", system.auth),
    Route("SystemDataUsage", "GET", "/system/df", system.data_usage),
    Route("SystemEvents", "GET", "/events", system.events, flow=Flow.STREAM),
    Route("ContainerList", "GET", "/containers/json", containers.list_),
    Route("ContainerCreate", "POST", "/containers/create", containers.create, body_bytes=LARGE_BYTES),
    Route("ContainerInspect", "GET", "/containers/{id:.*}/json", containers.inspect),
    Route("ContainerTop", "GET", "/containers/{id:.*}/top", containers.top),
    Route("ContainerLogs", "GET", "/containers/{id:.*}/logs", containers.logs, flow=Flow.STREAM),
    Route("ContainerChanges", "GET", "/containers/{id:.*}/changes", archives.changes),
    Route("ContainerExport", "GET", "/containers/{id:.*}/export", archives.export, flow=Flow.STREAM),
    Route("ContainerStats", "GET", "/containers/{id:.*}/stats", containers.stats, flow=Flow.STREAM),
    Route("ContainerResize", "POST", "/containers/{id:.*}/resize", containers.resize),
    Route("ContainerStart", "POST", "/containers/{id:.*}/start", containers.start),
    Route("ContainerStop", "POST", "/containers/{id:.*}/stop", containers.stop),
    Route("ContainerRestart", "POST", "/containers/{id:.*}/restart", containers.restart),
    Route("ContainerKill", "POST", "/containers/{id:.*}/kill", containers.kill),
    Route("ContainerUpdate", "POST", "/containers/{id:.*}/update", containers.update),
    Route("ContainerRename", "POST", "/containers/{id:.*}/rename", containers.rename),
    Route("ContainerPause", "POST", "/containers/{id:.*}/pause", containers.pause),
    Route("ContainerUnpause", "POST", "/containers/{id:.*}/unpause", containers.unpause),
    Route("ContainerAttach", "POST", "/containers/{id:.*}/attach", containers.attach, flow=Flow.HIJACK),
    Route(
        "ContainerAttachWebsocket",
        "GET",
        "/containers/{id:.*}/attach/ws",
        containers.attach_websocket,
        flow=Flow.WEBSOCKET,
    ),
    Route("ContainerWait", "POST", "/containers/{id:.*}/wait", containers.wait, flow=Flow.STREAM),
    Route("ContainerDelete", "DELETE", "/containers/{id:.*}", containers.delete),
    Route("ContainerArchiveInfo", "HEAD", "/containers/{id:.*}/archive", archives.info),
    Route("ContainerArchive", "GET", "/containers/{id:.*}/archive", archives.get, flow=Flow.STREAM),
    Route("PutContainerArchive", "PUT", "/containers/{id:.*}/archive", archives.put, body_bytes=None),
    Route("ContainerPrune", "POST", "/containers/prune", containers.prune, since=(1, 25)),
    Route("ContainerExec", "POST", "/containers/{id:.*}/exec", execs.create, body_bytes=LARGE_BYTES),
    Route("ExecStart", "POST", "/exec/{id:.*}/start", execs.start, flow=Flow.HIJACK),
    Route("ExecResize", "POST", "/exec/{id:.*}/resize", execs.resize),
    Route("ExecInspect", "GET", "/exec/{id:.*}/json", execs.inspect),
    Route("ImageList", "GET", "/images/json", images.list_),
    Route("ImageCreate", "POST", "/images/create", images.create, flow=Flow.STREAM, body_bytes=None),
    Route("ImagePush", "POST", "/images/{name:.*}/push", images.push, flow=Flow.STREAM),
    Route("ImageInspect", "GET", "/images/{name:.*}/json", images.inspect),
    Route("ImageHistory", "GET", "/images/{name:.*}/history", images.history),
    Route("ImageGet", "GET", "/images/{name:.*}/get", images.get, flow=Flow.STREAM),
    Route("ImageGetAll", "GET", "/images/get", images.get_all, flow=Flow.STREAM),
    Route("ImageTag", "POST", "/images/{name:.*}/tag", images.tag),
    Route("ImageDelete", "DELETE", "/images/{name:.*}", images.delete),
    Route("ImagePrune", "POST", "/images/prune", images.prune, since=(1, 25)),
    Route("ImageLoad", "POST", "/images/load", images.load, flow=Flow.STREAM, body_bytes=None),
    Route("ImageCommit", "POST", "/commit", images.commit, body_bytes=LARGE_BYTES),
    Route("ImageBuild", "POST", "/build", build.build, flow=Flow.STREAM, body_bytes=None),
    Route("BuildPrune", "POST", "/build/prune", build.prune, since=(1, 31)),
    Route("Session", "POST", "/session", session.session, flow=Flow.HIJACK),
    Route("ImageSearch", "GET", "/images/search", images.search),
    Route("DistributionInspect", "GET", "/distribution/{name:.*}/json", images.distribution, since=(1, 30)),
    Route("NetworkList", "GET", "/networks", networks.list_),
    Route("NetworkList", "GET", "/networks/", networks.list_),
    Route("NetworkInspect", "GET", "/networks/{id:.*}", networks.inspect),
    Route("NetworkDelete", "DELETE", "/networks/{id:.*}", networks.delete),
    Route("NetworkCreate", "POST", "/networks/create", networks.create),
    Route("NetworkConnect", "POST", "/networks/{id:.*}/connect", networks.connect),
    Route("NetworkDisconnect", "POST", "/networks/{id:.*}/disconnect", networks.disconnect),
    Route("NetworkPrune", "POST", "/networks/prune", networks.prune, since=(1, 25)),
    Route("VolumeList", "GET", "/volumes", volumes.list_),
    Route("VolumeCreate", "POST", "/volumes/create", volumes.create),
    Route("VolumeInspect", "GET", "/volumes/{name:.*}", volumes.inspect),
    Route("VolumeDelete", "DELETE", "/volumes/{name:.*}", volumes.delete),
    Route("VolumePrune", "POST", "/volumes/prune", volumes.prune, since=(1, 25)),
    Route("PluginList", "GET", "/plugins", plugins.list_),
    Route("PluginInspect", "GET", "/plugins/{name:.*}/json", plugins.inspect),
    Route("GetPluginPrivileges", "GET", "/plugins/privileges", plugins.privileges),
    Route("PluginPull", "POST", "/plugins/pull", plugins.pull, flow=Flow.STREAM),
    Route("PluginDelete", "DELETE", "/plugins/{name:.*}", plugins.delete),
    Route("PluginEnable", "POST", "/plugins/{name:.*}/enable", plugins.enable),
    Route("PluginDisable", "POST", "/plugins/{name:.*}/disable", plugins.disable),
    Route(
        "PluginUpgrade",
        "POST",
        "/plugins/{name:.*}/upgrade",
        plugins.upgrade,
        flow=Flow.STREAM,
        since=(1, 26),
    ),
    Route("PluginCreate", "POST", "/plugins/create", plugins.create, body_bytes=None),
    Route("PluginPush", "POST", "/plugins/{name:.*}/push", plugins.push, flow=Flow.STREAM),
    Route("PluginSet", "POST", "/plugins/{name:.*}/set", plugins.set_),
    Route("SwarmInspect", "GET", "/swarm", swarm.inspect),
    Route("SwarmInit", "POST", "/swarm/init", swarm.init),
    Route("SwarmJoin", "POST", "/swarm/join", swarm.join),
    Route("SwarmLeave", "POST", "/swarm/leave", swarm.leave),
    Route("SwarmUpdate", "POST", "/swarm/update", swarm.update),
    Route("SwarmUnlockkey", "GET", "/swarm/unlockkey", swarm.unlock_key),
    Route("SwarmUnlock", "POST", "/swarm/unlock", swarm.unlock),
    Route("NodeList", "GET", "/nodes", nodes.list_),
    Route("NodeInspect", "GET", "/nodes/{id}", nodes.inspect),
    Route("NodeDelete", "DELETE", "/nodes/{id}", nodes.delete),
    Route("NodeUpdate", "POST", "/nodes/{id}/update", nodes.update),
    Route("ServiceList", "GET", "/services", services.list_),
    Route("ServiceCreate", "POST", "/services/create", services.create, body_bytes=LARGE_BYTES),
    Route("ServiceInspect", "GET", "/services/{id}", services.inspect),
    Route("ServiceDelete", "DELETE", "/services/{id}", services.delete),
    Route("ServiceUpdate", "POST", "/services/{id}/update", services.update, body_bytes=LARGE_BYTES),
    Route("ServiceLogs", "GET", "/services/{id}/logs", services.logs, flow=Flow.STREAM),
    Route("TaskList", "GET", "/tasks", services.list_tasks),
    Route("TaskInspect", "GET", "/tasks/{id}", services.inspect_task),
    Route("TaskLogs", "GET", "/tasks/{id}/logs", services.task_logs, flow=Flow.STREAM),
    Route("SecretList", "GET", "/secrets", payloads.list_secrets, since=(1, 25)),
    Route(
        "SecretCreate",
        "POST",
        "/secrets/create",
        payloads.create_secret,
        since=(1, 25),
        body_bytes=LARGE_BYTES,
    ),
    Route("SecretInspect", "GET", "/secrets/{id}", payloads.inspect_secret, since=(1, 25)),
    Route("SecretDelete", "DELETE", "/secrets/{id}", payloads.delete_secret, since=(1, 25)),
    Route(
        "SecretUpdate",
        "POST",
        "/secrets/{id}/update",
        payloads.update_secret,
        since=(1, 25),
        body_bytes=LARGE_BYTES,
    ),
    Route("ConfigList", "GET", "/configs", payloads.list_configs, since=(1, 30)),
    Route(
        "ConfigCreate",
        "POST",
        "/configs/create",
        payloads.create_config,
        since=(1, 30),
        body_bytes=LARGE_BYTES,
    ),
    Route("ConfigInspect", "GET", "/configs/{id}", payloads.inspect_config, since=(1, 30)),
    Route("ConfigDelete", "DELETE", "/configs/{id}", payloads.delete_config, since=(1, 30)),
    Route(
        "ConfigUpdate",
        "POST",
        "/configs/{id}/update",
        payloads.update_config,
        since=(1, 30),
        body_bytes=LARGE_BYTES,
    ),
)
"""Operations that are answered."""

MISSING: tuple[Route, ...] = ()
"""Operations still to come: each is answered with 501. This is the one list of them."""

DEBUG: tuple[Route, ...] = (
    Route("DebugVariables", "GET", "/debug/vars", debug.variables),
    Route("DebugStacks", "GET", "/debug/stacks", debug.stacks),
)
"""No operations of the specification; not found unless the engine is in debug mode."""

EXPERIMENTAL: tuple[Route, ...] = (
    Route("CheckpointList", "GET", "/containers/{id:.*}/checkpoints"),
    Route("CheckpointCreate", "POST", "/containers/{id:.*}/checkpoints"),
    Route("CheckpointDelete", "DELETE", "/containers/{id}/checkpoints/{checkpoint}"),
)
"""dockerd has these in experimental mode, outside of the specification; they are refused by name."""

ROUTES = SERVED + MISSING
