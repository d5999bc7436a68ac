"""Patterns of a shell's parameter expansion: `*` is any text, `?` any character, a backslash keeps the next.

A pattern is cut at its stars into pieces of a fixed length. Found one after the other from the left, they
find all that can be found, in linear time: a pattern comes from a stranger, and the engine goes on meanwhile.
"""

import re


def without_prefix(pattern: str, text: str, *, longest: bool) -> str:
    """`text` without the beginning that matches, as `${name#pattern}` and `##` have it."""
    end = _end_of_prefix(_pieces(pattern), text, longest=longest)
    return text if end is None else text[end:]


def without_suffix(pattern: str, text: str, *, longest: bool) -> str:
    """`text` without the end that matches, as `${name%pattern}` and `%%` have it."""
    backwards = [piece[::-1] for piece in reversed(_pieces(pattern))]
    end = _end_of_prefix(backwards, text[::-1], longest=longest)
    return text if end is None else text[: len(text) - end]


def substituted(pattern: str, text: str, replacement: str, *, everywhere: bool) -> str:
    """`text` with `replacement` for the first match or all, as `${name/pattern/replacement}` has it."""
    pieces, found, at = _pieces(pattern), [], 0
    while at <= len(text):
        span = _first(pieces, text, at)
        if span is None or span[0] == span[1]:
            break
        found += [text[at : span[0]], replacement]
        at = span[1]
        if not everywhere:
            break
    return "".join(found) + text[at:]


_Piece = tuple[str | None, ...]
"""Characters in a row; None is any."""


def _pieces(pattern: str) -> list[_Piece]:
    pieces: list[list[str | None]] = [[]]
    chars = iter(pattern)
    for char in chars:
        match char:
            case "*":
                pieces.append([])
            case "?":
                pieces[-1].append(None)
            case "\\":
                pieces[-1].append(next(chars, "\\"))
            case _:
                pieces[-1].append(char)
    return [tuple(piece) for piece in pieces]


def _expression(piece: _Piece) -> str:
    return "".join("." if char is None else re.escape(char) for char in piece)


def _find(piece: _Piece, text: str, at: int, *, last: bool = False) -> int | None:
    """Where the piece begins, at `at` or behind it."""
    lead = "(?:.*)" if last else "(?:.*?)"
    match = re.compile(f"{lead}({_expression(piece)})", re.DOTALL).match(text, at)
    return None if match is None else match.start(1)


def _end_of_prefix(pieces: list[_Piece], text: str, *, longest: bool) -> int | None:
    head, *rest = pieces
    match = re.compile(_expression(head), re.DOTALL).match(text)
    return None if match is None else _end(rest, text, match.end(), longest=longest)


def _end(rest: list[_Piece], text: str, at: int, *, longest: bool) -> int | None:
    """Where the match ends whose first piece ends at `at`."""
    for place, piece in enumerate(rest, 1):
        start = _find(piece, text, at, last=longest and place == len(rest))
        if start is None:
            return None
        at = start + len(piece)
    return at


def _first(pieces: list[_Piece], text: str, at: int) -> tuple[int, int] | None:
    """The first match in `text` from `at` on, as long as it can be."""
    head, *rest = pieces
    start = _find(head, text, at)
    if start is None:
        return None
    end = _end(rest, text, start + len(head), longest=True)
    return None if end is None else (start, end)
