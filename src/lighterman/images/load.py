"""Loading and importing: images from what a client sends."""

import os
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path, PurePosixPath

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.container import ContainerConfig
from lighterman.apitypes.image import Progress
from lighterman.apitypes.registry import Platform
from lighterman.content import (
    ARRIVED,
    NOT_THE_CONFIGS,
    NOT_THE_DIGESTS,
    JobFailed,
    OpenFile,
    Step,
    UnpackLayer,
    Workers,
)
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import InvalidParameter
from lighterman.images.archive import ArchivedImage, LayerFile, Spool, archived_images
from lighterman.images.changes import changed
from lighterman.images.early import Early, early_layers
from lighterman.images.errors import bad_archive
from lighterman.images.feed import spool_upload, unpack_upload
from lighterman.images.image import (
    Document,
    History,
    RootFS,
    chain_ids,
    image_id,
    short,
)
from lighterman.images.layers import WAITING, Layers, OnStep, Unpack, Wish
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread, to_end
from lighterman.lib.go_time import rfc3339_nano
from lighterman.reference import Reference, parse_reference
from lighterman.registry import Emit, Remote, action, opened_url, parse_platform, status
from lighterman.snapshots import NewLayer

REPORT_EVERY_S = 0.1


class ImportWish(Struct, frozen=True):
    """What is to become of an imported root file system."""

    repo: str = ""
    tag: str = ""
    message: str = ""
    changes: Sequence[str] = ()
    platform: str = ""


