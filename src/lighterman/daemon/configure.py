"""Flags and daemon.json, brought together in one frozen `EngineConfig`, or refused in dockerd's words."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lighterman.daemon.config import FIXED, NESTED, REFUSED, EngineConfig, as_go, options, refuse
from lighterman.daemon.validation import validate
from lighterman.errdefs import InvalidParameter

TLS_HOST = "tcp://localhost:2376"
"""Where an engine that speaks TLS listens, if nothing is said. Source: DefaultTLSHost of dockerd."""
_FILES = ("tlscacert", "tlscert", "tlskey", "seccomp_profile")
_NO_FILES = ("", "unconfined", "builtin", "default")
_JOINED = frozenset({"runtimes"})  # given by flag and file, these are joined: dockerd does so too


def configure(
    flags: Mapping[str, Any], file: bytes | None, file_name: str = "", *, started_in: Path = Path("/")
) -> EngineConfig:
    """The configuration from the options given as flags (by key, in the file's shape) and daemon.json.

    Files that are named from where the engine was started in are named from the root then.

    Raises: InvalidParameter in dockerd's words for broken JSON, unknown keys, conflicts and bad values.
    """
    given = _read(file, file_name) if file is not None else {}
    conflicts = [
        f"{key}: (from flag: {as_go(flags[key])}, from file: {as_go(given[key])})"
        for key in flags
        if key in given and key not in _JOINED
    ]
    if conflicts:
        raise InvalidParameter(
            f"unable to configure the Docker daemon with file {file_name}: the following directives are "
            f"specified both as a flag and in the configuration file: {', '.join(conflicts)}"
        )
    merged = {**given, **flags}
    for key in _JOINED & given.keys() & flags.keys():
        merged[key] = {**given[key], **flags[key]}
    if "default-ulimits" in merged:
        merged["default-ulimits"] = _with_ulimit_keys(merged["default-ulimits"])
    if "builder" in merged:
        merged["builder"] = _in_lower_case(merged["builder"])
    try:
        config = msgspec.convert({key: merged[key] for key in merged if key not in FIXED}, EngineConfig)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"unable to configure the Docker daemon: {error}") from error
    if "hosts" not in merged and config.uses_tls and "LISTEN_FDS" not in os.environ:
        config = msgspec.structs.replace(config, hosts=(TLS_HOST,))
    named = {key: getattr(config, key) for key in _FILES}
    config = msgspec.structs.replace(
        config, **{key: str(started_in / name) for key, name in named.items() if name not in _NO_FILES}
    )
    validate(config)
    return config


def _read(file: bytes, name: str) -> dict[str, Any]:
    where = f"unable to configure the Docker daemon with file {name}"
    if not (text := file.removeprefix(b"\xef\xbb\xbf").strip()):
        return {}
    try:
        decoded = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"{where}: invalid JSON: {error}") from error
    given = {key: value for key, value in decoded.items() if value is not None}  # Go reads null as nothing
    for key in NESTED.keys() & given.keys():
        given |= _inner(key, given.pop(key), where)
    if (gateway := given.pop("host-gateway-ip", None)) is not None:  # the key of before there were two
        if "host-gateway-ips" in given:
            raise InvalidParameter(f"{where}: host-gateway-ip and host-gateway-ips say the same: give one")
        given["host-gateway-ips"] = [gateway]
    known = {option.key for option in options()} | REFUSED.keys() | FIXED.keys()
    if unknown := sorted(given.keys() - known):
        raise InvalidParameter(
            f"{where}: the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    for key, value in given.items():
        try:
            refuse(key, value)
        except InvalidParameter as error:
            raise InvalidParameter(f"{where}: {error}") from None
    return given


def _with_ulimit_keys(wish: Any) -> Any:
    """Name, Hard and Soft in any case, as Go reads them and files in the wild write them."""
    if not isinstance(wish, dict):
        return wish
    return {
        name: {key.capitalize(): number for key, number in limit.items()}
        if isinstance(limit, dict)
        else limit
        for name, limit in wish.items()
    }


def _in_lower_case(wish: Any) -> Any:
    """The same with the keys of all objects in lower case, for those that Go reads in any."""
    match wish:
        case dict():
            return {key.lower(): _in_lower_case(value) for key, value in wish.items()}
        case list():
            return [_in_lower_case(each) for each in wish]
    return wish


def _inner(key: str, value: Any, where: str) -> dict[str, Any]:
    """What the nested `key` holds. Raises: InvalidParameter."""
    if not isinstance(value, dict) or value.keys() - set(NESTED[key]):
        raise InvalidParameter(f"{where}: {key}: expected an object of {', '.join(NESTED[key])}")
    return value
