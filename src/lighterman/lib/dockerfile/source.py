"""From bytes to statements: directives, comments, continued lines and heredocs.

A *directive* is a comment at the very top that says something to the parser (`# escape=` + backtick). A
*statement* is one instruction with all its lines joined; a *heredoc* is the text below a statement that
`<<NAME` asked for.

Source: Dockerfile reference; frontend/dockerfile/parser as dockerd 20.10.24 has it, heredocs as later ones.
"""

import re
from collections.abc import Iterator

from msgspec import Struct, field

from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.forms import json_list, split_statement
from lighterman.lib.dockerfile.words import SPACES, expand, split_words

LONGEST_LINE = 64 * 1024 - 1
"""Bytes. Source: bufio.MaxScanTokenSize of Go."""

_DIRECTIVE = re.compile(r"#[\t\n\f\r ]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")


Announced = tuple[str, bool, bool]
"""A heredoc's name, whether the tabs before its lines go, and whether variables in it are read."""


class Heredoc(Struct, frozen=True):
    """A text written in the Dockerfile itself."""

    name: str
    text: str
    """Whole lines; their tabs are gone where `<<-` was written."""
    variables: bool
    """Whether variables in the text are read: not where the name was quoted."""


class Statement(Struct, frozen=True):
    """One instruction as it is written."""

    line: int
    """Of its first line, from 1."""
    last_line: int
    text: str
    """All its lines as one, without heredocs."""
    heredocs: tuple[Heredoc, ...] = ()


class Source(Struct):
    """A Dockerfile's statements, and what was learned beside them."""

    escape: str = "\\"
    statements: list[Statement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """In dockerd's words, a line each."""


def read(data: bytes) -> Source:
    """The statements. Raises: InvalidParameter in dockerd's words."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._lines = _lines(data.removeprefix(b"\xef\xbb\xbf"))
        self._number = 0
        self._seen: set[str] | None = set()
        """Directives so far; None once the first line that is none has been seen."""
        self._source = Source()
        self._continued = _continuation("\\")

    def read(self) -> Source:
        for line in self._numbered():
            text = line.lstrip(SPACES)
            self._directive(text)
            if text.startswith("#"):
                continue
            text, goes_on = self._cut(text)
            if text or goes_on:
                self._source.statements.append(self._statement(text, goes_on))
        if not self._source.statements:
            raise InvalidParameter("file with no instructions")
        if self._source.warnings:
            self._source.warnings.append(
                "[WARNING]: Empty continuation lines will become errors in a future release."
            )
        return self._source

    def _numbered(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            yield line

    def _statement(self, text: str, goes_on: bool) -> Statement:
        first, blank = self._number, False
        while goes_on and (line := next(self._numbered(), None)) is not None:
            self._directive(line)
            if line.lstrip(SPACES).startswith("#"):
                continue
            if not line.strip(SPACES):
                blank = True
                continue
            more, goes_on = self._cut(line)
            text += more
        if blank:
            self._source.warnings.append(f"[WARNING]: Empty continuation line found in:\n    {text}")
        heredocs = tuple(map(self._heredoc, _announced(text)))
        return Statement(first, self._number, text, heredocs)

    def _cut(self, line: str) -> tuple[str, bool]:
        """The line without what continues it, and whether there is such."""
        cut = self._continued.sub(r"\1", line)
        return cut, cut != line

    def _directive(self, line: str) -> None:
        if self._seen is None:
            return
        match = _DIRECTIVE.fullmatch(line)
        name = match[1].lower() if match else ""
        if match is None or name not in ("escape", "syntax"):
            self._seen = None
            return
        if name in self._seen:
            raise InvalidParameter(f"only one {name} parser directive can be used")
        self._seen.add(name)
        if name == "escape":
            if match[2] not in ("\\", "`"):
                raise InvalidParameter(f"invalid escape token '{match[2]}' does not match ` or \\")
            self._source.escape = match[2]
            self._continued = _continuation(match[2])

    def _heredoc(self, announced: Announced) -> Heredoc:
        name, chomp, variables = announced
        text: list[str] = []
        for line in self._numbered():
            line = line.lstrip("\t") if chomp else line
            if line == name:
                return Heredoc(name, "".join(text), variables)
            text.append(f"{line}\n")
        raise InvalidParameter("unterminated heredoc")


def _lines(data: bytes) -> Iterator[str]:
    """Bytes that are no UTF-8 are replaced: they could stand in no configuration."""
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        if len(line) > LONGEST_LINE:
            raise InvalidParameter(f"dockerfile line greater than max allowed size of {LONGEST_LINE}")
        yield line.removesuffix(b"\r").decode(errors="replace")


def _continuation(escape: str) -> re.Pattern[str]:
    """An escape character that ends a line, unless another stands before it."""
    char = re.escape(escape)
    return re.compile(rf"((?:^|[^{char}])){char}[ \t]*\Z")


def _announced(text: str) -> Iterator[Announced]:
    """The heredocs that a statement announces."""
    if "<<" not in text:
        return
    word, _, rest = split_statement(text)
    if word == "onbuild":
        word, _, rest = split_statement(rest)
    if word in ("add", "copy", "run") and json_list(rest) is None:
        yield from filter(None, map(announced_by, split_words(rest)))


def announced_by(word: str) -> Announced | None:
    """The heredoc that a word announces, such as `<<-"EOF"`."""
    match = _HEREDOC.fullmatch(word)
    name = _unquoted(match[2]) if match else ""
    if not match or not name:
        return None
    return name, match[1] == "-", not set("'\"\\") & set(match[2])


def _unquoted(word: str) -> str:
    try:
        return expand(word.replace("$", "\\$"), {})
    except InvalidParameter:
        return ""  # an odd quote: it is no heredoc, and the shell will say so
