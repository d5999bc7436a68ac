"""From statements to instructions and stages.

As in dockerd there are two passes, each over the whole file, and each with its own errors: the first reads
the forms of all arguments, the second asks each instruction whether they make sense.

Source: Dockerfile reference; frontend/dockerfile/instructions of dockerd 20.10.24, its errors' texts, too.
"""

import re
from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.container import HealthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.forms import (
    Flags,
    blank_words,
    flag_values,
    json_list,
    listed,
    pairs,
    split_statement,
)
from lighterman.lib.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Pairs,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lighterman.lib.dockerfile.mounts import run_mount
from lighterman.lib.dockerfile.source import Heredoc, Statement, announced_by, read
from lighterman.lib.dockerfile.words import SPACES, split_words
from lighterman.lib.go_quote import go_quote
from lighterman.lib.go_time import parse_duration

LONGEST_NAME = 255
"""Bytes of a file's name. Source: NAME_MAX of Linux."""


class Stage(Struct, frozen=True):
    """A FROM and what follows it up to the next."""

    start: From
    instructions: tuple[Instruction, ...]


class Dockerfile(Struct, frozen=True):
    """What a Dockerfile says."""

    arguments: tuple[Arg, ...]
    """Those before the first FROM: FROM alone knows their values, and each stage that names them again."""
    stages: tuple[Stage, ...]
    escape: str
    """The character that keeps the next one; `expanded` wants it."""
    warnings: tuple[str, ...]
    """In dockerd's words, a line each; the last one sums up."""


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """A whole Dockerfile; `name` is the file's, for errors. Raises: InvalidParameter in dockerd's words."""
    if not data:
        raise InvalidParameter(f"the Dockerfile ({name}) cannot be empty")
    try:
        source = read(data)
        forms = [_form(statement, source.escape) for statement in source.statements]
    except InvalidParameter as error:
        raise InvalidParameter(f"failed to parse {name}: {error}") from error
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for form in forms:
        try:
            instruction = _instruction(form)
        except InvalidParameter as error:
            raise InvalidParameter(f"dockerfile parse error line {form.line}: {error}") from error
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise InvalidParameter("no build stage in current context")
    return Dockerfile(
        tuple(arguments),
        tuple(Stage(start, tuple(instructions)) for start, instructions in stages),
        source.escape,
        tuple(source.warnings),
    )


def parse_trigger(text: str) -> Instruction:
    """The one instruction of an ONBUILD, as an image keeps it. Raises: InvalidParameter."""
    source = read(text.encode())
    if len(source.statements) != 1:
        raise InvalidParameter("onbuild trigger should be a single expression")
    return _command(_form(source.statements[0], source.escape))


def parse_changes(text: str, allowed: Iterable[str]) -> tuple[list[Instruction], str]:
    """Instructions without stages, and the escape character; other words than `allowed` are refused.

    Raises: InvalidParameter.
    """
    source = read(text.encode())
    forms = [_form(statement, source.escape) for statement in source.statements]
    for form in forms:
        if form.word not in allowed:
            raise InvalidParameter(f"{form.word} is not a valid change command")
    return [_command(form) for form in forms], source.escape


def _command(form: "_Form") -> Instruction:
    instruction = _instruction(form)
    if isinstance(instruction, From):
        raise InvalidParameter("*instructions.Stage is not a command type")
    return instruction


class _Form(Struct, frozen=True):
    """A statement with its arguments in their form."""

    word: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    json: bool
    line: int
    original: str
    heredocs: tuple[Heredoc, ...]

    def values(self, *single: str, several: tuple[str, ...] = ()) -> Flags:
        return flag_values(self.flags, single, several)


def _form(statement: Statement, escape: str) -> _Form:
    word, flags, rest = split_statement(statement.text)
    arguments, is_json = _arguments(word, rest, escape)
    return _Form(
        word=word,
        flags=flags,
        arguments=tuple(arguments),
        json=is_json,
        line=statement.line,
        original=statement.text.strip(SPACES),
        heredocs=statement.heredocs,
    )


