"""Publishing, listening, remembering."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lighterman.db import Database, Put
from lighterman.errdefs import Unavailable
from lighterman.events import Events
from lighterman.lib.filters import Filters

ALL = Filters()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


async def test_a_listener_hears_what_it_asked_for_and_nothing_else(db: Database) -> None:
    events = Events(db)
    with events.listen(Filters({"type": ("container",), "event": ("start",)})) as listener:
        events.publish("network", "connect", "n1", {})
        events.publish("container", "create", "c1", {"image": "busybox"})
        events.publish("container", "start", "c1", {"image": "busybox"})
        assert (await listener.next()).action == "start"


async def test_a_container_event_carries_the_legacy_fields(db: Database) -> None:
    events = Events(db)
    with events.listen(ALL) as listener:
        events.publish("container", "die", "c1", {"image": "busybox", "exitCode": "3"})
        event = await listener.next()
    assert (event.status, event.id, event.from_) == ("die", "c1", "busybox")


async def test_past_events_are_told_after_a_restart(db: Database, tmp_path: Path) -> None:
    before = time.time_ns()
    Events(db).publish("volume", "create", "v1", {"driver": "local"})
    db.close()
    again = Database(tmp_path / "state.db")
    seen = [event async for event in Events(again).stream(ALL, since_ns=before, until_ns=time.time_ns())]
    again.close()
    assert [(event.type, event.action, event.actor.id) for event in seen] == [("volume", "create", "v1")]


async def test_until_alone_tells_the_past_too(db: Database) -> None:
    events = Events(db)
    events.publish("volume", "create", "v1", {})
    stream = events.stream(ALL, since_ns=None, until_ns=time.time_ns())
    assert [event.actor.id async for event in stream] == ["v1"]


async def test_without_since_and_until_the_past_is_not_told(db: Database) -> None:
    events = Events(db)
    events.publish("volume", "create", "v1", {})
    told = aiter(events.stream(ALL, since_ns=None, until_ns=None))
    first = asyncio.ensure_future(anext(told))
    await asyncio.sleep(0)
    events.publish("volume", "create", "v2", {})
    assert (await first).actor.id == "v2"


async def test_a_listener_that_does_not_read_is_cut_off_and_others_lose_nothing(db: Database) -> None:
    events = Events(db)
    with events.listen(ALL) as slow, events.listen(ALL) as quick:
        heard = 0
        for n in range(5000):
            events.publish("volume", "create", f"v{n}", {})
            await quick.next()
            heard += 1
        with pytest.raises(Unavailable):
            for _ in range(5000):
                await slow.next()
    assert heard == 5000


async def test_a_stream_ends_at_until(db: Database) -> None:
    events = Events(db)
    async with asyncio.timeout(5):
        seen = [event async for event in events.stream(ALL, since_ns=None, until_ns=time.time_ns() + 10**7)]
    assert seen == []


@pytest.mark.parametrize(
    ("filters", "heard"),
    [
        ({"container": ("c1",)}, True),
        ({"container": ("boat",)}, True),
        ({"container": ("other",)}, False),
        ({"image": ("busybox",)}, True),
        ({"label": ("a=b",)}, True),
        ({"label": ("a=c",)}, False),
        ({"event": ("exec_start",)}, True),
        ({"unknown": ("x",)}, True),
    ],
)
async def test_filters_find_the_object_they_name(
    db: Database, filters: dict[str, tuple[str, ...]], heard: bool
) -> None:
    from lighterman.events import matches

    events = Events(db)
    with events.listen(ALL) as listener:
        events.publish(
            "container", "exec_start: sh -c ls", "c123", {"image": "busybox:1", "name": "boat", "a": "b"}
        )
        assert matches(await listener.next(), Filters(filters)) is heard


async def test_an_engine_can_do_without_a_past_that_cannot_be_read(db: Database) -> None:
    await db.write(Put("events", "00000000000000000001", b"\xc1"))
    assert [event async for event in Events(db).stream(ALL, since_ns=0, until_ns=1)] == []
