"""Medians of both engines, their ratio, and what was aimed at."""

import json
from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Console
from rich.table import Table

AIMS = {
    "create+start+wait+remove, bridge": 5.0,
    "exec": 3.0,
    "20 parallel starts": 6.0,
    "memory, idle": 2.0,
    "log 300000 lines, start to end": 2.0,
    "attach throughput": 1.5,
    "archive put, 2000 files + 100 MB": 2.0,
    "archive get": 3.0,
    "export": 3.0,
    "pull 300 MB, 10 layers": 1.0,
    "push 300 MB": 2.0,
    "save 300 MB": 2.0,
    "load 300 MB": 2.0,
    "commit 2000 files": 2.0,
    "build 20 steps": 5.0,
    "build 20 steps again": 3.0,
    "build of 200 MB in 20,000 files": 2.0,
    "build of three stages of 1 s": 2.0,
    "network create+remove": 5.0,
    "network connect+disconnect": 3.0,
    "start with 10 published ports": 6.0,
    "volume create": 3.0,
    "DNS answers a second": 3.0,
    "DNS answer under load, p99": 1.0,
    "published port": 1.0,
}
"""How many times better than dockerd each number is meant to be at least."""


class Line(Struct, frozen=True):
    """One number of both engines. `better` is how many times ours is better."""

    name: str
    unit: str
    rounds: int
    ours: float
    dockerd: float
    better: float
    aim: float | None


def line(name: str, unit: str, *, more_is_better: bool, samples: Mapping[str, Sequence[float]]) -> Line:
    """The line of one number from its samples by engine."""
    ours, theirs = median(samples["ours"]), median(samples["ref"])
    better = ours / theirs if more_is_better else theirs / ours
    return Line(name, unit, len(samples["ours"]), ours, theirs, better, AIMS.get(name))


def shown(lines: Sequence[Line]) -> None:
    """Print the table."""
    table = Table(title="medians, measured by turns")
    for heading in ("", "n", "ours", "dockerd", "unit", "better by", "aim"):
        table.add_column(heading, justify="left" if heading in ("", "unit") else "right")
    for one in lines:
        met = one.aim is None or one.better >= one.aim
        table.add_row(
            one.name,
            str(one.rounds),
            f"{one.ours:.1f}",
            f"{one.dockerd:.1f}",
            one.unit,
            f"[{'green' if met else 'red'}]{one.better:.1f}x[/]",
            f"{one.aim:g}x" if one.aim else "",
        )
    Console(width=110).print(table)


def as_json(lines: Sequence[Line]) -> str:
    """The same as JSON, for comparing runs."""
    return json.dumps([asdict(one) for one in lines], indent=2)
