"""What an instruction makes of a configuration, and what the history says about it.

Only instructions that alter nothing but the configuration are here; what RUN, COPY and ADD do is the
builder's business. Their variables have been read before (`instructions.expanded`).

Source: builder/dockerfile/dispatchers of dockerd 20.10.24; its comments are part of the images that it makes.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import UnsetType, structs

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.instructions import (
    Arg,
    Cmd,
    CommandLine,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lighterman.lib.dockerfile.ports import exposed_ports
from lighterman.lib.go_quote import go_quote, go_quote_char, go_quote_list
from lighterman.lib.go_time import go_duration

DEFAULT_SHELL = ("/bin/sh", "-c")
LARGEST_ENVIRONMENT = 2 << 20
"""Bytes: what the kernel passes to a program at most (a quarter of the stack's usual limit)."""


def configured(config: ContainerConfig, instruction: Instruction, *, keeps_cmd: bool) -> ContainerConfig:
    """The configuration after the instruction.

    An ENTRYPOINT takes the command away, which was meant for another program, unless the same stage gave it
    (`keeps_cmd`). The name of a STOPSIGNAL is for the caller to check, who knows signals.
    Raises: InvalidParameter in dockerd's words.
    """
    match instruction:
        case Env():
            return structs.replace(config, env=_environment(config.env or (), instruction.variables))
        case Label():
            return structs.replace(config, labels={**(config.labels or {}), **dict(instruction.labels)})
        case Cmd():
            return structs.replace(config, cmd=command_line(config, instruction))
        case Entrypoint():
            entrypoint = command_line(config, instruction) if instruction.arguments else None
            cmd = config.cmd if keeps_cmd else None
            return structs.replace(config, entrypoint=entrypoint, cmd=cmd)
        case Expose():
            ports = [port for text in instruction.ports for port in exposed_ports(text)]
            known = _given(config.exposed_ports) or {}
            return structs.replace(config, exposed_ports={**known, **{port: {} for port in ports}})
        case Volume():
            return structs.replace(config, volumes={**(config.volumes or {}), **_volumes(instruction)})
        case Workdir():
            return structs.replace(config, working_dir=_directory(config.working_dir, instruction.path))
        case User():
            return structs.replace(config, user=instruction.user)
        case StopSignal():
            return structs.replace(config, stop_signal=instruction.signal)
        case Shell():
            return structs.replace(config, shell=list(instruction.shell))
        case Healthcheck():
            return structs.replace(config, healthcheck=instruction.health)
        case Onbuild():
            return structs.replace(config, on_build=[*(config.on_build or ()), instruction.trigger])
    return config


def comment(config: ContainerConfig, instruction: Instruction) -> str:
    """What the history says; `config` is the configuration after the instruction."""
    match instruction:
        case Env():
            return _comment("ENV", (f"{name}={value}" for name, value in instruction.variables))
        case Label():
            return _comment("LABEL", (f"{name}={value}" for name, value in instruction.labels))
        case Arg():
            return _comment(
                "ARG",
                (name if value is None else f"{name}={value}" for name, value in instruction.arguments),
            )
        case Cmd():
            return f"CMD {go_quote_list(config.cmd or ())}"
        case Entrypoint():
            return f"ENTRYPOINT {go_quote_list(config.entrypoint or ())}"
        case Expose():
            return _comment("EXPOSE", instruction.ports)
        case Volume():
            return f"VOLUME [{' '.join(instruction.volumes)}]"
        case Shell():
            return f"SHELL [{' '.join(instruction.shell)}]"
        case Workdir():
            return f"WORKDIR {config.working_dir}"
        case User():
            return f"USER {instruction.user}"
        case StopSignal():
            return f"STOPSIGNAL {instruction.signal}"
        case Healthcheck():
            return f"HEALTHCHECK {_shown(instruction.health)}"
        case Onbuild():
            return f"ONBUILD {instruction.trigger}"
        case Maintainer():
            return f"MAINTAINER {instruction.maintainer}"
    raise TypeError(f"{type(instruction).__name__} does more than to configure")


def command_line(config: ContainerConfig, instruction: CommandLine) -> list[str]:
    """The program and its arguments: the list as it is, a text through the shell of the configuration."""
    shell = _given(config.shell) or DEFAULT_SHELL if instruction.shell else ()
    return [*shell, *instruction.arguments]


def environment(entries: Sequence[str] | None) -> dict[str, str]:
    """The variables of a configuration by name."""
    return {name: value for name, _, value in (entry.partition("=") for entry in entries or ())}


_T = TypeVar("_T")


def _given(value: _T | UnsetType | None) -> _T | None:
    return None if isinstance(value, UnsetType) else value


def _comment(word: str, parts: Iterable[str]) -> str:
    return " ".join([word, *parts])


def _environment(entries: Sequence[str], variables: Sequence[tuple[str, str]]) -> list[str]:
    """The entries with the variables, each in its old place or at the end."""
    after: dict[str, str] = {entry.partition("=")[0]: entry for entry in entries}
    after |= {name: f"{name}={value}" for name, value in variables}
    size = sum(len(entry) for entry in after.values())
    if size > LARGEST_ENVIRONMENT:
        raise InvalidParameter(f"the environment has {size} characters, more than {LARGEST_ENVIRONMENT}")
    return list(after.values())


def _volumes(instruction: Volume) -> Mapping[str, dict[str, object]]:
    if "" in instruction.volumes:
        raise InvalidParameter("VOLUME specified can not be an empty string")
    return {path: {} for path in instruction.volumes}


def _directory(current: str, path: str) -> str:
    """An absolute path stays as it was written."""
    if not path:
        raise InvalidParameter("cannot normalize nothing")
    if path.startswith("/"):
        return path
    return "/" + posixpath.normpath(posixpath.join("/", current, path)).lstrip("/")


def _shown(health: HealthConfig) -> str:
    """The check as `%q` of Go shows it, down to the number of retries as a character."""
    times = [health.interval, health.timeout, health.start_period]
    times += [health.start_interval] if health.start_interval else []  # dockerd 20.10 has no such field
    shown = " ".join(go_quote(go_duration(duration_ns)) for duration_ns in times)
    return f"&{{{go_quote_list(health.test or ())} {shown} {go_quote_char(health.retries)}}}"
