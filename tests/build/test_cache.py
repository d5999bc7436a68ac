"""The cache of steps: what its keys tell apart, one run for all who want it, and histories that go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.images.shelf import Shelf, opened

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.apitypes.registry import Platform
from lighterman.build.cache import StepCache, continues, step_key
from lighterman.db import Put, Reading
from lighterman.errdefs import System
from lighterman.images import Image, Step
from lighterman.images.image import Document, History, RootFS
from lighterman.lib.filters import Filters

LINUX = Platform("amd64", "linux")
STEP = Step(
    parent="sha256:1",
    config=ContainerConfig(cmd=["sh"]),
    container_config=ContainerConfig(cmd=["/bin/sh", "-c", "#(nop) ", "ENV A=1"], env=["A=1"]),
)


def told(**changes: object) -> Step:
    """The step with a different configuration of its container."""
    return replace(STEP, container_config=structs.replace(STEP.container_config, **changes))


@pytest.mark.parametrize(
    "other",
    [
        replace(STEP, parent="sha256:2"),
        replace(STEP, author="me"),
        told(cmd=["x"]),
        told(env=["A=2"]),
        told(user="app"),
        told(working_dir="/x"),
        told(labels={"a": "b"}),
        told(entrypoint=["x"]),
        told(shell=["x"]),
        told(stop_signal="TERM"),
        told(healthcheck=HealthConfig(test=["NONE"])),
        told(volumes={"/v": {}}),
        told(on_build=["RUN x"]),
    ],
    ids=repr,
)
def test_a_step_of_anything_else_is_another(other: Step) -> None:
    assert step_key(other, LINUX) != step_key(STEP, LINUX)


def test_platform_and_mounts_are_part_of_a_step() -> None:
    keys = {step_key(STEP, LINUX), step_key(STEP, Platform("arm64", "linux")), step_key(STEP, LINUX, ["m"])}
    assert len(keys) == 3


def test_the_container_that_a_step_ran_in_is_no_part_of_it() -> None:
    ran = replace(
        STEP, container_id="c", container_config=structs.replace(STEP.container_config, hostname="c")
    )
    assert step_key(ran, LINUX) == step_key(STEP, LINUX)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path / "data") as shelf:
        yield shelf


async def make(shelf: Shelf, name: str = "") -> Image:
    step = Step(parent="", config=ContainerConfig(env=[name]))
    with ExitStack() as holds:
        return await shelf.images.steps.with_settings(step, LINUX, holds)


async def test_what_many_want_is_made_once(shelf: Shelf) -> None:
    cache, made = StepCache(shelf.rooms.db, shelf.images), 0

    async def slowly() -> Image:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return await make(shelf)

    found = await asyncio.gather(*(cache.once("k", slowly) for _ in range(10)))
    assert made == 1
    assert len({image.id for image, _ in found}) == 1
    assert sorted(was_there for _, was_there in found) == [False, *[True] * 9]


async def test_when_it_fails_the_next_one_tries(shelf: Shelf) -> None:
    cache, tries = StepCache(shelf.rooms.db, shelf.images), 0

    async def second_time() -> Image:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries == 1:
            raise System("it broke")
        return await make(shelf)

    first, second = await asyncio.gather(
        cache.once("k", second_time), cache.once("k", second_time), return_exceptions=True
    )
    assert isinstance(first, System)
    assert isinstance(second, tuple)
    assert tries == 2


async def test_who_is_cancelled_leaves_the_step_to_the_next(shelf: Shelf) -> None:
    cache = StepCache(shelf.rooms.db, shelf.images)

    async def never() -> Image:
        await asyncio.Event().wait()
        raise AssertionError

    first = asyncio.ensure_future(cache.once("k", never))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(cache.once("k", lambda: make(shelf)))
    await asyncio.sleep(0)
    first.cancel()
    image, was_there = await second
    assert not was_there
    assert cache.find("k") == image


async def test_steps_are_found_after_a_restart_as_long_as_their_image_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as shelf:
        cache = StepCache(shelf.rooms.db, shelf.images)
        image, _ = await cache.once("k", lambda: make(shelf))
    async with opened(tmp_path / "data") as shelf:
        cache = StepCache(shelf.rooms.db, shelf.images)
        assert cache.find("k") == image
        await shelf.images.delete(image.id)
        assert cache.find("k") is None
    async with opened(tmp_path / "data") as shelf:
        assert list(StepCache(shelf.rooms.db, shelf.images)) == []


async def test_a_step_that_was_answered_outlives_a_crash(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as shelf:
        cache, image = StepCache(shelf.rooms.db, shelf.images), await make(shelf)

        async def at_once() -> Image:
            return image

        for _ in range(500):  # the thread that writes is busy
            shelf.rooms.db.write_soon(Put("facts", "x", b"{}"))
        await cache.once("k", at_once)
        with closing(Reading(tmp_path / "data/state.db")) as left:
            assert [key for key, _ in left.rows("build_steps")] == ["k"]


async def test_a_held_image_is_not_removed(shelf: Shelf) -> None:
    image = await make(shelf)
    with shelf.images.steps.held(image.id):
        pruned = await shelf.images.prune(Filters())
        assert not pruned.images_deleted
    assert (await shelf.images.prune(Filters())).images_deleted


def image_of(*comments: str, layers: int = 0) -> Image:
    history = [History(created_by=comment) for comment in comments]
    diff_ids = [f"sha256:{number}" for number in range(layers)]
    document = Document(history=history, rootfs=RootFS(diff_ids=diff_ids))
    return Image("sha256:x", document, (), 0, None)


@pytest.mark.parametrize(
    ("target", "parent", "comment", "goes_on"),
    [
        (image_of("a", "b"), image_of("a"), "b", True),
        (image_of("a", "b", "c"), image_of("a"), "b", True),
        (image_of("a", "b"), None, "a", True),
        (image_of("a", "b"), image_of("a"), "c", False),
        (image_of("a", "b"), image_of("x"), "b", False),
        (image_of("a"), image_of("a"), "a", False),
        (image_of("a", "b", layers=1), image_of("a", layers=2), "b", False),
    ],
)
def test_an_image_goes_on_where_its_history_does(
    target: Image, parent: Image | None, comment: str, goes_on: bool
) -> None:
    assert continues(target, parent, comment) is goes_on