def _arguments(word: str, rest: str, escape: str) -> tuple[list[str], bool]:
    """The arguments, and whether they were a JSON list."""
    match word:
        case "add" | "copy" | "volume":
            return listed(rest), json_list(rest) is not None
        case "cmd" | "entrypoint" | "run" | "shell":
            values = json_list(rest)
            return ([rest] if rest else [], False) if values is None else (values, True)
        case "env" | "label":
            return [text for pair in pairs(word.upper(), rest, escape) for text in pair], False
        case "arg":
            return split_words(rest, escape), False
        case "expose" | "from":
            return blank_words(rest), False
        case "healthcheck":
            kind, *command = re.split(f"[{SPACES}]+", rest, maxsplit=1)
            arguments, is_json = _arguments("cmd", "".join(command), escape)
            return [kind, *arguments] if kind else [], is_json
        case "onbuild":
            inner, _, inner_rest = split_statement(rest)
            return [inner, *_arguments(inner, inner_rest, escape)[0]] if rest else [], False
    return [rest] if rest else [], False


def _instruction(form: _Form) -> Instruction:
    make = _MAKERS.get(form.word)
    if make is None:
        raise InvalidParameter(f"unknown instruction: {form.word.upper()}")
    return make(form)


def _from(form: _Form) -> From:
    name = _stage_name(form.arguments)
    platform = form.values("platform").one("platform")
    return From(line=form.line, original=form.original, image=form.arguments[0], name=name, platform=platform)


def _stage_name(arguments: tuple[str, ...]) -> str:
    match arguments:
        case (_,):
            return ""
        case (_, word, name) if word.lower() == "as":
            if not re.fullmatch(r"[a-z][a-z0-9-_.]*", name.lower()):
                raise InvalidParameter(
                    f"invalid name for build stage: {go_quote(name)}, "
                    "name can't start with a number or contain symbols"
                )
            return name.lower()
    raise InvalidParameter("FROM requires either one or three arguments")


def _add(form: _Form) -> Add:
    _two_at_least(form)
    flags = form.values("chown", "chmod")
    sources, heredocs = _sources(form)
    return Add(
        line=form.line,
        original=form.original,
        sources=sources,
        heredocs=heredocs,
        destination=form.arguments[-1],
        chown=flags.one("chown"),
        chmod=flags.one("chmod"),
    )


def _copy(form: _Form) -> Copy:
    _two_at_least(form)
    flags = form.values("chown", "from", "chmod")
    sources, heredocs = _sources(form)
    return Copy(
        line=form.line,
        original=form.original,
        sources=sources,
        heredocs=heredocs,
        destination=form.arguments[-1],
        chown=flags.one("chown"),
        chmod=flags.one("chmod"),
        source_from=flags.one("from"),
    )


