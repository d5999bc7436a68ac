"""Whether the engine grows: its memory and descriptors at rest, before and after much work."""

import os
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from tests.soak.soak import Outcome, Plan, soak
from tests.support.engines import Engine
from tests.support.leaks import processes

WARM_UP = 0.25
"""The part of a run that is for caches to be filled."""


class Size(Struct, frozen=True):
    """What daemon and zygote have at rest."""

    daemon_kib: int
    """Pages of its own, which no other process shares; what other engines do does not change it."""
    zygote_kib: int
    daemon_fds: int
    zygote_fds: int


class Growth(Struct):
    """Two sizes, and the work between them."""

    before: Size
    after: Size
    outcome: Outcome

    @property
    def wrong(self) -> list[str]:
        return self.outcome.wrong

    @property
    def left(self) -> list[str]:
        return self.outcome.left

    @property
    def mib_for_10_000(self) -> float:
        """MiB that the daemon grew by for each 10,000 pieces of work."""
        return (self.after.daemon_kib - self.before.daemon_kib) / 1024 * 10_000 / self.outcome.done.total()

    def __str__(self) -> str:
        return (
            f"{self.outcome}\n{self.before} -> {self.after}: {self.mib_for_10_000:.2f} MiB for 10,000 pieces"
        )


def growth(engine: Engine, plan: Plan) -> Growth:
    """Work to warm up, then work that is measured."""
    soak(engine, replace(plan, seconds=plan.seconds * WARM_UP))
    before = size(engine)
    outcome = soak(engine, replace(plan, seconds=plan.seconds * (1 - WARM_UP), seed=plan.seed + 1))
    return Growth(before, size(engine), outcome)


def size(engine: Engine) -> Size:
    """What they have now."""
    assert engine.process
    daemon = engine.process.pid
    zygote = next(pid for pid, _ in processes(engine.net) if _name(pid) == "lm-zygote")
    return Size(_own_kib(daemon), _own_kib(zygote), _fds(daemon), _fds(zygote))


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _own_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def _fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
