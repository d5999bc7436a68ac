"""From method and path to a route, as Docker's own router does it.

A path without open parts wins over one with them, and among these the one with more fixed text:
`/images/get` is never an image called "get", and `/containers/a/b/json` is the container "a/b".
"""

import posixpath
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from msgspec import Struct

from lighterman.api.routes import Route

_OPEN_PART = re.compile(r"\{(\w+)(:\.\*)?\}")


class _Pattern(Struct, frozen=True):
    matcher: re.Pattern[str]
    fixed: int
    route: Route


def cleaned(path: str) -> str:
    """The path without `//`, `/./` and `/../`; a client that asks otherwise is sent there (301)."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def location(path: str, query: str) -> str:
    """The value of a Location header."""
    return quote(path) + (f"?{query}" if query else "")


class Router:
    """The routes of a table, ready to be found."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._open: dict[tuple[str, str], list[_Pattern]] = {}
        for route in routes:
            if "{" not in route.path:
                self._fixed[route.method, route.path] = route
                continue
            patterns = self._open.setdefault((route.method, _first_part(route.path)), [])
            patterns.append(_pattern(route))
            patterns.sort(key=lambda pattern: -pattern.fixed)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route and the values of its open parts; `path` is decoded and has no version."""
        if route := self._fixed.get((method, path)):
            return route, {}
        for pattern in self._open.get((method, _first_part(path)), ()):
            if match := pattern.matcher.fullmatch(path):
                return pattern.route, match.groupdict()
        return None


def _first_part(path: str) -> str:
    return path[1:].partition("/")[0]


def _pattern(route: Route) -> _Pattern:
    text, at, fixed = "", 0, 0
    for part in _OPEN_PART.finditer(route.path):
        before = route.path[at : part.start()]
        text += re.escape(before) + f"(?P<{part[1]}>{'.*' if part[2] else '[^/]+'})"
        at, fixed = part.end(), fixed + len(before)
    rest = route.path[at:]
    return _Pattern(re.compile(text + re.escape(rest), re.S), fixed + len(rest), route)
