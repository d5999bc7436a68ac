"""`python -m benchmarks [-n ROUNDS] [--json] [ROW ...]`: both engines by turns, then the table."""

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from tests.support.engines import Daemon, Engine, Reference
from tests.support.images import BUSYBOX, busybox_layer, heavy_layers, saved
from tests.support.registry import Registry

from benchmarks.archives import archives
from benchmarks.builds import builds
from benchmarks.client import Client
from benchmarks.images import commit, images, listed, one_layer
from benchmarks.names import names, patience
from benchmarks.networks import networks, published_port, volumes
from benchmarks.rows import ROWS as FIRST_ROWS
from benchmarks.rows import Bench, Row
from benchmarks.swarm import swarm
from benchmarks.table import Line, as_json, line, shown
from benchmarks.use import use

ROWS = (
    *FIRST_ROWS,
    Row("archive", archives, rounds=7),
    Row("use", use, rounds=7),
    Row("images", images, rounds=3),
    Row("one-layer", one_layer, rounds=3),
    Row("commit", commit, rounds=7),
    Row("builds", builds, rounds=3),
    Row("image-list", listed, rounds=25),
    Row("networks", networks, rounds=11),
    Row("volumes", volumes, rounds=25),
    Row("names", names, rounds=5, unit="/s", more_is_better=True),
    Row("names-p99", patience, rounds=5),
    Row("swarm", swarm, rounds=5),
    Row("port", published_port, rounds=5, unit="MB/s", more_is_better=True),
)


@contextmanager
def benches(*, heavy: bool) -> Iterator[list[Bench]]:
    """Both engines, ready; with the heavy image in both registries if a row wants it."""
    with ExitStack() as after:
        storage = Path(tempfile.mkdtemp(prefix="lm-bench-"))
        after.callback(shutil.rmtree, storage, ignore_errors=True)
        archive, image = storage / "busybox.tar", ""
        archive.write_bytes(saved([BUSYBOX]))
        made = []
        for kind in (Engine, Reference):
            engine: Daemon = kind()
            after.callback(engine.close)
            engine.start()
            engine.docker("load", "-i", archive)
            registry = Registry(engine.net, storage)
            after.callback(registry.close)
            if heavy and not image:  # both registries serve the same files
                big = storage / "heavy.tar"
                big.write_bytes(saved(["heavy:1"], [busybox_layer(), *heavy_layers(9, 300_000_000)]))
                image = registry.push(big, "heavy:1")
                big.unlink()
            client = after.enter_context(Client(engine.socket))
            made.append(Bench(engine, client, registry, image))
        yield made
        for bench in made:
            bench.engine.http("POST", "/containers/prune")


def measured(row: Row, made: Sequence[Bench], rounds: int) -> list[Line]:
    """The lines of one row: one round to warm up (unless there is but one), then by turns."""
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(-1 if rounds > 1 else 0, rounds):
        for bench in made if number % 2 else reversed(made):
            for name, value in row.measure(bench).items():
                if number >= 0:
                    samples[name][bench.engine.name].append(value)
    return [
        line(name, row.unit, more_is_better=row.more_is_better, samples=by_engine)
        for name, by_engine in samples.items()
    ]


@click.command()
@click.argument("chosen", metavar="[ROW]...", nargs=-1, type=click.Choice([row.name for row in ROWS]))
@click.option("-n", "rounds", type=int, help="Rounds of each row, in place of its own number.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON in place of the table.")
def main(chosen: Sequence[str], rounds: int | None, *, json_wanted: bool) -> None:
    """Measure our engine beside dockerd. All rows, or those that are named."""
    rows = [row for row in ROWS if not chosen or row.name in chosen]
    with benches(heavy=any(row.name in ("pull", "images") for row in rows)) as made:
        lines = []
        for row in rows:
            print(f"measuring {row.name} ...", file=sys.stderr)
            lines += measured(row, made, rounds or row.rounds)
    if json_wanted:
        print(as_json(lines))
    else:
        shown(lines)


main()
