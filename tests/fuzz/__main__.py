"""`python -m tests.fuzz [-n CASES] [--seed N] [OPERATION ...]`; `schemathesis` has to be in PATH."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence

import click
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved

from lighterman.api.openapi import document
from lighterman.api.routes import SERVED, Flow, Route

ADDRESS = "127.0.0.1:2375"
ENDLESS = frozenset({"SystemEvents", "ContainerStats", "ContainerWait"})
"""Operations whose answers go on until something happens, as those do that leave HTTP."""
BYTES = '{"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}'
"""What is sent in place of an archive."""


def chosen(operations: Sequence[str]) -> list[Route]:
    """The routes that answer by themselves, or those of them that were named."""
    able = [each for each in SERVED if each.flow in (Flow.PLAIN, Flow.STREAM)]
    return [
        route
        for route in able
        if route.operation not in ENDLESS and (not operations or route.operation in operations)
    ]


def asked(engine: Engine, routes: Sequence[Route], cases: int, seed: int) -> int:
    """Let the tool ask; its exit code."""
    told = json.dumps(document(routes)).replace('{"application/x-tar": {}}', BYTES)
    (engine.root / "openapi.json").write_text(told)
    command = [
        *("schemathesis", "run", "openapi.json", "--url", f"http://{ADDRESS}/v1.44"),
        *("--seed", str(seed), "--max-examples", str(cases), "--phases", "coverage,fuzzing"),
        *("--checks", "response_schema_conformance", "--continue-on-failure", "--request-timeout", "60"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
    ]
    return subprocess.run(engine.net.entered(command), cwd=engine.root, check=False).returncode


@click.command()
@click.argument("operations", nargs=-1)
@click.option("-n", "cases", default=50, help="Requests made up for each operation, beside the plain ones.")
@click.option("--seed", default=1, help="Of all that is chosen at random.")
def main(operations: Sequence[str], cases: int, seed: int) -> None:
    """Ask an engine in a network of its own; exit 1 when something surprised it, or was out of shape."""
    engine = Engine(options=[f"--host=tcp://{ADDRESS}"])
    try:
        engine.start()
        engine.docker("load", stdin=saved([BUSYBOX]))
        engine.docker("create", "--name=box", "busybox", "true")
        code = asked(engine, chosen(operations), cases, seed)
        surprises = re.findall(r"^.*unexpected error.*\n(?:(?!time=).*\n)*", engine.log, re.M)
        failed = re.findall(r"op=(\w+).* outcome=500", engine.log)
        warnings = re.findall(r"level=warning msg=(.*)", engine.log)
        warned = {re.sub(r" request=\d+", "", text) for text in warnings}
        print(*surprises, *sorted(warned), sep="\n")
        print(f"surprises: {len(surprises)}; changes that failed with 500: {sorted(set(failed))}")
        sys.exit(1 if surprises or code else 0)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
