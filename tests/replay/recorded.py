"""Recorded requests and answers, and the names that change from the one engine to the other."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

VARIABLE = "LIGHTERMAN_RECORDED_ANSWERS"
"""The environment variable that names the file; without it there is nothing to replay."""

_ID = re.compile(r"[0-9a-f]{64}|\b[0-9a-z]{25}\b")


class Exchange(Struct, frozen=True):
    """One request and what dockerd answered."""

    label: str
    method: str
    path: str
    """With the query, without the version."""
    request: Any
    """A JSON value, a text that is JSON as it was sent, "<bytes>" for what was not kept, None for no body."""
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def can_be_sent(self) -> bool:
        """Whether the request's body was kept."""
        return bool(self.request != "<bytes>")

    @property
    def request_body(self) -> bytes | None:
        """The bytes to send."""
        if self.request is None:
            return None
        return (self.request if isinstance(self.request, str) else json.dumps(self.request)).encode()


def recorded(path: Path | None = None) -> list[Exchange]:
    """The exchanges of a file, in the order in which they were sent; [] when no file is named."""
    named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        return []
    return [_exchange(json.loads(line)) for line in named.read_text().splitlines()]


def _exchange(row: Mapping[str, Any]) -> Exchange:
    return Exchange(
        label=row["label"],
        method=row["method"],
        path=row["path"],
        request=row["req"],
        status=row["status"],
        headers=dict(row["headers"]),
        body=row["body"],
    )


class Ids:
    """Which id of ours stands for which recorded one; learned from pairs of answers, in order."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def learn(self, golden: Any, ours: Any) -> None:
        """Take note of the ids that stand in the same places of two parsed bodies."""
        for wanted, came in _pairs(golden, ours):
            for theirs, own in zip(_ID.findall(wanted), _ID.findall(came), strict=False):
                self._ours.setdefault(theirs, own)

    def known(self, text: str) -> int:
        """How many of the ids in a recorded path are known."""
        return sum(found in self._ours for found in _ID.findall(text))

    def translate(self, text: str) -> str:
        """A recorded path or body with our ids in the places of the recorded ones."""
        return _ID.sub(lambda match: self._ours.get(match[0], match[0]), text)


def _pairs(golden: Any, ours: Any) -> Iterator[tuple[str, str]]:
    if isinstance(golden, str) and isinstance(ours, str):
        yield golden, ours
    elif isinstance(golden, dict) and isinstance(ours, dict):
        for key in golden.keys() & ours.keys():
            yield from _pairs(golden[key], ours[key])
    elif isinstance(golden, list) and isinstance(ours, list):
        for wanted, came in zip(golden, ours, strict=False):
            yield from _pairs(wanted, came)
