"""A request as handlers see it, and the three forms of an answer.

`Reply` is whole and has a length; `Stream` goes out piece by piece and ends with its client; `Taken` says
that the connection has left HTTP (`hijack.py`) and nothing is to be sent.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from multidict import MultiMapping

from lighterman.api.versions import Version
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters, parse_filters
from lighterman.runtime import Client

T = TypeVar("T")

JSON = "application/json"
PLAIN_TEXT = "text/plain; charset=utf-8"
RAW_STREAM = "application/vnd.docker.raw-stream"


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


@dataclass(frozen=True)
class Stream:
    """An answer whose head is sent at once and whose body comes as it is made."""

    chunks: AsyncIterator[bytes]
    content_type: str = JSON


@dataclass(frozen=True)
class Taken:
    """No answer: the connection belongs to somebody else now."""


Answer = Reply | Stream | Taken
