"""What is done to an engine while clients work: processes are killed, its disk is filled.

`Harms` remembers what was done and when, for a client may be told of it: `excuse` knows in which words.
What is told in other words, or when nothing was done, is a promise that was broken.
"""

import contextlib
import math
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from tests.support.engines import Engine
from tests.support.leaks import processes
from tests.support.waiting import until

FULL_S = 2.0
"""How long a disk is full, at most."""
RETURNS_WITHIN_S = 120
SEEN_WITHIN_S = 3.0
"""For how long a process is looked for that lives for milliseconds."""

EXCUSES = {
    "disk": re.compile(
        r"(?i)no space left on device|swarm manager|exit code of .* is 1,|: (followed )?log is"
    ),
    "monitor": re.compile(r"its monitor died|exit code.* is 137|: (exec|attach) is|: (followed )?log is"),
    "zygote": re.compile(r"its monitor died"),
    "runtime": re.compile(
        r"OCI runtime (was killed|ended)|exit code.* is 137|: (exec|attach) is|: (followed )?log is"
    ),
    "helper": re.compile(r"worker process(es)? (was killed|cannot be started)"),
    "worker": re.compile(r"worker process was killed"),
    "etcd": re.compile(r"swarm"),
    "engine": re.compile(r"swarm"),
}
"""In which words a client hears of what was done; a log may lack the words of who found the disk full."""

PROGRAMS = {"crun": "runtime", "runc": "runtime", "etcd": "etcd"}
HELPERS = {"lm-zygote": "zygote", "lm-helper": "helper", "lm-worker": "worker"}
"""Processes by their names; all else that is called lm-... is the monitor of a container."""


class Harm(Struct):
    """One kill, or one time that the disk was full; `ended_s` is when all was well again."""

    kind: str
    began_s: float
    ended_s: float = math.inf


class Harms:
    """What was done so far."""

    def __init__(self) -> None:
        self.done: list[Harm] = []
        self._calm = threading.Event()
        self._calm.set()

    @contextlib.contextmanager
    def one(self, kind: str) -> Iterator[Harm]:
        """While the block lasts, and until all is well again, clients may be told of it."""
        harm = Harm(kind, time.monotonic())
        self.done.append(harm)
        self._calm.clear()
        try:
            yield harm
        finally:
            harm.ended_s = time.monotonic()
            self._calm.set()

    def await_calm(self) -> None:
        """Until nothing is being done."""
        self._calm.wait(RETURNS_WITHIN_S)

    def excuse(self, text: str, since_s: float) -> str:
        """The kind of harm, done since then, that explains what a client was told; "" for none."""
        since = (harm.kind for harm in reversed(self.done) if harm.ended_s >= since_s)
        return next((kind for kind in since if EXCUSES[kind].search(text)), "")


class Striker:
    """Harms `engine` in all ways that there are, one after another, in an order by `chance`."""

    def __init__(self, engine: Engine, harms: Harms, chance: random.Random, *, swarm: bool) -> None:
        self._engine, self._harms, self._chance, self._swarm = engine, harms, chance, swarm
        lesser: list[str] = ["monitor", "zygote", "worker", "runtime", "helper", "disk"]
        self._lesser = [*lesser, "etcd"] if swarm else lesser
        self._deck: list[str] = []

    def strike(self) -> None:
        """The next harm; returns when all is well again. Every third one is to the engine itself."""
        if not self._deck:
            self._chance.shuffle(self._lesser)
            pairs = zip(self._lesser[::2], [*self._lesser[1::2], "monitor"], strict=False)
            self._deck = [kind for pair in pairs for kind in (*reversed(pair), "engine")]
        kind = self._deck.pop()
        ways: dict[str, Callable[[], None]] = {"engine": self._engine.restart_killed, "disk": self._fill_disk}
        if kind not in ways and not (pids := self._victims(kind)):
            return
        with self._harms.one(kind):
            if kind in ways:
                ways[kind]()
            else:
                self._kill(self._chance.choice(pids))
            self.await_health()

    def await_health(self) -> None:
        """Until the engine answers, and the swarm if it is in one."""
        asked = "/services" if self._swarm else "/_ping"
        until(
            lambda: self._engine.http("GET", asked).status == 200,
            what="the engine to be well",
            timeout_s=RETURNS_WITHIN_S,
        )

    def _victims(self, kind: str) -> list[int]:
        """Processes of this kind that live now, or soon."""
        deadline = time.monotonic() + SEEN_WITHIN_S
        while time.monotonic() < deadline:
            found = [pid for pid, command in processes(self._engine.net) if kind_of(pid, command) == kind]
            if found:
                return found
        return []

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _fill_disk(self) -> None:
        disk, filler = os.statvfs(self._engine.data), self._engine.data / "filler"
        with filler.open("wb") as file:
            try:
                with contextlib.suppress(OSError):  # the clients were quicker: it is full
                    os.posix_fallocate(file.fileno(), 0, max(disk.f_bavail * disk.f_bsize, 1))
                time.sleep(self._chance.uniform(FULL_S / 4, FULL_S))
            finally:
                filler.unlink()


def kind_of(pid: int, command: str) -> str:
    """The kind of harm that it is to kill this process; "" for none."""
    program = command.partition(" ")[0].rpartition("/")[2]
    if program in PROGRAMS:
        return PROGRAMS[program]
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    return HELPERS.get(name, "monitor" if name.startswith("lm-") else "")
