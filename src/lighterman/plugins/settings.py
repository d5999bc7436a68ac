"""`docker plugin set`: what of a configuration a user may change. Pure. Source: plugin/v2/settable.go of
moby.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.plugin import PluginConfig, PluginDevice, PluginMount, PluginSettings
from lighterman.errdefs import InvalidParameter
from lighterman.plugins.config import initial_settings

T = TypeVar("T", PluginMount, PluginDevice)
_FIELDS = {"env": ("value",), "args": ("value",), "devices": ("path",), "mounts": ("source",)}


class _Wish(Struct, frozen=True):
    """`name[.field]=value`, as it was typed."""

    name: str
    field: str
    value: str

    @property
    def pretty(self) -> str:
        return f"{self.name}.{self.field}" if self.field else self.name


def changed(
    config: PluginConfig, settings: PluginSettings, wishes: Sequence[str]
) -> tuple[PluginConfig, PluginSettings]:
    """Both after the wishes, each `name[.field]=value`; nothing is changed if one of them cannot be.

    A mount's source and a device's path change in the configuration too, as with dockerd.
    Raises: InvalidParameter in dockerd's words.
    """
    for wish in [_parsed(text) for text in wishes]:
        config, settings = _change(config, settings, wish)
    return config, settings


def _parsed(text: str) -> _Wish:
    name, _, value = text.partition("=")
    if not name:
        raise InvalidParameter("invalid format, must be <name>[.<field>][=<value>]")
    before, dot, field = name.rpartition(".")
    return _Wish(before, field, value) if dot and before else _Wish(name, "", value)


def _change(
    config: PluginConfig, settings: PluginSettings, wish: _Wish
) -> tuple[PluginConfig, PluginSettings]:
    for env in config.env or ():
        if env.name == wish.name:
            _check(wish, "env", env.settable)
            return config, replace(settings, env=_with_variable(settings.env, wish))
    for mount in config.mounts or ():
        if mount.name == wish.name:
            _check(wish, "mounts", mount.settable)
            if mount.source is None:
                raise InvalidParameter("Plugin config has no mount source")
            config = replace(config, mounts=_with(config.mounts or [], wish, "source"))
            return config, replace(settings, mounts=_with(settings.mounts, wish, "source"))
    for device in config.linux.devices or ():
        if device.name == wish.name:
            _check(wish, "devices", device.settable)
            if device.path is None:
                raise InvalidParameter("Plugin config has no device path")
            linux = replace(config.linux, devices=_with(config.linux.devices or [], wish, "path"))
            config = replace(config, linux=linux)
            return config, replace(settings, devices=_with(settings.devices, wish, "path"))
    if config.args.name == wish.name:
        _check(wish, "args", config.args.settable)
        return config, replace(settings, args=wish.value.split(" "))
    raise InvalidParameter(f'setting "{wish.name}" not found in the plugin configuration')


def _check(wish: _Wish, kind: str, settable: Sequence[str] | None) -> None:
    """Raise InvalidParameter unless the one field that is meant may be set."""
    allowed = settable or ()
    if not wish.field:
        if len(allowed) > 1:
            raise InvalidParameter("multiple fields are settable, one must be specified")
        wish = replace(wish, field=allowed[0] if allowed else "")
    if wish.field not in allowed or wish.field not in _FIELDS[kind]:
        raise InvalidParameter(f'"{wish.pretty}" is not settable')


def _with_variable(env: Sequence[str], wish: _Wish) -> list[str]:
    variable = f"{wish.name}={wish.value}"
    if not any(each.partition("=")[0] == wish.name for each in env):
        return [*env, variable]
    return [variable if each.partition("=")[0] == wish.name else each for each in env]


def _with(items: Sequence[T], wish: _Wish, field: str) -> list[T]:
    return [replace(item, **{field: wish.value}) if item.name == wish.name else item for item in items]


def carried_over(settings: PluginSettings, config: PluginConfig) -> tuple[PluginConfig, PluginSettings]:
    """The configuration of another version, and its settings: what was set before and may still be set stays.

    dockerd keeps all old settings and no new ones, so a variable that a new version brings is never there.
    """
    found = config, initial_settings(config)
    wishes = [
        *settings.env,
        *(f"{mount.name}.source={mount.source}" for mount in settings.mounts if mount.name),
        *(f"{device.name}.path={device.path}" for device in settings.devices if device.name),
        *([f"{config.args.name}={' '.join(settings.args)}"] if config.args.name else []),
    ]
    for wish in wishes:
        try:
            found = changed(*found, [wish])
        except InvalidParameter:  # the new version does not have it, or has it fixed
            continue
    return found
