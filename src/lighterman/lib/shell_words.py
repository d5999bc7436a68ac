"""Words of a Dockerfile's instruction: quotes, escapes and variables as a shell would read them.

Double quotes keep variables alive, single quotes keep everything as it is, a backslash keeps one character.
A variable is `$name`, `${name}`, `${name:-otherwise}` or `${name:+instead}`; one that is not set is empty.
Source: Dockerfile reference, environment replacement.
"""

import re
from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]")


class BadWord(ValueError):
    """A quote or brace that is never closed, or a substitution that is none."""


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`text` as one word: without its quotes, with the values of its variables. Raises: BadWord."""
    return "".join(piece for piece, _ in _pieces(text, variables))


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of `text`, which spaces outside of quotes divide; those in a variable's value do too.

    Raises: BadWord.
    """
    found: list[str] = []
    current: str | None = None
    for piece, quoted in _pieces(text, variables):
        if quoted:
            current = (current or "") + piece
            continue
        for part in re.split(r"(\s+)", piece):
            if part.isspace():
                found += [] if current is None else [current]
                current = None
            elif part:
                current = (current or "") + part
    return found + ([] if current is None else [current])


def split(text: str) -> list[str]:
    """The words of `text` as they are written, with quotes and variables. Raises: BadWord."""
    found, start, at, quote = [], 0, 0, ""
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            found.append(text[start:at])
            start = at + 1
        at += 1
    if quote:
        raise BadWord(f"unexpected end of statement while looking for matching {_kind(quote)}-quote")
    return [word for word in [*found, text[start:]] if word]


def _pieces(text: str, variables: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Text, and whether it was quoted."""
    at, quoted = 0, False
    while at < len(text):
        char = text[at]
        if char == "'" and not quoted:
            end = text.find("'", at + 1)
            if end < 0:
                raise BadWord("unexpected end of statement while looking for matching single-quote")
            yield text[at + 1 : end], True
            at = end + 1
        elif char == '"':
            quoted = not quoted
            yield "", True
            at += 1
        elif char == "\\" and at + 1 < len(text):
            kept = quoted and text[at + 1] not in '"$\\'
            yield text[at : at + 2] if kept else text[at + 1], True
            at += 2
        elif char == "$":
            value, at = _variable(text, at + 1, variables)
            yield value, quoted
        else:
            yield char, quoted
            at += 1
    if quoted:
        raise BadWord("unexpected end of statement while looking for matching double-quote")


def _variable(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """The value of what stands behind the dollar at `at`, and where the text goes on."""
    if not text.startswith("{", at):
        name = _NAME.match(text, at)
        return (variables.get(name[0], ""), name.end()) if name else ("$", at)
    name = _NAME.match(text, at + 1)
    if name is None:
        raise BadWord("syntax error: bad substitution")
    if text.startswith("}", name.end()):
        return variables.get(name[0], ""), name.end() + 1
    modifier, start = text[name.end() : name.end() + 2], name.end() + 2
    end = _closing(text, start)
    otherwise = expanded(text[start:end], variables)
    value = variables.get(name[0], "")
    match modifier:
        case ":-":
            return value or otherwise, end + 1
        case ":+":
            return otherwise if value else "", end + 1
    raise BadWord(f"unsupported modifier ({modifier[1:]}) in substitution")


def _closing(text: str, at: int) -> int:
    depth = 1
    for place in range(at, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return place
    raise BadWord("syntax error: missing '}'")


def _kind(quote: str) -> str:
    return "single" if quote == "'" else "double"
