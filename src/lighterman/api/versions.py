"""Versions of the API: which are served, and how a request says which one it speaks.

A path may begin with `/v1.NN`; without it the advertised version is meant. What differs between the served
versions is a table in `gates.py`.
"""

import re

from lighterman.errdefs import InvalidParameter

Version = tuple[int, ...]

OLDEST: Version = (1, 24)
ADVERTISED: Version = (1, 36)
"""The newest served; a setting `api-max` will move it once the gates above 1.36 are in the table."""

_PREFIX = re.compile(r"/v([0-9.]+)(?=/)")


class TooOld(InvalidParameter):
    """Told as plain text below 1.24, where clients did not know JSON errors. Source: dockerd 20.10.24."""


def text(version: Version) -> str:
    """As in "1.36"."""
    return ".".join(map(str, version))


def split(path: str) -> tuple[str, str]:
    """The version's text ("" without one) and the path behind it."""
    match = _PREFIX.match(path)
    return (match[1], path[match.end() :]) if match else ("", path)


def choose(wish: str) -> Version:
    """The version that a request with this prefix speaks. Raises InvalidParameter in Docker's words."""
    if not wish:
        return ADVERTISED
    version = tuple(int(part or 0) for part in wish.split("."))
    if version < OLDEST:
        raise TooOld(
            f"client version {wish} is too old. Minimum supported API version is {text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    if version > ADVERTISED:
        raise InvalidParameter(
            f"client version {wish} is too new. Maximum supported API version is {text(ADVERTISED)}"
        )
    return version
