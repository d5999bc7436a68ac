"""Patterns of the `reference` filter."""

import re

from lighterman.errdefs import InvalidParameter
from lighterman.reference.reference import Reference

_PART = re.compile(r"\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\(.)|([^\\\[])", re.DOTALL)


def familiar_match(pattern: str, reference: Reference) -> bool:
    """Whether a glob matches the reference as users type it, whole or without tag and digest.

    `*` and `?` stop at a slash. Raises: InvalidParameter for a malformed pattern.
    Source: FamiliarMatch of distribution/reference on Go's path.Match.
    """
    glob = _compile(pattern)
    return bool(glob.fullmatch(reference.familiar()) or glob.fullmatch(reference.familiar_name))


def _compile(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        match = _PART.match(pattern, at)
        if match is None:
            raise InvalidParameter("syntax error in pattern")
        parts.append(_translated(match))
        at = match.end()
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:  # a range from high to low, for one
        raise InvalidParameter("syntax error in pattern") from error


def _translated(match: re.Match[str]) -> str:
    negated, members, escaped, plain = match.groups()
    if members is not None:
        inside = re.sub(r"\\(.)|([\[&|~])", lambda m: re.escape(m[1] or m[2]), members, flags=re.DOTALL)
        return f"[{negated}{inside}]"
    if escaped is not None:
        return re.escape(escaped)
    return {"*": "[^/]*", "?": "[^/]"}.get(match[0]) or re.escape(plain)
