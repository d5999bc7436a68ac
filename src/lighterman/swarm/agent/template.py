"""Placeholders in a task's specification and in the contents of secrets and configs. Pure.

Of the language of Go's text/template this is what SwarmKit's users write: fields (`.Service.Name`), `index`,
`join`, texts, and in contents `secret`, `config` and `env`. What is more than that is refused, not passed
over. Source: SwarmKit's template package; text/template of Go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lighterman.errdefs import InvalidParameter

Function = Callable[..., str]
_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\S+))')


class BadTemplate(InvalidParameter):
    """A placeholder that is none."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f'template: expansion: executing "expansion" at <{action}>: {reason}')


def expand(text: str, fields: Mapping[str, Any], functions: Mapping[str, Function] | None = None) -> str:
    """The text with its placeholders filled in from `fields`. Raises: BadTemplate."""
    if "{{" not in text:
        return text
    known: Mapping[str, Function] = {"join": _join, "index": _index, **(functions or {})}
    pieces: list[str] = []
    at, trims = 0, False
    for found in _ACTION.finditer(text):
        between = text[at : found.start()]
        between = between.lstrip() if trims else between
        pieces.append(between.rstrip() if found[1] else between)
        pieces.append(_value(found[2], fields, known))
        at, trims = found.end(), bool(found[3])
    rest = text[at:]
    if "{{" in rest:
        raise BadTemplate(rest[rest.index("{{") :], "unclosed action")
    pieces.append(rest.lstrip() if trims else rest)
    return "".join(pieces)


def _value(action: str, fields: Mapping[str, Any], functions: Mapping[str, Function]) -> str:
    if action.startswith("/*"):
        return ""
    words = list(_words(action))
    if not words or "|" in [raw for raw, _ in words]:
        raise BadTemplate(action, "this engine fills in fields, texts and calls of functions only")
    raw, literal = words[0]
    if literal is not None or raw.startswith("."):
        if len(words) > 1:
            raise BadTemplate(action, f"can't give argument to non-function {raw}")
        return str(_argument(action, words[0], fields))
    if raw not in functions:
        raise BadTemplate(action, f'function "{raw}" not defined')
    arguments = [_argument(action, word, fields) for word in words[1:]]
    try:
        return str(functions[raw](*arguments))
    except (TypeError, LookupError) as error:
        raise BadTemplate(action, f"error calling {raw}: {error}") from error


def _words(action: str) -> Sequence[tuple[str, str | None]]:
    """Each word as it stands, and its text if it is a quoted one."""
    return [
        (found[0].strip(), next((text for text in (found[1], found[2]) if text is not None), None))
        for found in _WORD.finditer(action)
    ]


def _argument(action: str, word: tuple[str, str | None], fields: Mapping[str, Any]) -> Any:
    raw, literal = word
    if literal is not None:
        return re.sub(r"\\(.)", r"\1", literal)
    if not raw.startswith("."):
        raise BadTemplate(action, f'function "{raw}" not defined')
    value: Any = fields
    for name in raw[1:].split(".") if raw != "." else ():
        if not isinstance(value, Mapping) or name not in value:
            raise BadTemplate(action, f"can't evaluate field {name}")
        value = value[name]
    return value


def _join(separator: str, *parts: str) -> str:
    return separator.join(parts)


def _index(values: Mapping[str, str], key: str) -> str:
    return values.get(key, "")
