"""Steps that were made before: by a digest of all that a step is made of, the image that came of it.

The key holds the parent's id, which stands for everything below, the platform, and the whole configuration
of the step: the instruction, the build arguments that count, and the digests of the files that it copies.
Only what was made here by a build is found, never what came from elsewhere under the same name; images that
a client names in `cachefrom` are looked at by their histories, because the client trusts them.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct, structs

from lighterman.apitypes.registry import Platform
from lighterman.db import Database, Rows
from lighterman.errdefs import NotFound
from lighterman.images import Image, Images, Step


class CachedStep(Struct, frozen=True):
    """What is remembered of a step."""

    image: str
    parent: str
    comment: str
    """What the history says of it."""
    created_ns: int
    used_ns: int
    uses: int = 0
    result: bool = False
    """A build has ended with it: somebody may know its id, although it has no name."""


_ROWS: Rows[CachedStep] = Rows("build_steps", CachedStep)


def step_key(step: Step, platform: Platform, beside: Sequence[str] = ()) -> str:
    """The digest of all that a step is made of. `beside` is what its configuration does not tell. Pure."""
    config = structs.replace(step.container_config, hostname="", image="")
    told = [step.parent, step.author, msgspec.to_builtins(platform), msgspec.to_builtins(config)]
    told += [msgspec.to_builtins(step.config), list(beside)]
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


class StepCache:
    """The steps of all builds of this engine."""

    def __init__(self, db: Database, images: Images) -> None:
        self._db = db
        self._images = images
        self._steps = _ROWS.load(db)
        for key in [key for key, step in self if self._image(step) is None]:
            self.forget(key)
        self._making: dict[str, asyncio.Future[None]] = {}

    def __iter__(self) -> Iterator[tuple[str, CachedStep]]:
        return iter(list(self._steps.items()))

    def find(self, key: str) -> Image | None:
        """The image of a step that was made before and is still here."""
        known = self._steps.get(key)
        if known is None:
            return None
        image = self._image(known)
        if image is None:
            self.forget(key)
            return None
        used = structs.replace(known, used_ns=time.time_ns(), uses=known.uses + 1)
        self._steps[key] = used
        self._db.write_soon(_ROWS.put(key, used))
        return image

    async def once(self, key: str, make: Callable[[], Awaitable[Image]]) -> tuple[Image, bool]:
        """The image of a step, and whether it was there; made by one of all who want it at the same time.

        Raises: what `make` raises, if it was ours.
        """
        while True:
            if (image := self.find(key)) is not None:
                return image, True
            making = self._making.get(key)
            if making is None:
                return await self.made(key, make), False
            await asyncio.wait([making])  # if it fails, the next one tries

    async def made(self, key: str, make: Callable[[], Awaitable[Image]]) -> Image:
        """The image of a step, made whatever is there; a crash of the engine does not lose it again."""
        making: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._making.setdefault(key, making)
        try:
            image = await make()
            history = image.document.history
            comment = history[-1].created_by if history else ""
            now_ns = time.time_ns()
            await self._write(key, CachedStep(image.id, image.parent, comment, now_ns, now_ns))
        finally:
            if self._making.get(key) is making:
                del self._making[key]
            making.set_result(None)
        return image

    async def mark_result(self, image_id: str) -> None:
        """A build has ended with this image; a crash of the engine does not make it forget that."""
        for key, step in self:
            if step.image == image_id and not step.result:
                await self._write(key, structs.replace(step, result=True))

    def results(self, images: Images) -> set[str]:
        """The ids of the images that builds have ended with, and of all that they were made from."""
        found: set[str] = set()
        left = [step.image for step in self._steps.values() if step.result]
        while left:
            image_id = left.pop()
            if image_id in found:
                continue
            found.add(image_id)
            try:
                parent = images.find(image_id).parent
            except NotFound:
                continue
            left += [parent] if parent else []
        return found

    def forget(self, key: str) -> None:
        """Do not find this step any more. Idempotent."""
        if self._steps.pop(key, None) is not None:
            self._db.write_soon(_ROWS.delete(key))

    def _image(self, step: CachedStep) -> Image | None:
        with suppress(NotFound):
            return self._images.find(step.image)
        return None

    async def _write(self, key: str, step: CachedStep) -> None:
        self._steps[key] = step
        await self._db.write(_ROWS.put(key, step), durable=False)


def continues(target: Image, parent: Image | None, comment: str) -> bool:
    """Whether `target` was made from `parent` by a step that says `comment`, and maybe more. Pure.

    Source: isValidParent and isValidConfig of moby's image/cache.
    """
    below = parent.document.history if parent else []
    above = target.document.history
    diff_ids = parent.diff_ids if parent else ()
    return (
        len(above) > len(below)
        and above[: len(below)] == list(below)
        and target.diff_ids[: len(diff_ids)] == diff_ids
        and above[len(below)].created_by == comment
    )
