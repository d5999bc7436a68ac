"""Many actors at once, an engine that is killed beneath them, and a look at what is left."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct, field
from tests.soak.actor import Actor, Wrong
from tests.support.engines import Engine
from tests.support.http import Http
from tests.support.leaks import parent
from tests.support.waiting import TooLate, until

ANSWER_WITHIN_S = 120
GONE_WITHIN_S = 20


class Outcome(Struct):
    """What a soak has seen."""

    seed: int
    done: Counter[str] = field(default_factory=Counter)
    cut_off: int = 0
    engine_kills: int = 0
    monitor_kills: int = 0
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        works = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        return (
            f"seed {self.seed}: {sum(self.done.values())} pieces of work ({works}); {self.cut_off} cut off "
            f"by {self.engine_kills} kills of the engine, beside {self.monitor_kills} of monitors; "
            f"{len(self.wrong)} wrong, {len(self.left)} left over"
        )


def soak(
    engine: Engine, *, image: str, seconds: float, clients: int, kill_every_s: float, seed: int
) -> Outcome:
    """Let `clients` actors work on a running engine that has `image`, and tell what came of it."""
    before, outcome = engine.traces(), Outcome(seed)
    actors = [
        Actor(f"a{n}", Http(engine.socket, timeout_s=ANSWER_WITHIN_S), seed * 1000 + n, image)
        for n in range(clients)
    ]
    until_s = time.monotonic() + seconds
    threads = [threading.Thread(target=_work, args=(actor, until_s, outcome)) for actor in actors]
    for thread in threads:
        thread.start()
    _kill_now_and_then(engine, until_s, kill_every_s, random.Random(seed), outcome)
    for thread in threads:
        thread.join()
    for actor in actors:
        outcome.done.update(actor.done)
        outcome.cut_off += actor.cut_off
    engine.http.ok("POST", "/build/prune?all=1")  # steps of builds that were cut off stay for the next build
    engine.http.ok("POST", "/images/prune")
    with contextlib.suppress(TooLate):
        until(lambda: not engine.traces().beyond(before), what="clean", timeout_s=GONE_WITHIN_S)
    outcome.left = engine.traces().beyond(before) + engine.store_complaints()
    return outcome


def _work(actor: Actor, until_s: float, outcome: Outcome) -> None:
    try:
        while time.monotonic() < until_s and not outcome.wrong:
            actor.step()
        actor.check_all()
        actor.leave()
    except Wrong as wrong:
        outcome.wrong.append(str(wrong))
    except Exception as error:
        outcome.wrong.append(f"{actor.name}: {error!r}")


def _kill_now_and_then(
    engine: Engine, until_s: float, every_s: float, chance: random.Random, outcome: Outcome
) -> None:
    while time.monotonic() + every_s < until_s and not outcome.wrong:
        time.sleep(every_s * chance.uniform(0.5, 1))
        if chance.random() < 0.5:
            outcome.monitor_kills += _kill_a_monitor(engine, chance)
        engine.restart_killed()
        outcome.engine_kills += 1


def _kill_a_monitor(engine: Engine, chance: random.Random) -> int:
    """SIGKILL to the monitor of one container that runs; how many were killed."""
    running = [each["Id"] for each in engine.http.ok("GET", "/containers/json")]
    if not running:
        return 0
    answer = engine.http("GET", f"/containers/{chance.choice(running)}/json")
    pid = answer.json["State"]["Pid"] if answer.status == 200 else 0
    if not pid or not Path(f"/proc/{pid}").exists():
        return 0
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        monitor = parent(pid)
        if Path(f"/proc/{monitor}/comm").read_text().startswith("lm-"):
            os.kill(monitor, signal.SIGKILL)
            return 1
    return 0
