"""What is kept of a container's use: enough to answer at once, and one sampling for all who listen.

A *sample* is one look at all counters. Rates come from two of them, so the processor's part of the last ones
is kept: `keep` takes at most one each half second (a shorter time measures nothing: the kernel counts the
system's time in steps of 10 ms), `before` gives the one to compare with.
"""

import asyncio

from msgspec import Struct

from lighterman.apitypes.stats import CpuStats, StatsResponse

APART_NS = 500_000_000


class CpuSample(Struct, frozen=True):
    at_ns: int
    cpu: CpuStats


class Samples:
    """Of one container: the last two, and the news for those who listen."""

    def __init__(self) -> None:
        self.listeners = 0
        self.sampling = False
        """Whether somebody takes samples for the listeners."""
        self._newer: CpuSample | None = None
        self._older: CpuSample | None = None
        self._latest: tuple[int, StatsResponse] | None = None
        self._news = asyncio.Event()

    def keep(self, sample: CpuSample) -> None:
        """Keep `sample`, unless the last one is too young to make room for it."""
        if self._newer is None or sample.at_ns - self._newer.at_ns >= APART_NS:
            self._older, self._newer = self._newer, sample

    def before(self, now_ns: int, *, since_ns: int) -> CpuSample | None:
        """The newest sample that is old enough to compare with, of those taken after `since_ns`."""
        for sample in (self._newer, self._older):
            if sample and sample.at_ns >= since_ns and now_ns - sample.at_ns >= APART_NS:
                return sample
        return None

    def publish(self, sample: StatsResponse | None) -> None:
        """Tell the listeners; None: there will be no more."""
        number = self._latest[0] + 1 if self._latest else 1
        self._latest = None if sample is None else (number, sample)
        self.sampling = sample is not None
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, number: int) -> tuple[int, StatsResponse] | None:
        """The latest sample once it is newer than `number`, with its own; None: there will be no more.

        Whoever is slow misses some: nothing is queued for him.
        """
        while self.sampling and (self._latest is None or self._latest[0] <= number):
            await self._news.wait()
        return self._latest if self.sampling else None
