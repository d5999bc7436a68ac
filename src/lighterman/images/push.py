"""Pushing: an image's blobs, where the registry lacks them, then its manifest.

An image that came from a registry goes back by the same manifest, to the byte, so its digest stays; for all
others the manifest is made of what the blobs are. A blob is asked for first, then taken over from another
repository of that registry, and sent only when neither helps.

Source: OCI distribution-spec, pushing; texts and their order as dockerd 20.10.24's push.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct

from lighterman.apitypes.image import Progress, ProgressDetail
from lighterman.apitypes.registry import AuthConfig
from lighterman.content import JobFailed, Workers, retrying
from lighterman.errdefs import EngineError, NotFound, System
from lighterman.images.image import Image, short
from lighterman.images.image import image_id as digest_of
from lighterman.images.layers import Layers
from lighterman.images.limits import Limits, slots
from lighterman.images.store import Store
from lighterman.reference import Reference
from lighterman.registry import (
    CONFIG,
    LAYER,
    MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Emit,
    Manifest,
    Registry,
    Repository,
    action,
    parse_manifest,
    refused,
    status,
    step_action,
)
from lighterman.snapshots import Layer

TRIES = 5
FIRST_DELAY_S = 1
_NO_CHUNKS = (400, 405, 411, 416, 501)
"""What registries say that want a blob at once."""


class _Part(Struct, frozen=True):
    """A layer on its way."""

    id: str
    layer: Layer
    sources: Sequence[str]
    """Paths of repositories in the same registry that have it, as far as is known here."""


class Pusher:
    """What a push needs of the engine."""

    def __init__(self, store: Store, layers: Layers, registry: Registry, workers: Workers) -> None:
        self._store = store
        self._layers = layers
        self._registry = registry
        self._workers = workers
        self.limit(Limits())

    def limit(self, limits: Limits) -> None:
        """From now on; what waits or runs already keeps to the limits before."""
        self._uploads = slots(limits.uploads)

    async def push(self, reference: Reference, auth: AuthConfig | None, emit: Emit) -> None:
        """Send the image, or all images of a name without a tag.

        Raises: NotFound, Unauthorized, System.
        """
        emit(status(f"The push refers to repository [{reference.name}]"))
        tags = self._store.tags_of(reference)
        if not tags:
            text = f"An image does not exist locally with the tag: {reference.familiar_name}"
            raise NotFound(text)
        if reference.digest:
            raise System("cannot push a digest reference")
        wanted = [pair for pair in tags if reference.tag in ("", pair[0].tag)]
        if not wanted:
            raise NotFound(f"tag does not exist: {reference.familiar()}")
        async with self._registry.open(reference, auth, actions="push,pull") as repository:
            for name, image in wanted:
                await self._push_one(repository, name, image, emit)
        self._store.tell("push", reference.familiar(), reference.familiar_name)

    async def _push_one(self, repository: Repository, name: Reference, image_id: str, emit: Emit) -> None:
        image = self._store.find(image_id)
        async with self._layers.lease(image.chain):
            parts = self._parts(image, name)
            for part in parts:
                emit(action("Preparing", part.id))
            await self._side_by_side(lambda part: self._send(repository, part, emit), parts, emit)
            if not await repository.has_blob(image.id):
                await repository.put_blob(image.id, self._store.document(image.id))
            media_type, raw = push_manifest(self._store, image)
            await repository.put_manifest(name.tag, media_type, raw)
        digest = digest_of(raw)
        emit(status(f"{name.tag}: digest: {digest} size: {len(raw)}"))
        await self._store.keep_manifest(image.id, media_type, raw)
        await self._store.point([name.repository().with_digest(digest)], image.id)
        emit(
            Progress(
                progress_detail=ProgressDetail(), aux={"Tag": name.tag, "Digest": digest, "Size": len(raw)}
            )
        )

    async def _side_by_side(
        self, send: Callable[[_Part], Awaitable[None]], parts: Sequence[_Part], emit: Emit
    ) -> None:
        """Send all, a few at a time. The first error ends the others and is raised itself."""
        uploads = self._uploads

        async def one(part: _Part) -> None:
            if uploads.locked():
                emit(action("Waiting", part.id))
            async with uploads:
                await send(part)

        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(one(part))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _parts(self, image: Image, name: Reference) -> list[_Part]:
        """The layers, the top one first, each blob once."""
        parts: dict[str, _Part] = {}
        for chain_id in reversed(image.chain):
            layer = self._store.snapshots.layer(chain_id)
            if layer is None:
                raise System(f"layer {chain_id} is lost")
            sources = self._store.repositories_with(chain_id, name.domain) - {name.path}
            parts.setdefault(layer.blob, _Part(short(layer.diff_id), layer, sorted(sources)))
        return list(parts.values())

    async def _send(self, repository: Repository, part: _Part, emit: Emit) -> None:
        blob = part.layer.blob
        if await repository.has_blob(blob):
            emit(action("Layer already exists", part.id))
            return
        for source in part.sources:
            if await _mounted(repository, blob, source):
                emit(action(f"Mounted from {source}", part.id))
                return
        await self._upload(repository, part, emit)
        emit(action("Pushed", part.id))

    async def _upload(self, repository: Repository, part: _Part, emit: Emit) -> None:
        """Send a blob, again from the start when that may help."""
        delay_s = FIRST_DELAY_S
        chunked = True
        for attempt in range(1, TRIES + 1):
            job = await repository.upload(part.layer.blob, part.layer.blob_bytes, chunked=chunked)
            fd = os.open(self._layers.content.path(part.layer.blob), os.O_RDONLY)
            try:
                await self._workers.run(job, [fd], lambda step: emit(step_action(step, part.id)))
                return
            except JobFailed as error:
                if chunked and error.status in _NO_CHUNKS:
                    chunked = False
                    continue
                if error.kind != "registry" or attempt == TRIES or not _may_pass(error.status):
                    raise _upload_failed(error, repository.reference) from error
                if error.status == 401:  # a token lasts for minutes, a large blob for longer
                    await repository.log_in()
                    continue
            finally:
                os.close(fd)
            for left_s in range(delay_s, 0, -1):
                emit(action(retrying(left_s), part.id))
                await asyncio.sleep(1)
            delay_s *= 2


def _may_pass(http_status: int) -> bool:
    return http_status in (0, 401, 404, 408, 429) or http_status >= 500


def _upload_failed(error: JobFailed, reference: Reference) -> EngineError:
    if error.kind == "registry" and error.status:
        return refused(error.status, "", str(error).encode(), reference)
    return System(str(error))


async def _mounted(repository: Repository, blob: str, source: str) -> bool:
    try:
        return await repository.mount_blob(blob, source)
    except EngineError:  # no right to read there, for one: it is sent instead
        return False


def push_manifest(store: Store, image: Image) -> tuple[str, bytes]:
    """Media type and bytes of the manifest to push an image by."""
    layers = [store.snapshots.layer(chain_id) for chain_id in image.chain]
    blobs = [layer for layer in layers if layer is not None]
    media_type, raw = store.manifest(image.id)
    if raw and _fits(raw, media_type, blobs):
        return media_type, raw
    return made_manifest(image.id, len(store.document(image.id)), blobs)


def _fits(raw: bytes, media_type: str, blobs: Sequence[Layer]) -> bool:
    """Whether a manifest speaks of the blobs that are here: a layer may have come in another compression."""
    manifest = parse_manifest(raw, media_type, familiar="")
    return isinstance(manifest, Manifest) and [layer.digest for layer in manifest.layers] == [
        layer.blob for layer in blobs
    ]


def made_manifest(config: str, config_bytes: int, blobs: Sequence[Layer]) -> tuple[str, bytes]:
    """A manifest in Docker's form; in OCI's where a blob is compressed as Docker's cannot say."""
    oci = any(not layer.media_type.endswith("gzip") for layer in blobs)
    media_type = OCI_MANIFEST if oci else MANIFEST
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": OCI_CONFIG if oci else CONFIG, "size": config_bytes, "digest": config},
        "layers": [
            {
                "mediaType": OCI_LAYER + layer.media_type.removeprefix(OCI_LAYER) if oci else f"{LAYER}.gzip",
                "size": layer.blob_bytes,
                "digest": layer.blob,
            }
            for layer in blobs
        ],
    }
    return media_type, msgspec.json.format(msgspec.json.encode(document), indent=3)
