"""What builds leave to be found again: cache directories, and what a prune means."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.snapshots.rooms import Rooms, started

from lighterman.apitypes.build import BuildCache
from lighterman.build.caches import Beginning, Caches
from lighterman.build.mounts import check, target_of
from lighterman.build.prune import MOUNT, STEP, Kept, matches
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import RunMount
from lighterman.lib.filters import parse_filters


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with started(tmp_path / "data") as rooms:
        yield rooms


def caches_of(rooms: Rooms) -> Caches:
    return Caches(rooms.db, rooms.content, rooms.workers)


def cache(**wish: object) -> RunMount:
    return RunMount(kind="cache", target="/c", **wish)  # type: ignore[arg-type]


async def test_a_cache_is_the_same_directory_each_time(rooms: Rooms) -> None:
    caches = caches_of(rooms)
    async with caches.held(cache(mode=0o700), "/c") as path:
        (path / "f").write_text("kept")
        assert path.stat().st_mode & 0o777 == 0o700
    async with caches.held(cache(), "/c") as again, caches.held(cache(id="other"), "/c") as other:
        assert (again / "f").read_text() == "kept"
        assert other != again


async def test_who_wants_a_cache_alone_gets_another_while_it_is_used(rooms: Rooms) -> None:
    caches = caches_of(rooms)
    async with caches.held(cache(), "/c") as shared, caches.held(cache(sharing="private"), "/c") as own:
        assert own != shared
    async with caches.held(cache(sharing="private"), "/c") as free:
        assert free == shared


async def test_who_locks_a_cache_waits_for_the_other(rooms: Rooms) -> None:
    caches, order = caches_of(rooms), []

    async def use(name: str) -> None:
        async with caches.held(cache(sharing="locked"), "/c"):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(use("one"), use("two"))
    assert order == ["one", "one", "two", "two"]


async def test_a_cache_that_begins_with_files_does_so_once(rooms: Rooms) -> None:
    caches, begun = caches_of(rooms), []

    def beginning(digest: str) -> Beginning:
        async def put(path: Path) -> None:
            begun.append(digest)
            await asyncio.sleep(0)
            (path / "f").write_text(digest)

        return Beginning(digest, put)

    async def read(digest: str) -> str:
        async with caches.held(cache(), "/c", beginning(digest)) as path:
            return (path / "f").read_text()

    assert [*await asyncio.gather(read("one"), read("one"), read("two"))] == ["one", "one", "two"]
    assert sorted(begun) == ["one", "two"]
    assert list((rooms.root / "ingest").iterdir()) == []


async def test_a_cache_that_cannot_begin_is_none(rooms: Rooms) -> None:
    caches = caches_of(rooms)

    async def put(path: Path) -> None:
        (path / "half").write_text("")
        raise InvalidParameter("no such files")

    for _ in range(2):
        with pytest.raises(InvalidParameter, match="no such files"):
            async with caches.held(cache(mode=0o700), "/c", Beginning("d", put)):
                pass
    assert list((rooms.root / "ingest").iterdir()) == []
    async with caches.held(cache(), "/c") as path:
        assert list(path.iterdir()) == []


async def test_a_removed_cache_leaves_no_directory(rooms: Rooms) -> None:
    caches = caches_of(rooms)
    async with caches.held(cache(), "/c") as path:
        (path / "f").write_text("12345")
    ((key, told),) = caches
    assert (told.id, await caches.size(key), caches.in_use(key)) == ("/c", 5, False)
    await caches.remove(key)
    await caches.remove(key)
    assert not (rooms.root / "build").exists()
    assert list(caches_of(rooms)) == []


def kept(*, used_ns: int = 0, in_use: bool = False, kind: str = STEP) -> Kept:
    told = BuildCache(
        id="i",
        type=kind,
        description="d",
        in_use=in_use,
        shared=kind == STEP,
        size=1,
        created_at="",
        last_used_at=None,
        usage_count=0,
    )
    return Kept("k", told, used_ns)


@pytest.mark.parametrize(
    ("filters", "each", "meant"),
    [
        ({}, kept(), True),
        ({"type": ["regular"]}, kept(), True),
        ({"type": ["regular"]}, kept(kind=MOUNT), False),
        ({"id": ["i"]}, kept(), True),
        ({"id": ["j"]}, kept(), False),
        ({"inuse": ["true"]}, kept(in_use=True), True),
        ({"inuse": ["true"]}, kept(), False),
        ({"shared": ["false"]}, kept(kind=MOUNT), True),
    ],
)
def test_filters_mean_what_they_say(filters: dict[str, list[str]], each: Kept, meant: bool) -> None:
    assert matches(each, parse_filters(json.dumps(filters)), None) is meant


def test_age_is_that_of_the_last_use() -> None:
    assert matches(kept(used_ns=5), parse_filters(""), 6)
    assert not matches(kept(used_ns=6), parse_filters(""), 6)


@pytest.mark.parametrize(
    ("mount", "target"),
    [
        (RunMount(kind="bind", target="x"), "/site/x"),
        (RunMount(kind="bind", target="/a/../b"), "/b"),
        (RunMount(kind="secret", id="s"), "/run/secrets/s"),
        (RunMount(kind="ssh"), "/run/buildkit/ssh_agent.0"),
    ],
)
def test_a_mount_is_seen_below_the_working_directory(mount: RunMount, target: str) -> None:
    assert target_of(mount, "/site") == target


@pytest.mark.parametrize("mount", [RunMount(kind="bind"), RunMount(kind="bind", target="/")])
def test_a_mount_needs_a_target(mount: RunMount) -> None:
    with pytest.raises(InvalidParameter):
        target_of(mount, "/site")


@pytest.mark.parametrize("wish", [{"source": "x"}, {"source_from": "busybox"}])
@pytest.mark.parametrize("kind", ["tmpfs", "ssh"])
def test_what_has_no_effect_on_a_mount_is_refused(kind: str, wish: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter, match=f'not allowed for "{kind}" type mounts'):
        check(RunMount(kind=kind, target="/x", **wish))  # type: ignore[arg-type]  # each is of its field
