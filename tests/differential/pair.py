"""Two engines that are asked the same, and what of their answers differs.

A *step* is one request. `{name}` in a path or a body is what an earlier step of the scenario kept under
that name: each engine has its own ids.
"""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct, field
from tests.replay.normal import differences, normal, parsed, same_status
from tests.support.engines import Daemon
from tests.support.http import Answer

MOVING_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
"""Headers that say how a body is cut for the wire; Go and aiohttp choose differently."""

AT_A_TIME = 4

VALUES = ("content-type", "docker-experimental", "ostype", "location")
"""Headers whose values are compared; of the others only that they are there."""


class Step(Struct, frozen=True):
    """One request of a scenario."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: str = ""
    """The name under which the answer's Id (or the exec's, or the volume's Name) is kept."""
    unordered: bool = False
    """Whether the order of the answer's lists says nothing: dockerd makes some from Go's maps."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Pair:
    """Our engine and the reference, asked side by side."""

    def __init__(self, ours: Daemon, reference: Daemon) -> None:
        self.ours, self.reference = ours, reference
        self.kept: dict[str, dict[str, str]] = {"ours": {}, "ref": {}}
        self.pool = ThreadPoolExecutor(2 * AT_A_TIME)
        """For the two sides of one question."""
        self.cases = ThreadPoolExecutor(AT_A_TIME)
        """For questions that have nothing to do with each other."""

    def fresh(self) -> None:
        """Empty both engines and forget what was kept."""
        for engine in (self.ours, self.reference):
            engine.clean()
            engine.forget_images()
            self.kept[engine.name].clear()

    def ask(self, step: Step) -> list[str]:
        """What differs in the answers to one step, one line for each place; [] when they are the same."""
        told = self.pool.map(lambda engine: self._asked(engine, step), (self.reference, self.ours))
        wanted, came = told
        return list(compared(wanted, came, step))

    def _asked(self, engine: Daemon, step: Step) -> Answer:
        names = self.kept[engine.name]
        body = step.body
        if isinstance(body, dict):
            body = json.loads(filled(json.dumps(body), names))
        answer = engine.http(step.method, filled(step.path, names), body, step.headers)
        if step.keep and answer.status < 300:
            names[step.keep] = answer.json.get("Id") or answer.json.get("Name")
        return answer


def filled(text: str, names: Mapping[str, str]) -> str:
    """`text` with each {name} that is known replaced."""
    return re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), text)


def compared(wanted: Answer, came: Answer, step: Step) -> Iterator[str]:
    """The differences of two answers: status, headers, body."""
    if not same_status(wanted.status, came.status):
        yield f"status: wanted {wanted.status}, came {came.status}"
    names = [{key.lower() for key, _ in answer.headers} - MOVING_HEADERS for answer in (wanted, came)]
    if names[0] != names[1]:
        yield f"headers: wanted {sorted(names[0] - names[1])}, too much {sorted(names[1] - names[0])}"
    for name in VALUES:
        if wanted.header(name) != came.header(name):
            yield f"header {name}: wanted {wanted.header(name)}, came {came.header(name)}"
    golden, ours = (normal(parsed(answer.body.decode("latin-1"))) for answer in (wanted, came))
    if step.unordered:
        golden, ours = in_one_order(golden), in_one_order(ours)
    yield from differences(golden, ours)


def in_one_order(value: Any) -> Any:
    """A JSON value with all its lists sorted."""
    match value:
        case list():
            return sorted(map(in_one_order, value), key=lambda each: json.dumps(each, sort_keys=True))
        case dict():
            return {key: in_one_order(each) for key, each in value.items()}
    return value
