"""What each operation does to what: the table by which listeners with a role (`roles.py`) decide.

Who adds an operation to `routes.py` adds it here: one that is not in the table is refused wherever somebody
may do less than everything. `tests/api/test_roles.py` compares the two tables.
"""

import enum
from collections.abc import Mapping


class Act(enum.Enum):
    """What is done."""

    LOOK = "look"
    """Tell of what there is, and of what happens."""
    READ = "read"
    """Give out what is inside: files of containers, layers of images, keys of a swarm."""
    ASK = "ask"
    """Let the engine ask a registry that the client names."""
    TEND = "tend"
    """Start, end, limit, rename or remove what there is."""
    MAKE = "make"
    """Make a container."""
    ATTACH = "attach"
    """Take part in the streams of a container."""
    ENTER = "enter"
    """Run or put something in a container that there is."""
    PULL = "pull"
    """Get an image."""
    CHANGE = "change"
    """Whatever else changes something."""


class Of(enum.Enum):
    """What it is done to."""

    ENGINE = "engine"
    EVENTS = "events"
    USAGE = "usage"
    CONTAINER = "container"
    EXEC = "exec"
    IMAGE = "image"
    BUILD = "build"
    NETWORK = "network"
    VOLUME = "volume"
    PLUGIN = "plugin"
    REGISTRY = "registry"
    SWARM = "swarm"


_TABLE: Mapping[tuple[Act, Of], str] = {
    (Act.LOOK, Of.ENGINE): "SystemInfo SystemVersion SystemPing",
    (Act.LOOK, Of.USAGE): "SystemDataUsage",
    (Act.LOOK, Of.EVENTS): "SystemEvents",
    (Act.LOOK, Of.CONTAINER): """ContainerList ContainerInspect ContainerTop ContainerLogs ContainerChanges
        ContainerStats ContainerWait""",
    (Act.READ, Of.CONTAINER): "ContainerExport ContainerArchiveInfo ContainerArchive",
    (Act.TEND, Of.CONTAINER): """ContainerResize ContainerStart ContainerStop ContainerRestart ContainerKill
        ContainerUpdate ContainerRename ContainerPause ContainerUnpause ContainerDelete ContainerPrune""",
    (Act.MAKE, Of.CONTAINER): "ContainerCreate",
    (Act.ATTACH, Of.CONTAINER): "ContainerAttach ContainerAttachWebsocket",
    (Act.ENTER, Of.CONTAINER): "PutContainerArchive ContainerExec",
    (Act.ENTER, Of.EXEC): "ExecStart ExecResize",
    (Act.LOOK, Of.EXEC): "ExecInspect",
    (Act.LOOK, Of.IMAGE): "ImageList ImageInspect ImageHistory",
    (Act.READ, Of.IMAGE): "ImageGet ImageGetAll",
    (Act.PULL, Of.IMAGE): "ImageCreate",
    (Act.TEND, Of.IMAGE): "ImageDelete ImagePrune",
    (Act.CHANGE, Of.IMAGE): "ImagePush ImageTag ImageLoad ImageCommit",
    (Act.CHANGE, Of.BUILD): "ImageBuild BuildPrune Session",
    (Act.LOOK, Of.NETWORK): "NetworkList NetworkInspect",
    (Act.CHANGE, Of.NETWORK): """NetworkCreate NetworkDelete NetworkConnect NetworkDisconnect
        NetworkPrune""",
    (Act.LOOK, Of.VOLUME): "VolumeList VolumeInspect",
    (Act.CHANGE, Of.VOLUME): "VolumeCreate VolumeDelete VolumePrune",
    (Act.LOOK, Of.PLUGIN): "PluginList PluginInspect",
    (Act.CHANGE, Of.PLUGIN): """PluginPull PluginDelete PluginEnable PluginDisable PluginUpgrade PluginCreate
        PluginPush PluginSet""",
    (Act.ASK, Of.REGISTRY): "SystemAuth ImageSearch DistributionInspect GetPluginPrivileges",
    (Act.LOOK, Of.SWARM): """NodeList NodeInspect ServiceList ServiceInspect ServiceLogs TaskList TaskInspect
        TaskLogs SecretList SecretInspect ConfigList ConfigInspect""",
    (Act.READ, Of.SWARM): "SwarmInspect SwarmUnlockkey",
    (Act.CHANGE, Of.SWARM): """SwarmInit SwarmJoin SwarmLeave SwarmUpdate SwarmUnlock NodeDelete NodeUpdate
        ServiceCreate ServiceDelete ServiceUpdate SecretCreate SecretDelete SecretUpdate ConfigCreate
        ConfigDelete ConfigUpdate""",
}

ACTS: Mapping[str, tuple[Act, Of]] = {
    operation: done for done, operations in _TABLE.items() for operation in operations.split()
}
"""Operation -> what it does to what."""
