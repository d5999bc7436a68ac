"""`changes` of an import: a few instructions of a Dockerfile that alter a configuration, pure.

Source: Dockerfile reference; dockerd's list of what a commit or import may change.
"""

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

import msgspec

from lighterman.apitypes.container import ContainerConfig
from lighterman.errdefs import InvalidParameter, Unimplemented

_LATER = ("HEALTHCHECK", "ONBUILD")


def changed(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """The configuration after the instructions, one in each text.

    Raises: InvalidParameter in Docker's words, Unimplemented.
    """
    for change in changes:
        for line in filter(None, map(str.strip, change.splitlines())):
            word, _, rest = line.partition(" ")
            config = _apply(config, word.upper(), rest.strip())
    return config


def _apply(config: ContainerConfig, word: str, rest: str) -> ContainerConfig:
    fields: dict[str, Any]
    match word:
        case "CMD" | "ENTRYPOINT":
            fields = {word.lower(): _command(rest)}
        case "ENV":
            env = dict(entry.partition("=")[::2] for entry in config.env or [])
            env.update(_pairs(word, rest))
            fields = {"env": [f"{key}={value}" for key, value in env.items()]}
        case "LABEL":
            fields = {"labels": {**(config.labels or {}), **_pairs(word, rest)}}
        case "EXPOSE":
            ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in rest.split()}
            fields = {"exposed_ports": {**(config.exposed_ports or {}), **ports}}
        case "VOLUME":
            fields = {"volumes": {**(config.volumes or {}), **{path: {} for path in _words(rest)}}}
        case "USER":
            fields = {"user": rest}
        case "WORKDIR":
            before = config.working_dir or "/"
            fields = {"working_dir": rest if rest.startswith("/") else f"{before.rstrip('/')}/{rest}"}
        case "STOPSIGNAL":
            fields = {"stop_signal": rest}
        case _ if word in _LATER:
            raise Unimplemented(f"the change {word} is not implemented yet")
        case _:
            raise InvalidParameter(f"{word.lower()} is not a valid change command")
    if not rest:
        raise InvalidParameter(f"{word} requires at least one argument")
    return msgspec.structs.replace(config, **fields)


def _command(text: str) -> list[str]:
    return _list(text) or ["/bin/sh", "-c", text]


def _words(text: str) -> list[str]:
    return _list(text) or text.split()


def _list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _pairs(word: str, text: str) -> dict[str, str]:
    if not re.match(r"[^\s=]+=", text):
        key, _, value = text.partition(" ")
        return {key: value.strip()}
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise InvalidParameter(f"Syntax error - can't read {word}: {error}") from error
    for part in parts:
        if "=" not in part:
            raise InvalidParameter(
                f"Syntax error - can't find = in {part!r}. Must be of the form: name=value"
            )
    return dict(part.partition("=")[::2] for part in parts)