def _two_at_least(form: _Form) -> None:
    if len(form.arguments) < 2:
        raise InvalidParameter(
            f"{form.word.upper()} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )


def _sources(form: _Form) -> tuple[tuple[str, ...], tuple[Heredoc, ...]]:
    if not form.heredocs:
        return form.arguments[:-1], ()
    *words, destination = form.arguments
    if announced_by(destination):
        raise InvalidParameter(f"{form.word.upper()} cannot accept a heredoc as a destination")
    for heredoc in form.heredocs:
        name = heredoc.name
        if name in (".", "..") or {"/", "\0"} & set(name) or len(name.encode()) > LONGEST_NAME:
            raise InvalidParameter(f"{go_quote(name)} is no name of a file that {form.word.upper()} can make")
    return tuple(word for word in words if not announced_by(word)), form.heredocs


def _run(form: _Form) -> Run:
    flags = form.values(several=("mount",))
    mounts = tuple(map(run_mount, flags.all("mount")))
    run = Run(
        line=form.line,
        original=form.original,
        arguments=form.arguments,
        shell=not form.json,
        mounts=mounts,
    )
    if not form.heredocs:
        return run
    alone = len(split_words(form.arguments[0])) == 1
    first = form.heredocs[0]
    if alone and first.text.startswith("#!"):
        return replace(run, arguments=(), shell=False, script=first)
    if alone:
        return replace(run, arguments=(first.text,))
    texts = "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in form.heredocs)
    return replace(run, arguments=(form.arguments[0] + texts,))


def _cmd(form: _Form) -> Cmd:
    form.values()
    return Cmd(line=form.line, original=form.original, arguments=form.arguments, shell=not form.json)


def _entrypoint(form: _Form) -> Entrypoint:
    form.values()
    return Entrypoint(line=form.line, original=form.original, arguments=form.arguments, shell=not form.json)


def _env(form: _Form) -> Env:
    form.values()
    return Env(line=form.line, original=form.original, variables=_pairs(form))


def _label(form: _Form) -> Label:
    form.values()
    return Label(line=form.line, original=form.original, labels=_pairs(form))


def _pairs(form: _Form) -> Pairs:
    _one_at_least(form)
    names, values = form.arguments[::2], form.arguments[1::2]
    if "" in names:
        raise InvalidParameter(f"{form.word.upper()} names can not be blank")
    return tuple(zip(names, values, strict=True))


def _arg(form: _Form) -> Arg:
    _one_at_least(form)
    form.values()
    parts = [text.partition("=") for text in form.arguments]
    if any(not name for name, _, _ in parts):
        raise InvalidParameter("ARG names can not be blank")
    arguments = tuple((name, value if equals else None) for name, equals, value in parts)
    return Arg(line=form.line, original=form.original, arguments=arguments)


def _expose(form: _Form) -> Expose:
    _one_at_least(form)
    form.values()
    return Expose(line=form.line, original=form.original, ports=tuple(sorted(form.arguments)))


def _volume(form: _Form) -> Volume:
    _one_at_least(form)
    form.values()
    volumes = tuple(text.strip(SPACES) for text in form.arguments)
    if "" in volumes:
        raise InvalidParameter("VOLUME specified can not be an empty string")
    return Volume(line=form.line, original=form.original, volumes=volumes)


def _maintainer(form: _Form) -> Maintainer:
    return Maintainer(line=form.line, original=form.original, maintainer=_exactly_one(form))


def _user(form: _Form) -> User:
    return User(line=form.line, original=form.original, user=_exactly_one(form))


def _workdir(form: _Form) -> Workdir:
    return Workdir(line=form.line, original=form.original, path=_exactly_one(form))


def _stop_signal(form: _Form) -> StopSignal:
    return StopSignal(line=form.line, original=form.original, signal=_exactly_one(form))


def _one_at_least(form: _Form) -> None:
    if not form.arguments:
        raise InvalidParameter(f"{form.word.upper()} requires at least one argument")


def _exactly_one(form: _Form) -> str:
    if len(form.arguments) != 1:
        raise InvalidParameter(f"{form.word.upper()} requires exactly one argument")
    form.values()
    return form.arguments[0]


def _shell(form: _Form) -> Shell:
    form.values()
    _one_at_least(form)
    if not form.json:
        raise InvalidParameter("SHELL requires the arguments to be in JSON form")
    return Shell(line=form.line, original=form.original, shell=form.arguments)


def _onbuild(form: _Form) -> Onbuild:
    _one_at_least(form)
    form.values()
    trigger = form.arguments[0].upper()
    if trigger == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidParameter(f"{trigger} isn't allowed as an ONBUILD trigger")
    text = re.sub(r"^\s*onbuild\s*", "", form.original, flags=re.IGNORECASE)
    texts = "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in form.heredocs)
    return Onbuild(line=form.line, original=form.original, trigger=text + texts)


def _healthcheck(form: _Form) -> Healthcheck:
    _one_at_least(form)
    kind, *command = form.arguments
    match kind.upper():
        case "NONE":
            if command:
                raise InvalidParameter("HEALTHCHECK NONE takes no arguments")
            form.values()
            health = HealthConfig(test=["NONE"])
        case "CMD":
            health = _health_command(form, command)
        case other:
            _health_flags(form)
            raise InvalidParameter(f"Unknown type {go_quote(other)} in HEALTHCHECK (try CMD)")
    return Healthcheck(line=form.line, original=form.original, health=health)


def _health_flags(form: _Form) -> Flags:
    return form.values("interval", "timeout", "start-period", "start-interval", "retries")


def _health_command(form: _Form, command: list[str]) -> HealthConfig:
    flags = _health_flags(form)
    if not command:
        raise InvalidParameter("Missing command after HEALTHCHECK CMD")
    return HealthConfig(
        test=["CMD" if form.json else "CMD-SHELL", *command],
        interval=_interval_ns("interval", flags.one("interval")),
        timeout=_interval_ns("timeout", flags.one("timeout")),
        start_period=_interval_ns("start-period", flags.one("start-period")),
        start_interval=_interval_ns("start-interval", flags.one("start-interval")),
        retries=_retries(flags.one("retries")),
    )


def _interval_ns(name: str, text: str) -> int:
    if not text:
        return 0
    try:
        duration_ns = parse_duration(text)
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
    if duration_ns < 1_000_000:
        raise InvalidParameter(f"Interval {go_quote(name)} cannot be less than 1ms")
    return duration_ns


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise InvalidParameter(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    retries = int(text)
    if not -(1 << 31) <= retries < 1 << 31:
        raise InvalidParameter(f"strconv.ParseInt: parsing {go_quote(text)}: value out of range")
    if retries < 1:
        raise InvalidParameter(f"--retries must be at least 1 (not {retries})")
    return retries


_MAKERS: dict[str, Callable[[_Form], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
