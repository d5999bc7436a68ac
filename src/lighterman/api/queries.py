"""Values of a query as Docker reads them. Source: httputils/form.go of moby."""

import re

from lighterman.errdefs import InvalidParameter

_FALSE = frozenset({"", "0", "no", "false", "none"})
_INTEGER = re.compile(r"[+-]?\d+")


def boolean(value: str | None, *, default: bool = False) -> bool:
    """Everything is true but "", 0, no, false and none in any case; `default` when it is not there."""
    return default if value is None else value.strip().lower() not in _FALSE


def integer(value: str) -> int:
    """The number. Raises InvalidParameter in the words of Go's Atoi."""
    if not _INTEGER.fullmatch(value) or not value.isascii():
        raise InvalidParameter(f'strconv.Atoi: parsing "{value}": invalid syntax')
    number = int(value[:32])
    if abs(number) >= 2**63:
        raise InvalidParameter(f'strconv.Atoi: parsing "{value}": value out of range')
    return number
