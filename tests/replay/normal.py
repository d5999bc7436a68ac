"""Bodies without what differs from run to run, and the differences that are left."""

import json
import re
from collections.abc import Iterator
from typing import Any

MARKS = (
    (re.compile(r"sha256:[0-9a-f]{64}"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<short id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"\b(?:172|192|10)\.\d{1,3}\.\d{1,3}\.\d{1,3}\b"), "<address>"),
    (
        re.compile(r"/(?:var/lib|var/run|run|tmp)/[\w./-]*?/(?=containers/|volumes/|overlay2/|netns/)"),
        "<root>/",
    ),
    (re.compile(r"(?:Less than|About|\d+) (?:a |an )?(?:second|minute|hour|day|week)s?( ago)?"), "<ago>"),
)
"""Texts that name one run's things, in the order in which they are replaced."""

ZERO_TIME = "0001-01-01T00:00:00Z"  # says "never": it is no time of a run

NUMBERS = frozenset(
    """Pid Size VirtualSize SizeRw SizeRootFs SpaceReclaimed Created time timeNano LayersSize NFd NGoroutines
    MemTotal NCPU current total""".split()  # noqa: SIM905 a list of words reads best as words
)
"""Keys whose number is of one run or one host."""


def normal(value: Any, key: str = "") -> Any:
    """A parsed body with marks in the places of ids, times, sizes, addresses and pids."""
    match value:
        case dict():
            return {normal(name): normal(item, name) for name, item in value.items()}
        case list():
            return [normal(item, key) for item in value]
        case str():
            return _marked(value)
        case bool():
            return value
        case int() | float() if key in NUMBERS and value != 0:
            return f"<{key}>"
    return value


def _marked(text: str) -> str:
    if text == ZERO_TIME:
        return text
    for pattern, mark in MARKS:
        text = pattern.sub(mark, text)
    return text


def parsed(body: str) -> Any:
    """A body as JSON; as a list when it is a stream of objects; as its text when it is no JSON."""
    try:
        return json.loads(body)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in body.splitlines() if line.strip()] or ""
    except ValueError:
        return body


def differences(golden: Any, ours: Any, at: str = "") -> Iterator[str]:
    """Where two normal bodies differ, one line for each place: the JSON path, what was wanted, what came."""
    if isinstance(golden, dict) and isinstance(ours, dict):
        for key in sorted(golden.keys() | ours.keys()):
            if key not in ours:
                yield f"{at}.{key}: missing, wanted {_short(golden[key])}"
            elif key not in golden:
                yield f"{at}.{key}: {_short(ours[key])} is too much"
            else:
                yield from differences(golden[key], ours[key], f"{at}.{key}")
    elif isinstance(golden, list) and isinstance(ours, list) and len(golden) == len(ours):
        for index, (wanted, came) in enumerate(zip(golden, ours, strict=True)):
            yield from differences(wanted, came, f"{at}[{index}]")
    elif golden != ours or type(golden) is not type(ours):
        yield f"{at or '.'}: wanted {_short(golden)}, came {_short(ours)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def same_status(golden: int, ours: int) -> bool:
    """Whether a status is as recorded. dockerd 20.10 said 500 for many mistakes of clients; we say 400."""
    return ours == golden or (golden == 500 and ours == 400)
