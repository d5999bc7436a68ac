"""Pulling: from a name to an image.

The name is resolved once, to a digest; everything after goes by digests, so a tag that moves meanwhile
never mixes two images. Nothing is visible before all layers are here, verified and durable.
"""

import logging

from msgspec import Struct

from lighterman.apitypes.registry import AuthConfig, Descriptor, Platform
from lighterman.content import JobFailed, Step, UnpackLayer, Workers
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.images.errors import bad_layer
from lighterman.images.image import Document, chain_ids, read_document, short
from lighterman.images.layers import Layers, OnStep, Unpack, Wish
from lighterman.images.store import Store
from lighterman.reference import Reference, is_digest, parse_reference
from lighterman.registry import (
    Emit,
    Endpoint,
    Fetched,
    Index,
    Manifest,
    Registry,
    RegistryError,
    Repository,
    action,
    choose,
    format_platform,
    parse_manifest,
    runs_on,
    status,
    step_action,
)

log = logging.getLogger(__name__)


class PullWish(Struct, frozen=True):
    """What a client asked for. `platform` None: that of the host, and no warning for another."""

    reference: Reference
    platform: Platform | None
    auth: AuthConfig | None


def pulled_reference(name: str, tag: str) -> Reference:
    """What `fromImage` and `tag` mean together; a tag may be a digest.

    Raises: InvalidParameter in Docker's words.
    """
    reference = parse_reference(name.removesuffix(":"))
    if is_digest(tag):
        reference = reference.repository().with_digest(tag)
    elif tag:
        reference = reference.with_tag(tag)
    if reference.familiar_name == "scratch":
        raise InvalidParameter("'scratch' is a reserved name")
    return reference


