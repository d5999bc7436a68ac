"""The values of log options: sizes, numbers, switches, durations and addresses, as Go reads them. Pure."""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_time import parse_duration

Options = Mapping[str, str]
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?")
_POWERS = " kmgtp"
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def size_bytes(text: str, *, base: int) -> int:
    """Bytes of "10m"; `base` is 1000 for files and 1024 for memory. Source: docker/go-units."""
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    return int(float(match[1]) * base ** (_POWERS.index(match[2]) if match[2] else 0))


def integer(text: str) -> int:
    """Source: Atoi of Go's strconv."""
    if not re.fullmatch(r"[+-]?\d+", text):
        raise InvalidParameter(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def switch(options: Options, name: str, *, default: bool = False) -> bool:
    """Source: ParseBool of Go's strconv."""
    text = options.get(name, "")
    if not text:
        return default
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def milliseconds(text: str) -> int:
    """Of a Go duration."""
    try:
        return parse_duration(text) // 10**6
    except ValueError as error:
        raise InvalidParameter(str(error)) from error


def address(text: str) -> SplitResult:
    """A URL. Source: Parse of Go's net/url."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        port = text.rpartition(":")[2]
        raise InvalidParameter(f'parse "{text}": invalid port ":{port}" after host') from error
    return parts


def host_and_port(parts: SplitResult, default_port: int | None) -> str:
    """ "host:port" of a URL. Raises: InvalidParameter: it names no port, and there is no default."""
    if parts.port is not None:
        return parts.netloc
    if default_port is None:
        raise InvalidParameter(f"address {parts.netloc}: missing port in address")
    return f"{parts.netloc}:{default_port}"
