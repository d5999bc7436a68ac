"""`changes` of a commit or import: the instructions of a Dockerfile that alter a configuration only, pure.

Source: Dockerfile reference; BuildFromConfig of dockerd 20.10.24, whose list lacks SHELL and STOPSIGNAL.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from msgspec import UnsetType, structs

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_time import parse_duration
from lighterman.lib.shell_words import BadWord, expanded, split, words

_NEVER = ("ONBUILD", "FROM", "MAINTAINER")
_DEFAULT_SHELL = ["/bin/sh", "-c"]


def changed(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """The configuration after the instructions, each on a line of its own.

    Raises: InvalidParameter in Docker's words.
    """
    lines = [line.strip() for change in changes for line in change.replace("\\\n", "").splitlines()]
    parsed = [_parsed(line) for line in lines if line and not line.startswith("#")]
    cmd_given = False
    for word, rest in parsed:
        try:
            config = _VERBS[word](config, rest)
        except BadWord as error:
            raise InvalidParameter(str(error)) from error
        cmd_given |= word == "CMD"
        if word == "ENTRYPOINT" and not cmd_given:
            config = structs.replace(config, cmd=None)  # it was meant for another program
    return config


def _parsed(line: str) -> tuple[str, str]:
    word, _, rest = line.partition(" ")
    word, rest = word.upper(), rest.strip()
    if word not in _VERBS:
        raise InvalidParameter(f"{word.lower()} is not a valid change command")
    if not rest:
        raise InvalidParameter(f"{word} requires at least one argument")
    return word, rest


def _environment(config: ContainerConfig) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in config.env or ())


def _cmd(config: ContainerConfig, rest: str) -> ContainerConfig:
    return structs.replace(config, cmd=_command(config, rest))


def _entrypoint(config: ContainerConfig, rest: str) -> ContainerConfig:
    return structs.replace(config, entrypoint=_command(config, rest))


def _env(config: ContainerConfig, rest: str) -> ContainerConfig:
    env = _environment(config)
    env.update(_pairs("ENV", rest, dict(env)))
    return structs.replace(config, env=[f"{key}={value}" for key, value in env.items()])


def _label(config: ContainerConfig, rest: str) -> ContainerConfig:
    labels = {**(config.labels or {}), **_pairs("LABEL", rest, _environment(config))}
    return structs.replace(config, labels=labels)


def _expose(config: ContainerConfig, rest: str) -> ContainerConfig:
    ports = [port for word in words(rest, _environment(config)) for port in _ports(word)]
    known = config.exposed_ports or {}
    return structs.replace(config, exposed_ports={**known, **{port: {} for port in ports}})


def _ports(text: str) -> list[str]:
    """`80`, `80/udp`, `80-82/tcp` in the form of the API, one by one; a host's part is passed over."""
    span, _, protocol = text.rpartition(":")[2].partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidParameter(f"invalid proto: {protocol}")
    first, _, last = span.partition("-")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 1 << 16):
        raise InvalidParameter(f"invalid containerPort: {span}")
    return [f"{port}/{protocol}" for port in range(int(first), int(last) + 1)]


def _volume(config: ContainerConfig, rest: str) -> ContainerConfig:
    paths = [expanded(path, _environment(config)) for path in _list(rest) or split(rest)]
    if "" in paths:
        raise InvalidParameter("VOLUME specified can not be an empty string")
    return structs.replace(config, volumes={**(config.volumes or {}), **{path: {} for path in paths}})


def _user(config: ContainerConfig, rest: str) -> ContainerConfig:
    return structs.replace(config, user=expanded(rest, _environment(config)))


def _workdir(config: ContainerConfig, rest: str) -> ContainerConfig:
    path = expanded(rest, _environment(config))
    return structs.replace(config, working_dir=str(PurePosixPath("/", config.working_dir, path)))


def _stopsignal(config: ContainerConfig, rest: str) -> ContainerConfig:
    return structs.replace(config, stop_signal=expanded(rest, _environment(config)))


def _shell(config: ContainerConfig, rest: str) -> ContainerConfig:
    shell = _list(rest)
    if not shell:
        raise InvalidParameter("SHELL requires the arguments to be in JSON form")
    return structs.replace(config, shell=shell)


def _onbuild(config: ContainerConfig, rest: str) -> ContainerConfig:
    trigger = rest.partition(" ")[0].upper()
    if trigger == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in _NEVER:
        raise InvalidParameter(f"{trigger} isn't allowed as an ONBUILD trigger")
    return structs.replace(config, on_build=[*(config.on_build or ()), rest])


def _healthcheck(config: ContainerConfig, rest: str) -> ContainerConfig:
    fields: dict[str, Any] = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        fields |= _health_option(option)
        rest = rest.lstrip()
    kind, _, command = rest.partition(" ")
    match kind.upper():
        case "NONE":
            if command.strip():
                raise InvalidParameter("HEALTHCHECK NONE takes no arguments")
            test = ["NONE"]
        case "CMD":
            parts = _list(command.strip())
            test = ["CMD", *parts] if parts else ["CMD-SHELL", command.strip()]
            if not command.strip():
                raise InvalidParameter("Missing command after HEALTHCHECK CMD")
        case _:
            raise InvalidParameter(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    return structs.replace(config, healthcheck=HealthConfig(test=test, **fields))


def _health_option(option: str) -> dict[str, int]:
    name, _, value = option.removeprefix("--").partition("=")
    if name == "retries":
        if not value.isdecimal():
            raise InvalidParameter(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        return {"retries": int(value)}
    if name not in ("interval", "timeout", "start-period", "start-interval"):
        raise InvalidParameter(f"Unknown flag: {name}")
    try:
        duration_ns = parse_duration(value)
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
    if 0 < duration_ns < 1_000_000 or duration_ns < 0:
        raise InvalidParameter(f"Interval {option[2:]!r} cannot be less than 1ms")
    return {name.replace("-", "_"): duration_ns}


def _command(config: ContainerConfig, text: str) -> list[str]:
    """A JSON list as it is, all else through the shell."""
    shell = None if isinstance(config.shell, UnsetType) else config.shell
    return _list(text) or [*(shell or _DEFAULT_SHELL), text]


def _list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _pairs(word: str, text: str, variables: dict[str, str]) -> dict[str, str]:
    """`name=value ...`, or the old form `name the value`."""
    first, *more = split(text)
    if "=" not in first:
        if not more:
            raise InvalidParameter(f"{word} must have two arguments")
        return {first: expanded(text[len(first) :].strip(), variables)}
    found: dict[str, str] = {}
    for part in (first, *more):
        name, equals, value = part.partition("=")
        if not equals:
            raise InvalidParameter(
                f"Syntax error - can't find = in {json.dumps(part)}. Must be of the form: name=value"
            )
        if not name:
            raise InvalidParameter(f"{word} names can not be blank")
        found[expanded(name, variables)] = expanded(value, variables)
    return found


_VERBS: dict[str, Callable[[ContainerConfig, str], ContainerConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
