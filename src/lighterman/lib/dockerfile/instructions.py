"""The instructions as values: one frozen Struct each, with what its line says and nothing else.

Variables in them are unread until `expanded` has been asked: their values are known only as the build goes.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.container import HealthConfig
from lighterman.lib.dockerfile.mounts import RunMount
from lighterman.lib.dockerfile.source import Heredoc
from lighterman.lib.dockerfile.words import expand, expand_words

Pairs = tuple[tuple[str, str], ...]


class Instruction(Struct, frozen=True, kw_only=True):
    """What all have."""

    line: int
    """Of the Dockerfile, from 1; of the first line, where it has several."""
    original: str
    """As it is written, in one line: what `Step 1/3 : ` shows."""


class From(Instruction, frozen=True, kw_only=True):
    """The beginning of a stage."""

    image: str
    name: str = ""
    """In lower case; empty when it has none."""
    platform: str = ""


class CommandLine(Instruction, frozen=True, kw_only=True):
    """A program's arguments, or with `shell` one text for the shell."""

    arguments: tuple[str, ...]
    shell: bool


class Run(CommandLine, frozen=True, kw_only=True):
    """Heredocs are part of the one text already, or are it."""

    mounts: tuple[RunMount, ...] = ()
    script: Heredoc | None = None
    """A heredoc that begins with `#!` and stands alone: it is the program, and `arguments` is empty."""


class Cmd(CommandLine, frozen=True, kw_only=True):
    pass


class Entrypoint(CommandLine, frozen=True, kw_only=True):
    pass


class Transfer(Instruction, frozen=True, kw_only=True):
    """What COPY and ADD share."""

    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()
    """Sources that are written in the Dockerfile; their names are those of the files."""
    destination: str
    chown: str = ""
    chmod: str = ""
    """Octal digits, as written."""


class Add(Transfer, frozen=True, kw_only=True):
    pass


class Copy(Transfer, frozen=True, kw_only=True):
    source_from: str = ""
    """A stage's name or number, or an image; empty: the context."""


class Env(Instruction, frozen=True, kw_only=True):
    variables: Pairs


class Label(Instruction, frozen=True, kw_only=True):
    labels: Pairs
    literal: bool = False
    """A label that the build's request asked for: nothing in it is a variable."""


class Arg(Instruction, frozen=True, kw_only=True):
    arguments: tuple[tuple[str, str | None], ...]
    """Names and their defaults."""


class Expose(Instruction, frozen=True, kw_only=True):
    ports: tuple[str, ...]
    """Sorted, and as they are written: `80`, `53/udp`, `8000-8010`."""


class Healthcheck(Instruction, frozen=True, kw_only=True):
    health: HealthConfig


class Maintainer(Instruction, frozen=True, kw_only=True):
    maintainer: str


class Onbuild(Instruction, frozen=True, kw_only=True):
    trigger: str
    """An instruction, unread but for its name."""


class Shell(Instruction, frozen=True, kw_only=True):
    shell: tuple[str, ...]


class StopSignal(Instruction, frozen=True, kw_only=True):
    signal: str


class User(Instruction, frozen=True, kw_only=True):
    user: str


class Volume(Instruction, frozen=True, kw_only=True):
    volumes: tuple[str, ...]


class Workdir(Instruction, frozen=True, kw_only=True):
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
