"""The long run: `python -m tests.soak --seconds 3600`, as root."""

import sys
from pathlib import Path

import click
from tests.soak.ground import DISK, SWARM_DISK, ground
from tests.soak.growth import Growth, growth
from tests.soak.soak import Outcome, Plan, soak


@click.command()
@click.option("--seconds", default=600.0, help="How long the clients work.")
@click.option("--clients", default=20, help="How many there are.")
@click.option(
    "--harm-every", default=20.0, help="Seconds between two harms, at most; a third kill the engine."
)
@click.option("--seed", default=1, help="Of all that is chosen at random.")
@click.option("--swarm", is_flag=True, help="Let the engine be a swarm of one, and clients keep services.")
@click.option(
    "--log", type=click.Path(path_type=Path), help="Where to leave the engine's log, and its events beside."
)
@click.option("--growth", "grows", is_flag=True, help="Harm nothing, and measure what the engine grows by.")
def main(
    seconds: float, clients: int, harm_every: float, seed: int, swarm: bool, grows: bool, log: Path | None
) -> None:
    """Let clients work on an engine that is harmed now and then; exit 1 when a promise was broken."""
    with ground(SWARM_DISK if swarm else DISK) as (engine, registry):
        plan = Plan(seconds, clients, seed, 0 if grows else harm_every, registry=registry.name, swarm=swarm)
        outcome: Growth | Outcome = growth(engine, plan) if grows else soak(engine, plan)
        if log:
            log.write_text(engine.log)
            told = engine.docker("events", "--since", "10m", "--until", "0s", check=False)
            log.with_suffix(".events").write_text(told.stdout)
        print(outcome, *outcome.wrong, *outcome.left, sep="\n")
        sys.exit(1 if outcome.wrong or outcome.left else 0)


if __name__ == "__main__":
    main()
