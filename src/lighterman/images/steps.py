"""What a build makes of images: an image from each step, all steps as one layer, and a hold on what it needs.

A step's image has its parent's layers and at most one more, which is published as it lies; from the
beginning it is held by the `holds` of who makes it. Source: the configurations that dockerd 20.10.24 writes
(NewChildImage, SquashImage).
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from msgspec import structs

from lighterman.apitypes.registry import Platform
from lighterman.content import JobFailed, KeepLayer, MergeLayers, Workers
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import InvalidParameter, System
from lighterman.images.commit import EMPTY_DIFF_ID, Step, committed
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Document, History, Image, RootFS, chain_ids, image_id
from lighterman.images.layers import Layers
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread, to_end
from lighterman.lib.go_time import rfc3339_nano
from lighterman.snapshots import Draft, NewLayer


class Steps:
    """The images that builds make."""

    def __init__(self, store: Store, layers: Layers, workers: Workers, version: str) -> None:
        self._store = store
        self._layers = layers
        self._workers = workers
        self._version = version

    @contextmanager
    def held(self, image: str) -> Iterator[None]:
        """Keep the image with this id from being removed meanwhile."""
        self._store.held[image] += 1
        try:
            yield
        finally:
            self._store.held[image] -= 1
            if not self._store.held[image]:
                del self._store.held[image]

    def children(self, image: str) -> list[Image]:
        """The images that were made from this one here."""
        return self._store.children(image)

    async def with_settings(self, step: Step, platform: Platform, holds: ExitStack) -> Image:
        """A step that adds no files. `platform` is what an image of nothing is for. Raises: NoSuchImage."""
        return await self._add(step, self._below(step.parent, platform), EMPTY_DIFF_ID, holds)

    async def with_draft(self, step: Step, platform: Platform, draft: Draft, holds: ExitStack) -> Image:
        """A step whose files were written to `draft`. Raises: NoSuchImage, System, InvalidParameter."""
        await draft.seal()
        return await self._keep(step, platform, draft.ingest, draft.ingest / "diff", (), holds)

    async def with_files_of(
        self, step: Step, platform: Platform, stubs: Sequence[bytes], holds: ExitStack
    ) -> Image:
        """A step whose files its container has written, which has none after it.

        What is empty at the relative paths `stubs` was made to mount on.
        Raises: NoSuchImage, System, InvalidParameter.
        """
        snapshots, content = self._store.snapshots, self._layers.content
        upper = await snapshots.settle(step.container_id)
        ingest = await in_thread(content.new_ingest)
        try:
            return await self._keep(step, platform, ingest, upper, stubs, holds)
        finally:
            await to_end(in_thread(content.discard, ingest))

    async def restored(self, parent: Image | None, target: Image, step: Step) -> Image:
        """The image that `target` was when it had one step more than `parent`. Raises: System.

        Source: restoreCachedImage of moby's image/cache.
        """
        done = len(parent.document.history) if parent else 0
        history = target.document.history[: done + 1]
        layers = sum(not item.empty_layer for item in history)
        document = Document(
            architecture=target.document.architecture,
            author=target.document.author,
            config=step.container_config,
            created=history[-1].created,
            docker_version=self._version,
            history=history,
            os=target.document.os,
            os_version=target.document.os_version,
            rootfs=RootFS("layers", list(target.diff_ids[:layers])),
            variant=target.document.variant,
        )
        raw = msgspec.json.encode(document)
        async with self._layers.lease(target.chain):
            return await self._store.add(image_id(raw), raw, parent=parent.id if parent else "")

    async def squashed(self, image: Image, base: Image | None) -> Image:
        """The image with all layers above `base` in one. Raises: System."""
        below = base.chain if base else ()
        tops = image.chain[len(below) :]
        async with self._layers.lease(image.chain), self._store.snapshots.drafts.draft(None) as draft:
            await self._merge(tops, draft)
            unpacked = await self._blob(draft.ingest, draft.ingest / "diff", ())
            document = squashed(image, base, unpacked.diff_id, time.time_ns())
            raw = msgspec.json.encode(document)
            chain = chain_ids(document.rootfs.diff_ids if document.rootfs else ())
            async with self._layers.lease(chain) as lease:
                if unpacked.diff_id != EMPTY_DIFF_ID:
                    below_id = below[-1] if below else ""
                    await lease.publish([NewLayer(chain[-1], below_id, draft.ingest, unpacked)])
                return await self._store.add(image_id(raw), raw)

    def _below(self, parent: str, platform: Platform) -> Document:
        if not parent:
            return Document(
                architecture=platform.architecture,
                os=platform.os,
                variant=platform.variant,
                rootfs=RootFS(),
            )
        image = self._store.get(parent)
        if image is None:
            raise NoSuchImage(parent)
        return image.document

    async def _keep(
        self,
        step: Step,
        platform: Platform,
        ingest: Path,
        upper: Path,
        stubs: Sequence[bytes],
        holds: ExitStack,
    ) -> Image:
        below = self._below(step.parent, platform)
        unpacked = await self._blob(ingest, upper, stubs)
        if unpacked.diff_id == EMPTY_DIFF_ID:
            return await self._add(step, below, EMPTY_DIFF_ID, holds)
        if upper.parent != ingest:
            await self._store.snapshots.move_files(upper.parent.name, ingest)
        *below_ids, chain_id = chain_ids([*(below.rootfs.diff_ids if below.rootfs else ()), unpacked.diff_id])
        parent = below_ids[-1] if below_ids else ""
        async with self._layers.lease([*below_ids, chain_id]) as lease:
            await lease.publish([NewLayer(chain_id, parent, ingest, unpacked)])
            return await self._add(step, below, unpacked.diff_id, holds)

    async def _add(self, step: Step, below: Document, diff_id: str, holds: ExitStack) -> Image:
        document = committed(step, below, diff_id, self._version, time.time_ns())
        raw = msgspec.json.encode(document)
        holds.enter_context(self.held(image_id(raw)))  # before it is there: nobody is to prune it just then
        return await self._store.add(image_id(raw), raw, parent=step.parent)

    async def _blob(self, ingest: Path, upper: Path, stubs: Sequence[bytes]) -> Unpacked:
        fds = await in_thread(_opened, [ingest, upper])
        try:
            return await self._workers.run(KeepLayer(tuple(stubs)), fds)
        except JobFailed as error:
            if error.kind == "refused":
                raise InvalidParameter(str(error)) from error
            raise System(f"cannot keep the layer: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)

    async def _merge(self, tops: Sequence[str], draft: Draft) -> None:
        dirs = [Path(self._store.snapshots.layer_dirs(chain_id)["UpperDir"]) for chain_id in tops]
        fds = await in_thread(_opened, [draft.root, *dirs])
        try:
            await self._workers.run(MergeLayers(), fds)
        except JobFailed as error:
            raise System(f"error squashing image: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)


def _opened(directories: Sequence[Path]) -> list[int]:
    fds: list[int] = []
    try:
        for directory in directories:
            fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def squashed(image: Image, base: Image | None, diff_id: str, now_ns: int) -> Document:
    """The configuration of an image whose layers above `base` became one. Pure."""
    created, kept = rfc3339_nano(now_ns), len(base.document.history) if base else 0
    what = f"merge {image.id} to {base.id}" if base else f"create new from {image.id}"
    history = [
        structs.replace(item, empty_layer=True) if place >= kept else item
        for place, item in enumerate(image.document.history)
    ]
    below = list(base.diff_ids) if base else []
    return structs.replace(
        image.document,
        created=created,
        history=[*history, History(created=created, comment=what)],
        rootfs=RootFS("layers", below if diff_id == EMPTY_DIFF_ID else [*below, diff_id]),
    )