class Puller:
    """What a pull needs of the engine."""

    def __init__(self, store: Store, layers: Layers, registry: Registry, workers: Workers, host: Platform):
        self._store = store
        self._layers = layers
        self._registry = registry
        self._workers = workers
        self._host = host

    async def pull(self, wish: PullWish, emit: Emit) -> None:
        """Get the image, or all images of a name without tag and digest.

        Raises: NotFound, Unauthorized, InvalidParameter, System.
        """
        *mirrors, itself = await self._registry.endpoints(wish.reference)
        for mirror in mirrors:
            try:
                await self._pull_from(mirror, wish, emit)
            except EngineError as error:
                log.info("%s: the mirror %s did not help: %s", wish.reference, mirror.bases[0], error)
                continue
            return
        await self._pull_from(itself, wish, emit)

    async def _pull_from(self, endpoint: Endpoint, wish: PullWish, emit: Emit) -> None:
        reference = wish.reference
        async with self._registry.open(reference, wish.auth, endpoint) as repository:
            if reference.tag or reference.digest:
                await self._pull_one(repository, reference, wish, emit)
                return
            for tag in await repository.tags():
                await self._pull_one(repository, reference.with_tag(tag), wish, emit)

    async def _pull_one(
        self, repository: Repository, reference: Reference, wish: PullWish, emit: Emit
    ) -> None:
        wanted = reference.digest or reference.tag
        fetched = await repository.manifest(wanted)
        manifest, came = await self._manifest(repository, fetched, reference, wish.platform or self._host)
        emit(status(f"Pulling from {reference.path}", id=wanted))
        image_id = manifest.config.digest
        before = self._store.named(reference)
        if self._store.get(image_id) is None:
            await self._get(repository, manifest, wish, emit)
        await self._store.keep_manifest(image_id, came.media_type, came.raw)
        name = reference.repository().with_digest(fetched.digest)
        await self._store.point([name] if reference.digest else [reference, name], image_id)
        emit(status(f"Digest: {fetched.digest}"))
        familiar = reference.familiar()
        if before is not None and before.id == image_id:
            emit(status(f"Status: Image is up to date for {familiar}"))
        else:
            emit(status(f"Status: Downloaded newer image for {familiar}"))
        self._warn_of_platform(image_id, wish, emit)
        self._store.tell("pull", familiar, reference.familiar_name)

    async def _manifest(
        self, repository: Repository, fetched: Fetched, reference: Reference, platform: Platform
    ) -> tuple[Manifest, Fetched]:
        """The manifest for a platform, and as it came."""
        found = parse_manifest(fetched.raw, fetched.media_type, familiar=reference.familiar())
        if isinstance(found, Index):
            chosen = choose(found, platform)
            fetched = await repository.manifest(chosen.digest)
            found = parse_manifest(fetched.raw, fetched.media_type, familiar=reference.familiar())
        if isinstance(found, Index):
            raise InvalidParameter("unsupported manifest format: an index inside of an index")
        return found, fetched

    async def _get(self, repository: Repository, manifest: Manifest, wish: PullWish, emit: Emit) -> None:
        raw = await repository.blob(manifest.config)
        document = read_document(raw)
        self._check(document, manifest)
        chain = chain_ids(document.rootfs.diff_ids if document.rootfs else ())
        async with self._layers.lease(chain) as lease:
            wishes: list[Wish] = []
            for number, (chain_id, layer) in enumerate(zip(chain, manifest.layers, strict=True)):
                layer_id = short(layer.digest)
                if self._store.snapshots.layer(chain_id) is not None:
                    emit(action("Already exists", layer_id))
                    continue
                emit(action("Pulling fs layer", layer_id))
                diff_id = document.rootfs.diff_ids[number] if document.rootfs else ""
                parent = chain[number - 1] if number else ""
                unpack = self._unpack(repository, layer, diff_id)
                wishes.append(Wish(layer_id, chain_id, parent, layer.size, unpack))

            def on_step(wish: Wish, step: Step) -> None:
                emit(step_action(step, wish.id))

            fetched = await lease.get(wishes, on_step, lambda wish: emit(action("Pull complete", wish.id)))
            await lease.publish(fetched)
            await self._store.add(manifest.config.digest, raw)

    def _check(self, document: Document, manifest: Manifest) -> None:
        if (document.os or "linux") != self._host.os:
            raise InvalidParameter(
                f'cannot download image with operating system "{document.os}" when requesting '
                f'"{self._host.os}"'
            )
        if document.rootfs is None or len(document.rootfs.diff_ids) != len(manifest.layers):
            raise RegistryError("layers from manifest don't match image configuration")
        if not all(is_digest(diff_id) for diff_id in document.rootfs.diff_ids):
            raise RegistryError("invalid rootfs in image configuration")

    def _unpack(self, repository: Repository, layer: Descriptor, diff_id: str) -> Unpack:
        async def attempt(directory: int, on_step: OnStep) -> Unpacked:
            source = repository.download(layer.digest, attempts=self._layers.limits.download_attempts)
            job = UnpackLayer(source, layer.digest, layer.size, diff_id)
            return await self._workers.run(job, [directory], on_step)

        async def unpack(directory: int, on_step: OnStep) -> Unpacked:
            try:
                try:
                    return await attempt(directory, on_step)
                except JobFailed as error:
                    if error.status != 401:
                        raise
                # a token lasts for minutes, a large image for longer
                await repository.log_in()
                return await attempt(directory, on_step)
            except JobFailed as error:
                raise bad_layer(error) from error

        return unpack

    def _warn_of_platform(self, image_id: str, wish: PullWish, emit: Emit) -> None:
        image = self._store.get(image_id)
        if wish.platform is None or image is None:
            return
        actual = Platform(image.architecture, image.os, image.variant)
        if not runs_on(actual, wish.platform):
            emit(
                status(
                    f"WARNING: image with reference {wish.reference.familiar()} was found but does not match "
                    f"the specified platform: wanted {format_platform(wish.platform)}, "
                    f"actual: {format_platform(actual)}"
                )
            )
