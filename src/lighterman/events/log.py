"""The log of events and its listeners."""

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager

from lighterman.apitypes.event import Actor, Event
from lighterman.db import BadRow, Database, Rows
from lighterman.errdefs import Unavailable
from lighterman.events.matching import matches
from lighterman.lib.filters import Filters

KEPT = 1000
QUEUE_LIMIT = 4096
log = logging.getLogger(__name__)
_ROWS: Rows[Event] = Rows("events", Event)


class Listener:
    """One client's bounded queue of events."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE_LIMIT + 1)
        self._cut_off = False

    def offer(self, event: Event) -> None:
        """Queue `event` if it was asked for; a full queue cuts this listener off."""
        if self._cut_off or not matches(event, self._filters):
            return
        if self._queue.qsize() >= QUEUE_LIMIT:
            self._cut_off = True
            self._queue.put_nowait(None)
        else:
            self._queue.put_nowait(event)

    async def next(self) -> Event:
        """The next event. Raises Unavailable after the last one of a listener that was too slow."""
        event = await self._queue.get()
        if event is None:
            raise Unavailable("events were lost: this client reads too slowly")
        return event


class Events:
    """The engine's one log. Publishing is a plain call on the event loop."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept: deque[Event] = deque(_history(db), maxlen=KEPT)
        self._last_ns = self._kept[-1].time_nano if self._kept else 0
        self._listeners: set[Listener] = set()
        self.published = 0
        """Since the start of this engine."""

    @property
    def listeners(self) -> int:
        """How many clients listen."""
        return len(self._listeners)

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: Mapping[str, str],
        *,
        scope: str = "local",
    ) -> None:
        """Tell that `action` happened to the object `actor_id` of the API's `kind` ("container", ...).

        `scope` is "swarm" for what concerns more than this engine.
        """
        now_ns = max(time.time_ns(), self._last_ns + 1)  # unique and rising: it is the row's key too
        self._last_ns = now_ns
        self.published += 1
        legacy: dict[str, str] = {}
        if kind in ("container", "image"):
            legacy = {"status": action, "id": actor_id}
            if kind == "container":
                legacy["from_"] = attributes.get("image", "")
        event = Event(
            **legacy,
            type=kind,
            action=action,
            actor=Actor(id=actor_id, attributes=dict(sorted(attributes.items()))),
            scope=scope,
            time=now_ns // 10**9,
            time_nano=now_ns,
        )
        forgotten = self._kept[0] if len(self._kept) == KEPT else None
        self._kept.append(event)
        put = _ROWS.put(_key(now_ns), event)
        if forgotten is None:
            self._db.write_soon(put)
        else:
            self._db.write_soon(put, _ROWS.delete(_key(forgotten.time_nano), up_to=True))
        for listener in self._listeners:
            listener.offer(event)

    @contextmanager
    def listen(self, filters: Filters) -> Iterator[Listener]:
        """A Listener that hears everything published until the block ends."""
        listener = Listener(filters)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def stream(
        self, filters: Filters, *, since_ns: int | None, until_ns: int | None
    ) -> AsyncIterator[Event]:
        """The kept events between both (none when neither is given), then those to come, up to `until_ns`."""
        with self.listen(filters) as listener:
            past = [] if since_ns is None and until_ns is None else list(self._kept)
            first_ns, last_ns = since_ns or 0, until_ns or sys.maxsize
            for event in past:
                if first_ns <= event.time_nano <= last_ns and matches(event, filters):
                    yield event
            while True:
                left_s = None if until_ns is None else (until_ns - time.time_ns()) / 10**9
                if left_s is not None and left_s <= 0:
                    return
                try:
                    async with asyncio.timeout(left_s):
                        event = await listener.next()
                except TimeoutError:
                    return
                yield event


def _history(db: Database) -> Iterable[Event]:
    """What was kept; nothing when it cannot be read, since an engine can do without its past."""
    try:
        return _ROWS.load(db).values()
    except BadRow as error:
        log.warning("the history of events is lost: %s", error)
        return ()


def _key(instant_ns: int) -> str:
    return f"{instant_ns:020d}"
