"""The forms that an instruction's arguments have: flags, JSON lists, pairs, words.

Source: frontend/dockerfile/parser of dockerd 20.10.24 (line parsers, splitCommand, BFlags); so are the texts.
"""

import json
import re
from collections.abc import Iterable, Mapping

from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.words import SPACES, split_words
from lighterman.lib.go_quote import go_quote

BLANKS = re.compile(r"[\t\v\f\r ]+")


def split_statement(text: str) -> tuple[str, tuple[str, ...], str]:
    """The instruction in lower case, its flags as written (`--chown=1:2`), and the rest."""
    word, *rest = BLANKS.split(text.strip(SPACES), maxsplit=1)
    flags, arguments = _split_flags(rest[0]) if rest else ((), "")
    return word.lower(), flags, arguments.strip(SPACES)


def _split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """Words that begin with two dashes, without their quotes, and what stands behind the last.

    The escape is a backslash here whatever the directive says. A lone `--` ends the flags.
    """
    flags: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in SPACES:
            at += 1
            continue
        if not text.startswith("--", at):
            return tuple(flags), text[at:]
        flag, at = _flag(text, at)
        if flag == "--":
            return tuple(flags), text[at:]
        flags.append(flag)
    return tuple(flags), ""


def _flag(text: str, at: int) -> tuple[str, int]:
    flag, quote = "", ""
    while at < len(text):
        char = text[at]
        if char == "\\":
            flag += text[at + 1 : at + 2]
            at += 1
        elif quote:
            quote, flag = ("", flag) if char == quote else (quote, flag + char)
        elif char in "'\"":
            quote = char
        elif char in SPACES:
            break
        else:
            flag += char
        at += 1
    return flag, at


def flag_values(flags: Iterable[str], single: Iterable[str], several: Iterable[str] = ()) -> "Flags":
    """The values of flags by name. Raises: InvalidParameter: a flag that is unknown, empty or there twice."""
    values: dict[str, list[str]] = {}
    known, many = set(single), set(several)
    for flag in flags:
        name, equals, value = flag[2:].partition("=")
        if name not in known | many:
            raise InvalidParameter(f"Unknown flag: {name}")
        if name in values and name not in many:
            raise InvalidParameter(f"Duplicate flag specified: {name}")
        if not equals:
            raise InvalidParameter(f"Missing a value on flag: {name}")
        values.setdefault(name, []).append(value)
    return Flags(values)


class Flags:
    """Values by name."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def one(self, name: str) -> str:
        """The value, empty when it was not given."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """All values of one that may be there several times."""
        return self._values.get(name, [])


def json_list(text: str) -> list[str] | None:
    """The texts of a JSON list; None when it is none, and then the text is for a shell.

    What follows the list is passed over, as Go's decoder does. Raises: InvalidParameter: of other things.
    """
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        values, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise InvalidParameter("when using JSON array syntax, arrays must be comprised of strings only")
    return [_HALF.sub("\ufffd", value) for value in values]


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not of JSON")


_HALF = re.compile("[\ud800-\udfff]")
"""Half of a pair of escapes: JSON can write it, and no text can hold it."""
_DECODER = json.JSONDecoder(parse_constant=_no_number)


def listed(text: str) -> list[str]:
    """A JSON list, or words that blanks divide."""
    values = json_list(text)
    return blank_words(text) if values is None else values


def blank_words(text: str) -> list[str]:
    """Words that nothing but blanks divide; no text is no word."""
    return BLANKS.split(text) if text else []


def pairs(word: str, text: str, escape: str) -> list[tuple[str, str]]:
    """`name=value ...`, or the old form `name the value`. `word` is the instruction's, for the errors.

    Raises: InvalidParameter.
    """
    words = split_words(text, escape)
    if words and "=" not in words[0]:
        name, *value = BLANKS.split(text, maxsplit=1)
        if not value:
            raise InvalidParameter(f"{word} must have two arguments")
        return [(name, value[0])]
    for part in words:
        if "=" not in part:
            raise InvalidParameter(
                f"Syntax error - can't find = in {go_quote(part)}. Must be of the form: name=value"
            )
    return [(name, value) for name, _, value in (part.partition("=") for part in words)]
