"""`.dockerignore`: which paths of a context a build does not see. Pure.

A *pattern* is a path with `*` and `?` (anything but a slash), `[a-z]` and `**` (any directories, even none);
one that begins with `!` brings back what patterns before it took away. The last one that matches a path, or a
directory above it, decides. A Dockerfile may have patterns of its own in `<its name>.dockerignore` beside it;
then the general file says nothing.

Patterns come from strangers, and one of many stars would keep a regular expression busy for hours. So only
those of one or two become such. With others a path is read once, with all places in mind where it may
have come to: 27 us a path, and never much more.

Source: Dockerfile reference, .dockerignore; pkg/fileutils and dockerignore of dockerd 20.10.24, with all
directories above as moby/patternmatcher has them.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.words import SPACES

GENERAL = ".dockerignore"


def ignore_files(dockerfile: str) -> tuple[str, str]:
    """The names of the files with patterns in a context; the first that exists counts."""
    return f"{dockerfile}.dockerignore", GENERAL


def read_patterns(data: bytes) -> list[str]:
    """The patterns of a file in their shortest form, without comments and empty lines."""
    lines = data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split("\n")
    stripped = (line.strip(SPACES) for line in lines if not line.startswith("#"))
    return [_shortest(line) for line in stripped if line]


def _shortest(pattern: str) -> str:
    if pattern.startswith("!"):
        rest = pattern[1:].strip(SPACES)
        return f"!{_shortest(rest)}" if rest else "!"
    clean = _clean(pattern)
    return clean[1:] if len(clean) > 1 and clean.startswith("/") else clean


def _clean(path: str) -> str:
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


class Ignored:
    """What patterns take away."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises: InvalidParameter: a pattern that is none."""
        self._patterns = [_pattern(text) for text in patterns if text.strip(SPACES)]

    def takes(self, path: str) -> bool:
        """Whether the path is taken away: clean and relative to the context, which itself never is."""
        taken = False
        for pattern in self._patterns:
            if pattern.brings_back == taken and pattern.matches(path):
                taken = not taken
        return taken and path != "."


class _Token(Struct, frozen=True):
    """A place in a pattern."""

    leaves: Callable[[str], bool]
    """Whether the character leads on to the next place."""
    stays: Callable[[str], bool]
    """Whether it may be passed by while staying here."""
    expression: str
    """The same as a part of a regular expression."""
    skipped: int = 0
    """How many places further one may be without any character."""


class _Pattern(Struct, frozen=True):
    matches: Callable[[str], object]
    """Tells of a path whether it or a directory above it is meant."""
    brings_back: bool


STARS_MAX = 2
"""So many can be tried in all ways: a path has some thousand characters at most."""


def matcher(tokens: Sequence[_Token]) -> Callable[[str], object]:
    """The quickest way to try a pattern that cannot take long."""
    if sum(token.stays is not _never for token in tokens) > STARS_MAX:
        return lambda path: matches_stepwise(tokens, path)
    text = "".join(token.expression for token in tokens)
    return re.compile(f"(?:{text})(?=/|\\Z)", re.DOTALL).match


def matches_stepwise(tokens: Sequence[_Token], path: str) -> bool:
    """Whether the pattern matches the path or a directory above it."""
    places = _with_skipped(tokens, {0})
    for char in path:
        if char == "/" and len(tokens) in places:
            return True
        moved = set()
        for place in places - {len(tokens)}:
            moved |= {place + 1} if tokens[place].leaves(char) else set()
            moved |= {place} if tokens[place].stays(char) else set()
        places = _with_skipped(tokens, moved)
    return len(tokens) in places


def _with_skipped(tokens: Sequence[_Token], places: set[int]) -> set[int]:
    found: set[int] = set()
    rest = list(places)
    while rest:
        place = rest.pop()
        if place not in found:
            found.add(place)
            if place < len(tokens) and tokens[place].skipped:
                rest += [place + 1, place + tokens[place].skipped]
    return found


def _pattern(text: str) -> _Pattern:
    bare = _clean(text.strip(SPACES))
    if bare == "!":
        raise InvalidParameter('illegal exclusion pattern: "!"')
    return _Pattern(matcher(tuple(tokens(bare.removeprefix("!")))), bare.startswith("!"))


def tokens(pattern: str) -> Iterator[_Token]:
    at = 0
    while at < len(pattern):
        char, at = pattern[at], at + 1
        match char:
            case "*" if pattern.startswith("*", at):
                at += 2 if pattern.startswith("/", at + 1) else 1
                if at >= len(pattern):
                    yield _Token(_never, _always, ".*", 1)
                else:  # none, or anything up to a slash
                    yield _Token(_never, _never, "(?:.*/)?", 2)
                    yield _Token(_is("/"), _always, "")
            case "*":
                yield _Token(_never, _in_name, "[^/]*", 1)
            case "?":
                yield _Token(_in_name, _never, "[^/]")
            case "[":
                token, at = _character_class(pattern, at)
                yield token
            case "\\":
                if at == len(pattern):
                    raise InvalidParameter("syntax error in pattern")
                yield _Token(_is(pattern[at]), _never, re.escape(pattern[at]))
                at += 1
            case _:
                yield _Token(_is(char), _never, re.escape(char))


def _never(_: str) -> bool:
    return False


def _always(_: str) -> bool:
    return True


def _in_name(char: str) -> bool:
    return char != "/"


def _is(wanted: str) -> Callable[[str], bool]:
    return lambda char: char == wanted


def _character_class(pattern: str, at: int) -> tuple[_Token, int]:
    """The place of `[^a-z]` from behind its bracket, and where the pattern goes on. Source: Match of Go."""
    negated = pattern.startswith("^", at)
    at += negated
    spans: list[tuple[str, str]] = []
    while not spans or not pattern.startswith("]", at):
        low, at = _class_end(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_end(pattern, at + 1)
        spans.append((low, high))
    ordered = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in spans if low <= high)
    # a class of nothing is nothing, or anything
    expression = f"[{'^' * negated}{ordered}]" if ordered else "." if negated else "(?!)"

    def within(char: str) -> bool:
        return any(low <= char <= high for low, high in spans) != negated

    return _Token(within, _never, expression), at + 1


def _class_end(pattern: str, at: int) -> tuple[str, int]:
    """One end of a span. Raises: InvalidParameter: there is none, or nothing behind it."""
    escaped = pattern.startswith("\\", at)
    char = pattern[at + escaped : at + escaped + 1]
    if not char or (char in "-]" and not escaped) or at + escaped + 1 >= len(pattern):
        raise InvalidParameter("syntax error in pattern")
    return char, at + escaped + 1
