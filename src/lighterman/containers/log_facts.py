"""What log drivers tell of a container: its names, and the labels and variables that were asked for. Pure."""

import os
import re
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from lighterman.containers.state import Container
from lighterman.errdefs import InvalidParameter

JOURNAL = os.environ.get("LIGHTERMAN_JOURNAL_SOCKET", "/run/systemd/journal/socket")
"""Where systemd's journal listens."""


class LogFacts(Struct, frozen=True):
    """Of one container; without arguments those of none, to check options with."""

    id: str = ""
    name: str = ""
    image_id: str = ""
    image_name: str = ""
    command: str = ""
    created_ns: int = 0
    hostname: str = ""  # the host's
    journal: str = ""  # the host's socket of systemd's journal
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def facts_of(container: Container, hostname: str) -> LogFacts:
    """What is told of `container` on the host `hostname`."""
    config = container.config
    return LogFacts(
        id=container.id,
        name=container.name,
        image_id=container.image_id,
        image_name=config.image,
        command=" ".join((*(config.entrypoint or ()), *(config.cmd or ()))),
        created_ns=container.created_ns,
        hostname=hostname,
        journal=JOURNAL,
        labels=config.labels or {},
        env=dict(each.split("=", 1) for each in config.env or () if "=" in each),
    )


def attributes(
    options: Mapping[str, str], facts: LogFacts, rename: Callable[[str], str] = str
) -> dict[str, str]:
    """The labels and variables that `labels`, `env` and their -regex name, under names by `rename`.

    Raises: InvalidParameter: a regular expression is none. Source: ExtraAttributes of moby's logger.
    """
    found: dict[str, str] = {}
    for wished, pattern, values in (
        (options.get("labels", ""), options.get("labels-regex", ""), facts.labels),
        (options.get("env", ""), options.get("env-regex", ""), facts.env),
    ):
        matches = _matcher(pattern)
        names = wished.split(",")
        found |= {rename(name): values[name] for name in names if name in values}
        found |= {rename(name): value for name, value in values.items() if matches(name)}
    return found


def _matcher(pattern: str) -> Callable[[str], object]:
    if not pattern:
        return lambda name: None
    try:
        return re.compile(pattern).search
    except re.error as error:
        raise InvalidParameter(f"error parsing regexp: {error}: `{pattern}`") from error


# The tag

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s|]+|\|')
_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "truncate": lambda text, length: text[: int(length)],
    "pad": lambda text, before, after: text and " " * int(before) + text + " " * int(after),
    "index": lambda table, key: table.get(key, ""),
}


def tag(template: str, facts: LogFacts) -> str:
    """The log's tag of a template such as `{{.Name}}/{{.ID}}`.

    A part of Go's templates: fields, pipelines, and the functions lower, upper, title, truncate, pad and
    index. Raises: InvalidParameter in Go's words for the rest. Source: ParseLogTag of moby.
    """
    return _ACTION.sub(lambda action: _pipeline(action[1], action.start() + 2, facts), template)


def _pipeline(text: str, at: int, facts: LogFacts) -> str:
    value: object = None
    words: list[str] = []
    for word in [*_TOKEN.findall(text), "|"]:
        if word != "|":
            words.append(word)
            continue
        value = _command(words, [] if value is None else [value], at, facts)
        words = []
    return str(value)


def _command(words: list[str], piped: list[object], at: int, facts: LogFacts) -> object:
    if not words:
        raise InvalidParameter("template: log-tag:1: missing value for command")
    name, *rest = words
    if name.startswith((".", '"')):
        return _value(name, at, facts)
    if name not in _FUNCTIONS:
        raise InvalidParameter(f'template: log-tag:1: function "{name}" not defined')
    try:
        return _FUNCTIONS[name](*(_value(word, at, facts) for word in rest), *piped)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidParameter(
            f'template: log-tag:1:{at}: executing "log-tag" at <{name}>: wrong arguments'
        ) from error


def _value(word: str, at: int, facts: LogFacts) -> object:
    if word.startswith('"'):
        return word[1:-1]
    if not word.startswith("."):
        return word
    fields = _fields(facts)
    if word[1:] not in fields:
        raise InvalidParameter(
            f'template: log-tag:1:{at}: executing "log-tag" at <{word}>: '
            f"can't evaluate field {word[1:]} in type *logger.Info"
        )
    return fields[word[1:]]


def _fields(facts: LogFacts) -> Mapping[str, object]:
    short_image = facts.image_id.removeprefix("sha256:")[:12]
    return {
        "ID": facts.id[:12],
        "FullID": facts.id,
        "ContainerID": facts.id,
        "Name": facts.name,
        "ContainerName": f"/{facts.name}",
        "ImageID": short_image,
        "ImageFullID": facts.image_id,
        "ContainerImageID": facts.image_id,
        "ImageName": facts.image_name,
        "ContainerImageName": facts.image_name,
        "Command": facts.command,
        "Hostname": facts.hostname,
        "DaemonName": "docker",
        "ContainerLabels": facts.labels,
    }
