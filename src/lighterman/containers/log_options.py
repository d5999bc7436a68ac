"""The log driver of a container and its options. Pure."""

import re
from collections.abc import Mapping
from pathlib import Path

from lighterman.apitypes.container import ContainerConfig, LogConfig
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.runtime import LogFile

_LATER = frozenset(
    {
        "local",
        "syslog",
        "journald",
        "gelf",
        "fluentd",
        "awslogs",
        "splunk",
        "gcplogs",
        "logentries",
        "etwlogs",
    }
)
_JSON_FILE = frozenset({"max-size", "max-file", "labels", "env", "tag", "mode", "max-buffer-size"})
_JSON_FILE_LATER = frozenset({"compress", "labels-regex", "env-regex"})
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def resolve_log_config(wish: LogConfig, default: LogConfig) -> LogConfig:
    """The driver and options that a container gets: its own, or else the engine's.

    Raises InvalidParameter in Docker's words for unknown drivers and options, Unimplemented.
    """
    chosen = wish if wish.type else LogConfig(default.type, {**(default.config or {}), **(wish.config or {})})
    if chosen.type in _LATER:
        raise Unimplemented(f"the log driver {chosen.type} is not implemented yet")
    if chosen.type not in ("json-file", "none"):
        raise InvalidParameter(
            f'error looking up logging plugin {chosen.type}: plugin "{chosen.type}" not found'
        )
    options = chosen.config or {}
    if chosen.type == "json-file":
        _check_json_file(options)
    return LogConfig(chosen.type, dict(options))


def _check_json_file(options: Mapping[str, str]) -> None:
    for key in options:
        if key in _JSON_FILE_LATER:
            raise Unimplemented(f"the log option {key} is not implemented yet")
        if key not in _JSON_FILE:
            raise InvalidParameter(f"unknown log opt '{key}' for json-file log driver")
    if options.get("mode", "blocking") != "blocking":
        raise Unimplemented("the log option mode=non-blocking is not implemented yet")
    if "max-buffer-size" in options:
        raise InvalidParameter("logger: 'max-buffer-size' option is only supported with 'mode=non-blocking'")
    if "{{" in options.get("tag", ""):
        raise Unimplemented("templates in the log option tag are not implemented yet")
    _size_bytes(options.get("max-size", "-1"))
    if _count(options.get("max-file", "1")) < 1:
        raise InvalidParameter("max-file cannot be less than 1")


def log_file(path: Path, log: LogConfig, config: ContainerConfig) -> LogFile | None:
    """Where the monitor writes; None keeps nothing."""
    if log.type == "none":
        return None
    options = log.config or {}
    return LogFile(
        path=str(path),
        max_size_bytes=_size_bytes(options.get("max-size", "-1")),
        max_files=_count(options.get("max-file", "1")),
        attrs=_attributes(options, config),
    )


def _attributes(options: Mapping[str, str], config: ContainerConfig) -> dict[str, str]:
    """The labels and variables that `labels` and `env` name, and the tag."""
    labels = config.labels or {}
    env = dict(each.split("=", 1) for each in config.env or () if "=" in each)
    named = {key: labels[key] for key in options.get("labels", "").split(",") if key in labels}
    named |= {key: env[key] for key in options.get("env", "").split(",") if key in env}
    return named | ({"tag": options["tag"]} if options.get("tag") else {})


def _size_bytes(text: str) -> int:
    """Bytes of "10m"; 0 (never rotated) of "-1"."""
    if text == "-1":
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?", text.lower())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    return int(float(match[1]) * _UNITS[match[2]])


def _count(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise InvalidParameter(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
