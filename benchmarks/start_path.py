"""`python -m benchmarks.start_path [-n ROUNDS]`: where each millisecond of a start goes.

The daemon is run with a clock round the steps of `containers.start`; the bare runtime is run on the bundle
that the engine made. Steps that lie side by side in the engine overlap: their sum is not the whole.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved

from benchmarks.client import Client

CLOCKED = "LIGHTERMAN_CLOCKED"
"""The environment variable that names the file in which the clocked daemon writes."""


class ClockedEngine(Engine):
    """Our engine with clocks round its steps."""

    def command(self) -> list[str]:
        _, _, _, *rest = super().command()
        return [sys.executable, "-m", "benchmarks.clocked", *rest]


def bare_runtime_ms(bundle: Path, rounds: int) -> float:
    """The median of `crun run --detach` on a copy of a bundle, in the mount namespace that crun wants.

    The process is `true`, the network namespace new, all else as the engine asked for.
    """
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"]["args"] = ["true"]
    spec["linux"]["namespaces"] = [
        {"type": one["type"]} if one["type"] == "network" else one for one in spec["linux"]["namespaces"]
    ]
    spec["linux"]["cgroupsPath"] = f"{spec['linux'].get('cgroupsPath', '/bare')}-bare"
    (bundle / "bare").mkdir()
    (bundle / "bare" / "config.json").write_text(json.dumps(spec))
    script = f"""
        umount /sys/fs/cgroup/unified 2>/dev/null
        for n in $(seq {rounds}); do
            began=$(date +%s%N)
            crun --root {bundle}/root run --detach -b {bundle}/bare bare$n </dev/null >/dev/null
            echo $((($(date +%s%N) - began) / 1000))
            crun --root {bundle}/root delete -f bare$n
        done"""
    told = subprocess.run(
        ["unshare", "-m", "--propagation", "slave", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    return median(float(line) / 1000 for line in told.stdout.split())


@click.command()
@click.option("-n", "rounds", default=20, help="Starts that are measured.")
def main(rounds: int) -> None:
    """Print the steps of a start on the bridge, each with its median in milliseconds."""
    engine = ClockedEngine()
    steps = engine.root / "steps.jsonl"
    whole: list[float] = []
    try:
        engine.start(env={CLOCKED: str(steps), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        engine.docker("load", stdin=saved([BUSYBOX]))
        with Client(engine.socket) as client:
            for number in range(rounds + 2):
                cid = client.create("sleep", "600")
                began = time.perf_counter()
                client.start(cid)
                if number >= 2:
                    whole.append((time.perf_counter() - began) * 1000)
                if number == rounds + 1:
                    bare = bare_runtime_ms(engine.exec / "c" / cid, rounds)
                client.remove(cid)
        shown(steps, median(whole), bare, rounds)
    finally:
        engine.close()


def shown(steps: Path, whole_ms: float, bare_ms: float, rounds: int) -> None:
    """The table of one run."""
    taken: dict[str, list[float]] = defaultdict(list)
    for line in steps.read_text().splitlines():
        step = json.loads(line)
        taken[step["step"]].append(step["ms"])
    table = Table(title=f"a start on the bridge, medians of {rounds} (ms)")
    table.add_column("step")
    table.add_column("ms", justify="right")
    table.add_row("whole request, seen by the client", f"{whole_ms:.1f}")
    for name, values in taken.items():
        table.add_row(f"  {name}", f"{median(values[2:] or values):.1f}")
    table.add_row("bare crun run --detach, new netns", f"{bare_ms:.1f}")
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
