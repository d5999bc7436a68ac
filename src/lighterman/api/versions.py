"""Versions of the API: which are served, and how a request says which one it speaks.

A path may begin with `/v1.NN`; without it 1.36 is meant, whatever else is served. Clients that negotiate
learn the newest of the `Span` and ask for that. What differs between the versions is a table in `gates.py`.
"""

import re

from msgspec import Struct

from lighterman.errdefs import InvalidParameter

Version = tuple[int, ...]

OLDEST: Version = (1, 24)
DEFAULT: Version = (1, 36)
"""What a request without a prefix speaks."""
NEWEST: Version = (1, 44)
"""What docker CLI 29 and Compose 5 ask for at least; the gates know no later one."""

_PREFIX = re.compile(r"/v([0-9.]+)(?=/)")
_NUMBERS = re.compile(r"(\d{1,3})\.(\d{1,3})")


class TooOld(InvalidParameter):
    """Told as plain text below 1.24, where clients did not know JSON errors. Source: dockerd 20.10.24."""


class Span(Struct, frozen=True):
    """The versions that this engine serves, both ends among them."""

    oldest: Version = OLDEST
    newest: Version = NEWEST

    @property
    def default(self) -> Version:
        """What a request without a prefix speaks."""
        return max(self.oldest, min(DEFAULT, self.newest))

    def choose(self, wish: str) -> Version:
        """The version that a request with this prefix speaks. Raises InvalidParameter in Docker's words."""
        if not wish:
            return self.default
        version = tuple(int(part or 0) for part in wish.split("."))
        if version < self.oldest:
            raise TooOld(
                f"client version {wish} is too old. Minimum supported API version is {text(self.oldest)}, "
                "please upgrade your client to a newer version"
            )
        if version > self.newest:
            raise InvalidParameter(
                f"client version {wish} is too new. Maximum supported API version is {text(self.newest)}"
            )
        return version


ALL = Span()


def text(version: Version) -> str:
    """As in "1.36"."""
    return ".".join(map(str, version))


def parse(wish: str) -> Version:
    """The version that a configuration names. Raises: InvalidParameter unless the gates know it."""
    numbers = _NUMBERS.fullmatch(wish)
    version = (int(numbers[1]), int(numbers[2])) if numbers else ()
    if not OLDEST <= version <= NEWEST:
        raise InvalidParameter(f"invalid API version: {wish!r} (known are {text(OLDEST)} to {text(NEWEST)})")
    return version


def split(path: str) -> tuple[str, str]:
    """The version's text ("" without one) and the path behind it."""
    match = _PREFIX.match(path)
    return (match[1], path[match.end() :]) if match else ("", path)
