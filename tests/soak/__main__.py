"""The long run: `python -m tests.soak --seconds 3600`, as root."""

import sys

import click
from tests.soak.soak import soak
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved


@click.command()
@click.option("--seconds", default=600.0, help="How long the clients work.")
@click.option("--clients", default=20, help="How many there are.")
@click.option("--kill-every", default=60.0, help="Seconds between two kills of the engine, at most.")
@click.option("--seed", default=1, help="Of all that is chosen at random.")
def main(seconds: float, clients: int, kill_every: float, seed: int) -> None:
    """Let clients work on an engine that is killed now and then; exit 1 when a promise was broken."""
    engine = Engine()
    try:
        engine.start()
        engine.docker("load", stdin=saved([BUSYBOX]))
        outcome = soak(
            engine, image="busybox", seconds=seconds, clients=clients, kill_every_s=kill_every, seed=seed
        )
        print(outcome, *outcome.wrong, *outcome.left, sep="\n")
        sys.exit(1 if outcome.wrong or outcome.left else 0)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
