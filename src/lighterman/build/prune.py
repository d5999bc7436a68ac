"""What builds leave to be found again: shown by `docker system df`, removed by `docker builder prune`.

Two kinds. A *cache mount* is a directory of its own. A *step* is an image that stands in the cache: its
bytes are counted with the images, and it can go when no image with a name, no result of a build and no
container stands on it. With `all`, results without a name go too, and steps that stay are forgotten: they
will run again.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from lighterman.apitypes.build import BuildCache, BuildPruned
from lighterman.build.cache import CachedStep, StepCache
from lighterman.build.caches import Caches
from lighterman.containers import Containers
from lighterman.errdefs import Conflict, NotFound
from lighterman.images import Image, Images
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import rfc3339_nano

FILTERS = ("until", "unused-for", "id", "type", "description", "inuse", "shared")
STEP, MOUNT = "regular", "exec.cachemount"


class Kept(Struct, frozen=True):
    """One record."""

    key: str
    told: BuildCache
    used_ns: int
    step: CachedStep | None = None
    """None: a cache mount."""


async def kept(cs: Containers, steps: StepCache, caches: Caches) -> list[Kept]:
    """Everything that is there, the longest unused first. Raises: System."""
    needed = needed_images(cs)
    found = [
        Kept(key, _step(key, step, image, _bytes(cs.images, image), needed), step.used_ns, step)
        for key, step in steps
        if (image := _image(cs.images, step.image)) is not None
    ]
    for key, cache in caches:
        told = BuildCache(
            id=key.replace("/", "-"),
            type=MOUNT,
            description=f"cached mount {cache.id}",
            in_use=caches.in_use(key),
            shared=False,
            size=await caches.size(key),
            created_at=rfc3339_nano(cache.created_ns),
            last_used_at=rfc3339_nano(cache.used_ns),
            usage_count=cache.uses,
        )
        found.append(Kept(key, told, cache.used_ns))
    return sorted(found, key=lambda each: each.used_ns)


def _image(images: Images, image_id: str) -> Image | None:
    with suppress(NotFound):
        return images.find(image_id)
    return None


def needed_images(cs: Containers) -> set[str]:
    """The ids of the images that have a name or a container, and of all that they were made from."""
    needed: set[str] = set()
    users = {container.image_id for container in cs}
    for image in cs.images:
        if image.id in users or cs.images.names(image.id):
            _add_line(cs.images, image, needed)
    return needed


def _add_line(images: Images, image: Image, needed: set[str]) -> None:
    current: Image | None = image
    while current is not None and current.id not in needed:
        needed.add(current.id)
        current = _image(images, current.parent) if current.parent else None


def _bytes(images: Images, image: Image) -> int:
    """What the step has added to its parent."""
    parent = _image(images, image.parent) if image.parent else None
    return image.size_bytes - (parent.size_bytes if parent else 0)


def _step(key: str, step: CachedStep, image: Image, size: int, needed: set[str]) -> BuildCache:
    return BuildCache(
        id=key[:25],
        parent=step.parent,
        type=STEP,
        description=step.comment,
        in_use=image.id in needed,
        shared=True,
        size=size,
        created_at=rfc3339_nano(step.created_ns),
        last_used_at=rfc3339_nano(step.used_ns),
        usage_count=step.uses,
    )


async def prune(
    cs: Containers, steps: StepCache, caches: Caches, filters: Filters, *, keep_bytes: int, all: bool
) -> BuildPruned:
    """As `take_away`, and tell it: BuildPrune. Raises: InvalidParameter, System."""
    pruned = await take_away(cs, steps, caches, filters, keep_bytes=keep_bytes, all=all)
    cs.events.publish("builder", "prune", "", {"reclaimed": str(pruned.space_reclaimed)})
    return pruned


async def take_away(
    cs: Containers, steps: StepCache, caches: Caches, filters: Filters, *, keep_bytes: int, all: bool
) -> BuildPruned:
    """Remove what matches, the longest unused first, until no more than `keep_bytes` are left that could go.

    Raises: InvalidParameter, System.
    """
    filters.check(FILTERS)
    until = Filters({"until": filters.get("until") or filters.get("unused-for")})
    until_ns = until.until_ns(time.time_ns()) if until.get("until") else None
    there = [each for each in await kept(cs, steps, caches) if matches(each, filters, until_ns)]
    pruned: list[str] = []
    reclaimed = 0
    results = set() if all else steps.results(cs.images)
    left = sum(each.told.size for each in there if not _is_needed(each, results))
    for each in _leaves_first(there, cs.images):
        if keep_bytes and left <= keep_bytes:
            break
        if _is_needed(each, results):
            if all and each.step is not None:
                steps.forget(each.key)
            continue
        if each.step is None:
            await caches.remove(each.key)
        elif not await _delete(cs.images, each.step.image):
            continue
        else:
            steps.forget(each.key)
        pruned.append(each.told.id)
        reclaimed += each.told.size
        left -= each.told.size
    return BuildPruned(pruned or None, reclaimed)


def _is_needed(each: Kept, results: set[str]) -> bool:
    """Whether it stays: a mount that a step has, a step that an image stands on. Its bytes are theirs."""
    return each.told.in_use or (each.step is not None and each.step.image in results)


def matches(each: Kept, filters: Filters, until_ns: int | None) -> bool:
    """Whether the filters mean it. Pure."""
    told = each.told
    return (
        (until_ns is None or each.used_ns < until_ns)
        and filters.exact("id", told.id)
        and filters.exact("type", told.type)
        and filters.exact("description", told.description)
        and ("inuse" not in filters or filters.flag("inuse", default=True) == told.in_use)
        and ("shared" not in filters or filters.flag("shared", default=True) == told.shared)
    )


def _leaves_first(there: Sequence[Kept], images: Images) -> list[Kept]:
    """The longest unused first, but no step before those that were made from it."""
    depth = {each.key: len(_line(each.step, images)) if each.step else 0 for each in there}
    return sorted(there, key=lambda each: (-depth[each.key], each.used_ns))


def _line(step: CachedStep, images: Images) -> set[str]:
    line: set[str] = set()
    if (image := _image(images, step.image)) is not None:
        _add_line(images, image, line)
    return line


async def _delete(images: Images, image_id: str) -> bool:
    """Whether the image could go."""
    try:
        await images.delete(image_id, noprune=True)
    except NotFound:
        return True
    except Conflict:
        return False
    return True
