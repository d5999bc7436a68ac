"""Many actors at once, an engine that is harmed beneath them, and a look at what is left."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct, field
from tests.soak.actor import Actor
from tests.soak.client import Wrong
from tests.soak.harm import Harms, Striker
from tests.support.engines import Engine
from tests.support.http import Http
from tests.support.leaks import Traces
from tests.support.net import HOST_ADDRESS
from tests.support.waiting import TooLate, until

ANSWER_WITHIN_S = 120
GONE_WITHIN_S = 30
GATEWAY = "docker_gwbridge"
"""The network that outlives a swarm, as dockerd's does."""
SWARM_OF_ONE = {"ListenAddr": f"{HOST_ADDRESS}:2377", "AdvertiseAddr": HOST_ADDRESS}


class Plan(Struct, frozen=True):
    """What kind of soak: for how long, of whom, and what there is beside the engine."""

    seconds: float
    clients: int
    seed: int
    harm_every_s: float = 0
    """Seconds between two harms, at most; 0 for none."""
    image: str = "busybox"
    registry: str = ""
    swarm: bool = False


class Outcome(Struct):
    """What a soak has seen."""

    plan: Plan
    done: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    cut_off: int = 0
    excused: Counter[str] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.plan.seed}: {self.done.total()} pieces of work ({listed(self.done)}), "
            f"{self.requests} requests; harms: {listed(self.harms) or 'none'}: {self.cut_off} cut off, "
            f"errors told: {listed(self.excused) or 'none'}; "
            f"{len(self.wrong)} wrong, {len(self.left)} left over"
        )


def listed(counts: Counter[str]) -> str:
    """As "pull 3, run 4"."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def soak(engine: Engine, plan: Plan) -> Outcome:
    """Let actors work on a running engine, and tell what came of it."""
    before, outcome, harms = engine.traces(), Outcome(plan), Harms()
    striker = Striker(engine, harms, random.Random(plan.seed), swarm=plan.swarm)
    if plan.swarm:
        engine.http.ok("POST", "/swarm/init", SWARM_OF_ONE)
    with _working(engine, plan, harms, outcome) as until_s:
        _harm_now_and_then(striker, until_s, outcome)
    outcome.harms.update(harm.kind for harm in harms.done)
    if plan.swarm:
        engine.http.ok("POST", "/swarm/leave?force=1")
        engine.http.ok("DELETE", f"/networks/{GATEWAY}")
    if not outcome.wrong:  # a client that was deceived leaves all as it is
        outcome.left = left(engine, before)
    return outcome


def left(engine: Engine, before: Traces) -> list[str]:
    """What is on the host and was not there `before`, when what may stay for a while was taken away."""
    engine.http.ok("POST", "/build/prune?all=1")  # steps of builds that were cut off stay for the next build
    engine.http.ok("POST", "/images/prune")
    with contextlib.suppress(TooLate):
        until(lambda: not engine.traces().beyond(before), what="clean", timeout_s=GONE_WITHIN_S)
    return engine.traces().beyond(before) + engine.store_complaints()


@contextlib.contextmanager
def _working(engine: Engine, plan: Plan, harms: Harms, outcome: Outcome) -> Iterator[float]:
    """Actors that work; until when. When the block ends, they have taken away what they made."""
    actors = [
        Actor(
            f"a{n}",
            Http(engine.socket, timeout_s=ANSWER_WITHIN_S),
            plan.seed * 1000 + n,
            plan.image,
            harms=harms,
            registry=plan.registry,
            swarm=plan.swarm,
        )
        for n in range(plan.clients)
    ]
    until_s = time.monotonic() + plan.seconds
    threads = [threading.Thread(target=_work, args=(actor, until_s, outcome)) for actor in actors]
    for thread in threads:
        thread.start()
    try:
        yield until_s
    finally:
        for thread in threads:
            thread.join()
        for actor in actors:
            outcome.done.update(actor.done)
            outcome.excused.update(actor.excused)
            outcome.cut_off += actor.cut_off
            outcome.requests += actor.requests


def _work(actor: Actor, until_s: float, outcome: Outcome) -> None:
    try:
        while time.monotonic() < until_s and not outcome.wrong:
            actor.step()
        actor.end()
    except Wrong as wrong:
        outcome.wrong.append(str(wrong))
    except Exception as error:
        outcome.wrong.append(f"{actor.name}: {error!r}")


def _harm_now_and_then(striker: Striker, until_s: float, outcome: Outcome) -> None:
    every_s = outcome.plan.harm_every_s or outcome.plan.seconds
    chance = random.Random(outcome.plan.seed)
    while time.monotonic() + every_s < until_s and not outcome.wrong:
        time.sleep(every_s * chance.uniform(0.5, 1))
        striker.strike()
