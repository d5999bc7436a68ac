"""config.json: how it is read, what it asks for, what may be set."""

import json

import pytest
from msgspec import structs

from lighterman.apitypes.plugin import PluginConfig, PluginPrivilege
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters
from lighterman.plugins.config import (
    check_privileges,
    initial_settings,
    is_asked_for,
    parse_config,
    privileges,
    provides,
)
from lighterman.plugins.settings import carried_over, changed

DOCUMENT = {
    "description": "a plugin",
    "interface": {"socket": "p.sock", "Types": ["docker.volumedriver/1.0", "docker.logdriver/1.0"]},
    "Env": [
        {"name": "DEBUG", "settable": ["value"], "value": "0"},
        {"name": "FIXED", "value": "1"},
        {"name": "LATER", "settable": ["value"], "value": None},
    ],
    "args": {"name": "args", "settable": ["value"], "value": ["a", "b"]},
    "mounts": [{"name": "state", "source": "/var", "destination": "/s", "settable": ["source"]}],
    "linux": {
        "capabilities": ["CAP_SYS_ADMIN"],
        "devices": [{"name": "fuse", "path": "/dev/fuse", "settable": ["path"]}],
        "allowAllDevices": None,
    },
    "network": {"type": "host"},
    "unknown": {"is": "passed over"},
}


@pytest.fixture
def config() -> PluginConfig:
    return parse_config(json.dumps(DOCUMENT).encode())


def test_keys_are_read_in_any_case_and_null_is_nothing(config: PluginConfig) -> None:
    assert config.interface.socket == "p.sock"
    assert provides(config, "VolumeDriver")
    assert not provides(config, "authz")
    assert config.linux.allow_all_devices is False


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"env": 1}', b'{"entrypoint": [1]}', b"[" * 100000])
def test_what_is_no_configuration_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidParameter, match="failed to parse config"):
        parse_config(raw)


def test_a_plugin_asks_for_what_its_configuration_needs(config: PluginConfig) -> None:
    assert [(each.name, each.value) for each in privileges(config)] == [
        ("network", ["host"]),
        ("mount", ["/var"]),
        ("device", ["/dev/fuse"]),
        ("capabilities", ["CAP_SYS_ADMIN"]),
    ]


def test_privileges_are_allowed_in_any_order(config: PluginConfig) -> None:
    check_privileges(config, list(reversed(privileges(config))))


@pytest.mark.parametrize("number", range(4))
def test_go_2026_4883_each_privilege_counts_the_first_one_too(config: PluginConfig, number: int) -> None:
    allowed = privileges(config)
    other = PluginPrivilege(name=allowed[number].name, value=["something else"])
    for wrong in (
        [*allowed[:number], *allowed[number + 1 :]],
        [*allowed[:number], other, *allowed[number + 1 :]],
        [*allowed, other],
    ):
        with pytest.raises(InvalidParameter, match="incorrect privileges"):
            check_privileges(config, wrong)


def test_a_plugin_starts_with_what_has_a_value(config: PluginConfig) -> None:
    settings = initial_settings(config)
    assert settings.env == ["DEBUG=0", "FIXED=1"]
    assert settings.args == ["a", "b"]


def test_what_may_be_set_is_set(config: PluginConfig) -> None:
    wishes = ["DEBUG=1", "LATER=x", "args=c d", "state.source=/srv", "fuse.path=/dev/null"]
    changed_config, settings = changed(config, initial_settings(config), wishes)
    assert settings.env == ["DEBUG=1", "FIXED=1", "LATER=x"]
    assert settings.args == ["c", "d"]
    assert settings.mounts[0].source == "/srv"
    assert settings.devices[0].path == "/dev/null"
    assert (changed_config.mounts or [])[0].source == "/srv"


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ("FIXED=2", '"FIXED" is not settable'),
        ("DEBUG.name=2", '"DEBUG.name" is not settable'),
        ("nope=1", 'setting "nope" not found in the plugin configuration'),
        ("=1", "invalid format, must be <name>[.<field>][=<value>]"),
    ],
)
def test_what_may_not_be_set_is_refused(config: PluginConfig, wish: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        changed(config, initial_settings(config), [wish])
    assert str(refused.value) == text


def test_another_version_keeps_what_was_set_and_brings_what_is_new(config: PluginConfig) -> None:
    _, settings = changed(config, initial_settings(config), ["DEBUG=1", "state.source=/srv"])
    document = {**DOCUMENT, "env": [*DOCUMENT["Env"][:2], {"name": "NEW", "value": "n"}]}  # type: ignore[index]
    del document["Env"]
    newer, carried = carried_over(settings, parse_config(json.dumps(document).encode()))
    assert carried.env == ["DEBUG=1", "FIXED=1", "NEW=n"]
    assert (newer.mounts or [])[0].source == "/srv"


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ({}, True),
        ({"enabled": ("true",)}, True),
        ({"enabled": ("false",)}, False),
        ({"capability": ("volumedriver", "logdriver")}, True),
        ({"capability": ("authz",)}, False),
    ],
)
def test_a_list_shows_what_was_asked_for(
    config: PluginConfig, filters: dict[str, tuple[str, ...]], shown: bool
) -> None:
    assert is_asked_for(config, Filters(filters), enabled=True) is shown


def test_the_configuration_survives_its_row(config: PluginConfig) -> None:
    assert structs.asdict(config)["interface"].types == ["docker.volumedriver/1.0", "docker.logdriver/1.0"]
