"""A plugin's config.json: how it is read, what it starts with, and what it needs to be allowed. Pure.

Source: plugin config of Docker's documentation; computePrivileges and InitEmptySettings of moby 20.10.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, inspect, structs

from lighterman.apitypes.plugin import PluginConfig, PluginPrivilege, PluginSettings
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters

CONFIG_MAX_BYTES = 1 << 20
CAPABILITIES = {
    "VolumeDriver": "volumedriver",
    "NetworkDriver": "networkdriver",
    "IpamDriver": "ipamdriver",
    "LogDriver": "logdriver",
    "authz": "authz",
}
"""The interfaces that this engine calls, by the name in the protocol: what config.json calls them."""


def parse_config(raw: bytes) -> PluginConfig:
    """The configuration in `raw`. As Go reads it: keys in any case, null is nothing.

    Raises: InvalidParameter.
    """
    try:
        config = msgspec.convert(_folded(msgspec.json.decode(raw), PluginConfig), PluginConfig)
    except (msgspec.DecodeError, RecursionError) as error:  # ValidationError is one
        raise InvalidParameter(f"failed to parse config: {error}") from error
    types = [_normal(kind) for kind in config.interface.types or ()]
    interface = structs.replace(config.interface, types=types or config.interface.types)
    return structs.replace(config, interface=interface)


def _folded(value: Any, kind: type[msgspec.Struct]) -> Any:
    """`value` with its keys in the case that the fields of `kind` have, and without nulls."""
    if not isinstance(value, dict):
        return value
    fields, folded = _fields(kind), {}
    for key, inner in value.items():
        if (known := fields.get(key.lower())) is None or inner is None:
            continue
        name, below = known
        if below is not None:
            inner = (
                [_folded(each, below) for each in inner] if isinstance(inner, list) else _folded(inner, below)
            )
        folded[name] = inner
    return folded


@cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, tuple[str, type[msgspec.Struct] | None]]:
    """The fields of a Struct by their folded names: the name on the wire, and the Struct that lies below."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name.lower(): (field.encode_name, _struct_in(field.type)) for field in info.fields}


def _struct_in(info: inspect.Type) -> type[msgspec.Struct] | None:
    match info:
        case inspect.StructType(cls=kind):
            return kind
        case inspect.ListType(item_type=item):
            return _struct_in(item)
        case inspect.UnionType(types=types):
            return next((found for each in types if (found := _struct_in(each)) is not None), None)
    return None


def _normal(kind: str) -> str:
    """An interface as Go writes it after it has read it: `prefix.capability/version`."""
    name, _, version = kind.partition("/")
    prefix, dot, capability = name.rpartition(".")
    if not dot:  # Go's parser takes the first letter for the dot
        prefix, capability = "", name[1:]
    return f"{prefix}.{capability}/{version}"


def capabilities(config: PluginConfig) -> list[str]:
    """What the plugin says it is, in the words of the filter `capability`."""
    return [kind.partition("/")[0].rpartition(".")[2] for kind in config.interface.types or ()]


def provides(config: PluginConfig, interface: str) -> bool:
    """Whether the plugin has an interface, e.g. "VolumeDriver"."""
    wanted = f"docker.{CAPABILITIES[interface]}"
    return any(kind.partition("/")[0] == wanted for kind in config.interface.types or ())


def is_asked_for(config: PluginConfig, filters: Filters, *, enabled: bool) -> bool:
    """Whether PluginList shows it. Source: List of moby's plugin manager."""
    if "enabled" in filters and enabled != filters.flag("enabled", default=False):
        return False
    wanted = filters.get("capability")
    return not wanted or all(capability in wanted for capability in capabilities(config))


def initial_settings(config: PluginConfig) -> PluginSettings:
    """What a plugin has before anybody has set anything."""
    return PluginSettings(
        args=list(config.args.value or ()),
        devices=list(config.linux.devices or ()),
        env=[f"{env.name}={env.value}" for env in config.env or () if env.value is not None],
        mounts=list(config.mounts or ()),
    )


def privileges(config: PluginConfig) -> list[PluginPrivilege]:
    """What an administrator has to allow before the plugin is installed."""
    found: list[PluginPrivilege] = []

    def need(name: str, description: str, *value: str) -> None:
        found.append(PluginPrivilege(name=name, description=description, value=list(value)))

    if config.network.type not in ("", "null", "bridge"):
        need("network", "permissions to access a network", config.network.type)
    if config.ipc_host:
        need("host ipc namespace", "allow access to host ipc namespace", "true")
    if config.pid_host:
        need("host pid namespace", "allow access to host pid namespace", "true")
    for mount in config.mounts or ():
        if mount.source is not None:
            need("mount", "host path to mount", mount.source)
    for device in config.linux.devices or ():
        if device.path is not None:
            need("device", "host device to access", device.path)
    if config.linux.allow_all_devices:
        need("allow-all-devices", "allow 'rwm' access to all devices", "true")
    if config.linux.capabilities:
        need("capabilities", "list of additional capabilities required", *config.linux.capabilities)
    return found


def check_privileges(config: PluginConfig, allowed: Sequence[PluginPrivilege]) -> None:
    """Raise InvalidParameter unless exactly what the plugin needs was allowed, in whatever order.

    dockerd 20.10 compares all but the first (GO-2026-4883): a plugin could ask one thing and get another.
    """
    if _in_order(privileges(config)) != _in_order(allowed):
        raise InvalidParameter("incorrect privileges")


def _in_order(wanted: Sequence[PluginPrivilege]) -> list[tuple[str, list[str]]]:
    return sorted((each.name, sorted(each.value or ())) for each in wanted)


def diff_ids(config: PluginConfig) -> Sequence[str]:
    """The layers of its root file system, lowest first; empty where it does not say."""
    return () if config.rootfs is UNSET else tuple(config.rootfs.diff_ids or ())
