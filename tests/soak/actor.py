"""One client of a soak: random work, and a model of what must be true whatever was done meanwhile.

What was acknowledged must be there, as it was; what was cut off, or failed with an error that a harm
explains, may be there or not, and is taken away.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.soak.client import BROKEN, CutOff, Wrong
from tests.soak.harm import Harms
from tests.soak.works import Works

RETURNS_WITHIN_S = 60


class Actor(Works):
    """Works by itself until told to stop; `done` counts what it has done, by name."""

    def __init__(self, *what: Any, harms: Harms, **beside: Any) -> None:
        super().__init__(*what, **beside)
        self._harms = harms
        self.done: Counter[str] = Counter()
        self.cut_off = 0
        self.excused: Counter[str] = Counter()
        """Errors that were told because of a harm, by its kind."""

    def step(self) -> None:
        """One piece of work, chosen at random. Raises: Wrong."""
        work = self._random.choice(self._works)
        if self._succeeds(work):
            self.done[work.__name__] += 1
        else:
            self._insist(self._take_away_what_is_unknown)
            self._insist(self._check_all)

    def end(self) -> None:
        """All that was acknowledged is as it was; take away all that it made. Raises: Wrong."""
        self._insist(self._check_all)
        self._running.clear()
        self._kept.clear()
        self._served.clear()
        self._insist(self._take_away_what_is_unknown)

    def _succeeds(self, work: Callable[[], None]) -> bool:
        """Whether the work was done; not when it was hit by a harm, which is over then. Raises: Wrong."""
        began_s = time.monotonic()
        try:
            work()
            return True
        except CutOff:
            self.cut_off += 1
        except Wrong as wrong:
            kind = self._harms.excuse(str(wrong), began_s)
            if not kind:
                raise
            self.excused[kind] += 1
        self._harms.await_calm()
        self._await_engine()
        return False

    def _insist(self, work: Callable[[], None]) -> None:
        while not self._succeeds(work):
            pass

    def _check_all(self) -> None:
        for box in list(self._running.values()):
            self._check(box)
        for volume in list(self._kept):
            self._read_volume(volume)
        for service in list(self._served):
            self._check_service(service)

    def _await_engine(self) -> None:
        deadline = time.monotonic() + RETURNS_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if self._http("GET", "/_ping").status == 200:
                    return
            except BROKEN:
                time.sleep(0.02)
        raise Wrong(f"{self.name}: the engine did not return")

    def _take_away_what_is_unknown(self) -> None:
        """All of its own that the model does not have."""
        if self._swarm:
            for each in self._ask("GET", "/services").json:
                if self._is_mine(each["Spec"]["Name"]) and each["Spec"]["Name"] not in self._served:
                    self._ask("DELETE", f"/services/{each['ID']}", expect=(200, 404))
        for each in self._ask("GET", "/containers/json?all=1").json:
            name = each["Names"][0].removeprefix("/")
            of_a_service = "com.docker.swarm.service.id" in each["Labels"]
            if self._is_mine(name) and name not in self._running and not of_a_service:
                self._ask("DELETE", f"/containers/{name}?force=1&v=1", expect=(204, 404))
        for each in self._ask("GET", "/networks").json:
            if self._is_mine(each["Name"]):
                self._ask("DELETE", f"/networks/{each['Name']}", expect=(204, 404))
        for each in self._ask("GET", "/volumes").json["Volumes"] or []:
            if self._is_mine(each["Name"]) and each["Name"] not in self._kept:
                self._ask("DELETE", f"/volumes/{each['Name']}", expect=(204, 404))
        for each in self._ask("GET", "/images/json").json:
            for tag in filter(self._is_mine, each["RepoTags"] or []):
                self._ask("DELETE", f"/images/{tag}?force=1", expect=(200, 404))
