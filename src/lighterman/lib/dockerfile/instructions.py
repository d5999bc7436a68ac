"""The instructions as values: one frozen dataclass each, with what its line says and nothing else.

Variables in them are unread until `expanded` has been asked: their values are known only as the build goes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from lighterman.apitypes.container import HealthConfig
from lighterman.lib.dockerfile.mounts import RunMount
from lighterman.lib.dockerfile.source import Heredoc
from lighterman.lib.dockerfile.words import expand, expand_words

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What all have."""

    line: int
    """Of the Dockerfile, from 1; of the first line, where it has several."""
    original: str
    """As it is written, in one line: what `Step 1/3 : ` shows."""


@dataclass(frozen=True, kw_only=True)
class From(Instruction):
    """The beginning of a stage."""

    image: str
    name: str = ""
    """In lower case; empty when it has none."""
    platform: str = ""


@dataclass(frozen=True, kw_only=True)
class CommandLine(Instruction):
    """A program's arguments, or with `shell` one text for the shell."""

    arguments: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, kw_only=True)
class Run(CommandLine):
    """Heredocs are part of the one text already, or are it."""

    mounts: tuple[RunMount, ...] = ()
    script: Heredoc | None = None
    """A heredoc that begins with `#!` and stands alone: it is the program, and `arguments` is empty."""


@dataclass(frozen=True, kw_only=True)
class Cmd(CommandLine):
    pass


@dataclass(frozen=True, kw_only=True)
class Entrypoint(CommandLine):
    pass


@dataclass(frozen=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD share."""

    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()
    """Sources that are written in the Dockerfile; their names are those of the files."""
    destination: str
    chown: str = ""
    chmod: str = ""
    """Octal digits, as written."""


@dataclass(frozen=True, kw_only=True)
class Add(Transfer):
    pass


@dataclass(frozen=True, kw_only=True)
class Copy(Transfer):
    source_from: str = ""
    """A stage's name or number, or an image; empty: the context."""


@dataclass(frozen=True, kw_only=True)
class Env(Instruction):
    variables: Pairs


@dataclass(frozen=True, kw_only=True)
class Label(Instruction):
    labels: Pairs
    literal: bool = False
    """A label that the build's request asked for: nothing in it is a variable."""


@dataclass(frozen=True, kw_only=True)
class Arg(Instruction):
    arguments: tuple[tuple[str, str | None], ...]
    """Names and their defaults."""


@dataclass(frozen=True, kw_only=True)
class Expose(Instruction):
    ports: tuple[str, ...]
    """Sorted, and as they are written: `80`, `53/udp`, `8000-8010`."""


@dataclass(frozen=True, kw_only=True)
class Healthcheck(Instruction):
    health: HealthConfig


@dataclass(frozen=True, kw_only=True)
class Maintainer(Instruction):
    maintainer: str


@dataclass(frozen=True, kw_only=True)
class Onbuild(Instruction):
    trigger: str
    """An instruction, unread but for its name."""


@dataclass(frozen=True, kw_only=True)
class Shell(Instruction):
    shell: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, kw_only=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, kw_only=True)
class Volume(Instruction):
    volumes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Workdir(Instruction):
    path: str


def request_label(name: str, value: str) -> Label:
    """The label of a build's request as an instruction; it stands in no line."""
    return Label(line=0, original=f"LABEL {name}={value}", labels=((name, value),), literal=True)


_Any = TypeVar("_Any", bound=Instruction)


def expanded(instruction: _Any, variables: Mapping[str, str], escape: str) -> _Any:
    """The instruction with the values of its variables and without its quotes.

    What a shell or a later build reads (RUN, CMD, ENTRYPOINT, ONBUILD, ...) stays as it is, and so does FROM,
    which knows other variables. Raises: InvalidParameter in dockerd's words.
    """

    def word(text: str) -> str:
        return expand(text, variables, escape)

    match instruction:
        case Transfer():
            return replace(
                instruction,
                chown=word(instruction.chown),
                chmod=word(instruction.chmod),
                sources=tuple(map(word, instruction.sources)),
                heredocs=tuple(_read(heredoc, variables) for heredoc in instruction.heredocs),
                destination=word(instruction.destination),
            )
        case Arg():
            return replace(instruction, arguments=_with_defaults(instruction, word))
        case Env():
            return replace(instruction, variables=_expanded_pairs(instruction.variables, word))
        case Label(literal=False):
            return replace(instruction, labels=_expanded_pairs(instruction.labels, word))
        case User():
            return replace(instruction, user=word(instruction.user))
        case Volume():
            return replace(instruction, volumes=tuple(map(word, instruction.volumes)))
        case Workdir():
            return replace(instruction, path=word(instruction.path))
        case StopSignal():
            return replace(instruction, signal=word(instruction.signal))
        case Expose():
            ports = [port for text in instruction.ports for port in expand_words(text, variables, escape)]
            return replace(instruction, ports=tuple(ports))
    return instruction


def _expanded_pairs(pairs: Pairs, word: Callable[[str], str]) -> Pairs:
    return tuple((word(name), word(value)) for name, value in pairs)


def _with_defaults(arg: Arg, word: Callable[[str], str]) -> tuple[tuple[str, str | None], ...]:
    return tuple((word(name), None if value is None else word(value)) for name, value in arg.arguments)


def _read(heredoc: Heredoc, variables: Mapping[str, str]) -> Heredoc:
    if not heredoc.variables:
        return heredoc
    return replace(heredoc, text=expand(heredoc.text, variables, quotes=False))
