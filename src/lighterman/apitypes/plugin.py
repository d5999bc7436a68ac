"""Plugins on the wire. Source: Plugin, PluginPrivilege and the Plugin operations of the API.

An interface is a text here, as JSON has it: "docker.volumedriver/1.0". Nulls as dockerd 20.10 writes them.
"""

from msgspec import UNSET, Struct, UnsetType, field

from lighterman.apitypes.wire import Wire


class PluginArgs(Wire, frozen=True, kw_only=True):
    description: str = ""
    name: str = ""
    settable: list[str] | None = None
    value: list[str] | None = None


class PluginEnv(Wire, frozen=True, kw_only=True):
    """A variable; without a value it is set only if the user sets it."""

    description: str = ""
    name: str = ""
    settable: list[str] | None = None
    value: str | None = None


class PluginInterface(Wire, frozen=True, kw_only=True):
    protocol_scheme: str | UnsetType = UNSET
    socket: str = ""
    types: list[str] | None = None


class PluginDevice(Wire, frozen=True, kw_only=True):
    description: str = ""
    name: str = ""
    path: str | None = None
    settable: list[str] | None = None


class PluginLinux(Wire, frozen=True, kw_only=True):
    allow_all_devices: bool = False
    capabilities: list[str] | None = None
    devices: list[PluginDevice] | None = None


class PluginMount(Wire, frozen=True, kw_only=True):
    description: str = ""
    destination: str = ""
    name: str = ""
    options: list[str] | None = None
    settable: list[str] | None = None
    source: str | None = None
    type: str = ""


class PluginNetwork(Wire, frozen=True, kw_only=True):
    type: str = ""


class PluginUser(Wire, frozen=True, kw_only=True, omit_defaults=True):
    gid: int = field(default=0, name="GID")
    uid: int = field(default=0, name="UID")


class PluginRootfs(Struct, frozen=True, kw_only=True):
    diff_ids: list[str] | None = None
    type: str = ""


class PluginConfig(Wire, frozen=True, kw_only=True):
    """A plugin's config.json."""

    args: PluginArgs = PluginArgs()
    description: str = ""
    docker_version: str | UnsetType = UNSET
    documentation: str = ""
    entrypoint: list[str] | None = None
    env: list[PluginEnv] | None = None
    interface: PluginInterface = PluginInterface()
    ipc_host: bool = False
    linux: PluginLinux = PluginLinux()
    mounts: list[PluginMount] | None = None
    network: PluginNetwork = PluginNetwork()
    pid_host: bool = False
    propagated_mount: str = ""
    user: PluginUser = PluginUser()
    work_dir: str = ""
    rootfs: PluginRootfs | UnsetType = field(default=UNSET, name="rootfs")


class PluginSettings(Wire, frozen=True, kw_only=True):
    """What of the configuration the user may have changed."""

    args: list[str]
    devices: list[PluginDevice]
    env: list[str]
    mounts: list[PluginMount]


class Plugin(Wire, frozen=True, kw_only=True):
    config: PluginConfig
    enabled: bool
    id: str
    name: str
    plugin_reference: str | UnsetType
    settings: PluginSettings


class PluginPrivilege(Wire, frozen=True, kw_only=True):
    """Something that an administrator has to allow."""

    name: str = ""
    description: str = ""
    value: list[str] | None = None