class Loader:
    """What a load needs of the engine."""

    def __init__(self, store: Store, layers: Layers, workers: Workers, host: Platform, version: str) -> None:
        self._store = store
        self._layers = layers
        self._workers = workers
        self._host = host
        self._version = version

    async def load(self, stream: AsyncIterator[bytes], emit: Emit, *, quiet: bool) -> None:
        """Add the images of an archive; of one that is refused half-way the whole images stay.

        Raises: InvalidParameter, System.
        """
        content = self._layers.content
        ingest = await in_thread(content.new_ingest)
        try:
            spool = Spool(ingest)
            async with early_layers(content, self._workers, spool) as early:
                images = await self._spooled(spool, ingest, stream, early)
                ids: list[str] = []
                for number, image in enumerate(images, 1):
                    later = {layer.member for other in images[number:] for layer in other.layers}
                    ids.append(await self._load_one(image, spool, early, later, emit, quiet=quiet))
            parents = {loaded: image.parent for loaded, image in zip(ids, images, strict=True)}
            await self._store.link(parents)
            if not any(image.tags for image in images):
                emit(_said("".join(f"Loaded image ID: {loaded}\n" for loaded in ids)))
        finally:
            await to_end(in_thread(content.discard, ingest))

    async def _spooled(
        self, spool: Spool, ingest: Path, stream: AsyncIterator[bytes], early: Early
    ) -> list[ArchivedImage]:
        """The images of the archive, which is in files now; some of its layers are unpacked already."""

        def on_step(step: Step) -> None:
            # the name of a layer mostly tells whether it is here
            if step.action == ARRIVED and not self._store.has_layer(PurePosixPath(step.member).name):
                early.arrived(step.member)

        try:
            await spool_upload(self._workers, ingest, stream, on_step)
        except JobFailed as error:
            raise bad_archive(error) from error
        return await in_thread(archived_images, spool, self._host)

    async def _load_one(
        self,
        image: ArchivedImage,
        spool: Spool,
        early: Early,
        later: Collection[str],
        emit: Emit,
        *,
        quiet: bool,
    ) -> str:
        """Add one image; of its members only those for `later` ones stay. Its id."""
        diff_ids = image.document.rootfs.diff_ids if image.document.rootfs else []
        chain, loaded = chain_ids(diff_ids), image_id(image.raw)
        async with self._layers.lease(chain) as lease:
            wishes = [
                Wish(
                    short(diff_ids[number]),
                    chain_id,
                    chain[number - 1] if number else "",
                    spool.size(image.layers[number].member),
                    self._unpack(spool, early, image.layers[number], diff_ids[number]),
                    download=False,
                )
                for number, chain_id in enumerate(chain)
                if self._store.snapshots.layer(chain_id) is None
            ]

            def on_step(wish: Wish, step: Step) -> None:
                if not quiet and step.action != WAITING:
                    emit(action("Loading layer", wish.id, step.current, wish.size))

            fetched = await lease.get(wishes, on_step, lambda wish: None)
            # what is removed before it was written out never is; the layers have to be
            await in_thread(spool.remove, {layer.member for layer in image.layers} - set(later))
            await lease.publish(fetched)
            await self._store.add(loaded, image.raw)
        for tag in image.tags:
            await self._name(tag, loaded, emit)
        self._store.tell("load", loaded, loaded)
        return loaded

    async def _name(self, tag: Reference, loaded: str, emit: Emit) -> None:
        """Let a tag of the archive name the loaded image, and say what that takes away."""
        before = self._store.named(tag)
        if before is not None and before.id != loaded:
            text = f"The image {tag.familiar()} already exists, renaming the old one with ID {before.id}"
            emit(_said(f"{text} to empty string\n"))
        await self._store.point([tag], loaded)
        emit(_said(f"Loaded image: {tag.familiar()}\n"))

    def _unpack(self, spool: Spool, early: Early, layer: LayerFile, diff_id: str) -> Unpack:
        async def unpack(directory: int, on_step: OnStep) -> Unpacked:
            try:
                if (taken := await early.take(layer.member, directory, on_step)) is not None:
                    _check(taken, layer, diff_id)
                    return taken
                return await self._unpacked(spool, layer, diff_id, directory, on_step)
            except JobFailed as error:
                raise bad_archive(error) from error

        return unpack

    async def _unpacked(
        self, spool: Spool, layer: LayerFile, diff_id: str, directory: int, on_step: OnStep
    ) -> Unpacked:
        fd = os.open(spool.path(layer.member), os.O_RDONLY)
        try:
            job = UnpackLayer(OpenFile(), layer.digest, spool.size(layer.member), diff_id)
            return await self._workers.run(job, [directory, fd], on_step)
        finally:
            os.close(fd)

    async def import_url(self, url: str, wish: ImportWish, emit: Emit) -> None:
        """Make an image of the root file system's tar at an URL. Raises: as `import_`, NotFound."""
        async with opened_url(url) as remote:
            emit(status(f"Downloading from {url}"))
            message = wish.message or f"Imported from {url}"
            counted = _counted(remote, emit)
            emit(status(await self.import_(counted, replace(wish, message=message))))

    async def import_(self, source: AsyncIterator[bytes], wish: ImportWish) -> str:
        """Make an image with one layer of a root file system's tar; its id.

        Raises: InvalidParameter, System.
        """
        name = parse_reference(wish.repo) if wish.repo else None
        if name is not None and name.digest:
            raise InvalidParameter("cannot import digest reference")
        if name is not None and wish.tag:
            name = name.with_tag(wish.tag)
        config = changed(ContainerConfig(), wish.changes)
        platform = parse_platform(wish.platform, host=self._host) if wish.platform else self._host
        ingest = await in_thread(self._layers.content.new_ingest)
        try:
            try:
                unpacked = await unpack_upload(self._workers, ingest, source)
            except JobFailed as error:
                raise bad_archive(error) from error
            raw = self._imported(config, wish.message or "Imported from -", platform, unpacked.diff_id)
            imported = image_id(raw)
            async with self._layers.lease([unpacked.diff_id]) as lease:
                await lease.publish([NewLayer(unpacked.diff_id, "", ingest, unpacked)])
                image = await self._store.add(imported, raw)
        finally:
            # published, it has moved away
            await to_end(in_thread(self._layers.content.discard, ingest))
        if name is not None:
            await self._store.tag(image, name)
        self._store.tell("import", imported, imported)
        return imported

    def _imported(self, config: ContainerConfig, message: str, platform: Platform, diff_id: str) -> bytes:
        created = rfc3339_nano(time.time_ns())
        document = Document(
            architecture=platform.architecture,
            variant=platform.variant,
            comment=message,
            config=config,
            container_config=ContainerConfig(),
            created=created,
            docker_version=self._version,
            history=[History(created=created, comment=message)],
            os=platform.os,
            rootfs=RootFS("layers", [diff_id]),
        )
        return msgspec.json.encode(document)


def _said(text: str) -> Progress:
    return Progress(stream=text)


def _check(unpacked: Unpacked, layer: LayerFile, diff_id: str) -> None:
    """Raises: InvalidParameter, as a worker does that knew beforehand what it would get."""
    if unpacked.diff_id != diff_id:
        raise InvalidParameter(f"{NOT_THE_CONFIGS} {diff_id}")
    if layer.digest not in ("", unpacked.digest, unpacked.diff_id):
        raise InvalidParameter(f"{NOT_THE_DIGESTS} {layer.digest}")


async def _counted(remote: Remote, emit: Emit) -> AsyncIterator[bytes]:
    """The same chunks; now and then the progress is told."""
    current, told = 0, 0.0
    async for chunk in remote.chunks:
        current += len(chunk)
        if (now := time.monotonic()) - told >= REPORT_EVERY_S:
            told = now
            emit(action("Importing", "", current, remote.size))
        yield chunk
