"""Plugins and registries: what one asks for, and how it is pulled, upgraded and pushed.

A plugin is an image with a configuration of another type, and registries have a scope of their own for it.
What it asks to be allowed is compared before any layer of it is fetched.
Source: plugin/backend_linux.go and fetch_linux.go of moby 20.10; OCI distribution-spec.
"""

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from msgspec import Struct

from lighterman.apitypes.image import Progress, ProgressDetail
from lighterman.apitypes.plugin import PluginConfig, PluginPrivilege
from lighterman.apitypes.registry import AuthConfig, Descriptor, Platform
from lighterman.content import JobFailed, Step, UnpackLayer
from lighterman.errdefs import EngineError, InvalidParameter, System
from lighterman.plugins.config import check_privileges, diff_ids, initial_settings, parse_config, privileges
from lighterman.plugins.installing import Installer, digest_of, plugin_manifest, unusable
from lighterman.plugins.row import PluginRow
from lighterman.plugins.settings import carried_over
from lighterman.plugins.store import Store
from lighterman.plugins.surroundings import Surroundings
from lighterman.reference import Reference
from lighterman.registry import (
    MANIFEST,
    PLUGIN_CONFIG,
    Emit,
    Fetched,
    Index,
    Manifest,
    Repository,
    action,
    choose,
    normalized,
    parse_manifest,
    refused,
    status,
    step_action,
)
from lighterman.registry.manifest import IMAGE_CONFIGS
from lighterman.snapshots import Layer, NewLayer, chain_ids

log = logging.getLogger(__name__)
_KIND = "repository(plugin)"
ATTEMPTS = 5
"""To get one layer, as for images."""


class PullWish(Struct, frozen=True):
    """What a client asked for, and what it allows."""

    reference: Reference
    name: str
    allowed: Sequence[PluginPrivilege]
    auth: AuthConfig | None


class _Remote(Struct, frozen=True):
    """A plugin as its registry has it."""

    manifest: Manifest
    came: Fetched
    document: bytes
    config: PluginConfig


class Distribution:
    """What pulls and pushes need of the engine. `tell` publishes an event: subject, name, action."""

    def __init__(
        self,
        around: Surroundings,
        store: Store,
        installer: Installer,
        tell: Callable[[str, str, str], None],
    ) -> None:
        self._around, self._store, self._installer, self._tell = around, store, installer, tell
        self._host = normalized(Platform(os.uname().machine, "linux"))

    async def privileges(self, reference: Reference, auth: AuthConfig | None) -> list[PluginPrivilege] | None:
        """What the plugin asks for; None: nothing. Empty where it cannot be fetched, as dockerd answers."""
        try:
            async with self._around.registry.open(reference, auth, kind=_KIND) as repository:
                remote = await self._remote(repository, reference)
        except EngineError as error:
            log.warning("op=plugin-privileges remote=%s outcome=failed error=%s", reference, error)
            return []
        return privileges(remote.config) or None

    async def pull(self, wish: PullWish, emit: Emit) -> PluginRow:
        """Install a plugin, or leave nothing. Raises: InvalidParameter, NotFound, Unauthorized, System."""
        async with AsyncExitStack() as held:
            remote, chain, fresh = await self._fetch(wish, emit, held)
            row = PluginRow(
                id=secrets.token_hex(32),
                name=wish.name,
                reference=str(wish.reference),
                snapshot=secrets.token_hex(32),
                config=remote.config,
                settings=initial_settings(remote.config),
                document=remote.document,
                manifest=remote.came.raw,
                chain=chain,
            )
            return await self._installer.install(row, fresh)

    async def upgrade(self, row: PluginRow, wish: PullWish, emit: Emit) -> PluginRow:
        """Put another version in the place of an installed one; what was set and can still be stays set.

        Raises: as `pull`; then the plugin is what it was.
        """
        async with AsyncExitStack() as held:
            remote, chain, fresh = await self._fetch(wish, emit, held)
            config, settings = carried_over(row.settings, remote.config)
            upgraded = PluginRow(
                id=row.id,
                name=row.name,
                reference=str(wish.reference),
                snapshot=secrets.token_hex(32),
                timeout_s=row.timeout_s,
                config=config,
                settings=settings,
                document=remote.document,
                manifest=remote.came.raw,
                chain=chain,
            )
            return await self._installer.install(upgraded, fresh, replaced=row)

    async def push(self, row: PluginRow, reference: Reference, auth: AuthConfig | None, emit: Emit) -> None:
        """Send an installed plugin to its registry. Raises: NotFound, Unauthorized, System."""
        layers = self._installer.layers(row)
        manifest = row.manifest if _fits(row.manifest, layers) else plugin_manifest(row.document, layers)
        emit(status(f"The push refers to repository [{reference.familiar_name}]"))
        actions = "pull,push"
        async with self._around.registry.open(reference, auth, actions=actions, kind=_KIND) as repository:
            for digest in (digest_of(row.document), *(layer.blob for layer in layers)):
                emit(action("Preparing", _short(digest)))
            for layer in layers:
                await self._send(repository, layer, emit)
            config = digest_of(row.document)
            if not await repository.has_blob(config):
                await repository.put_blob(config, row.document)
            emit(action("Upload complete", _short(config)))
            await repository.put_manifest(reference.tag, MANIFEST, manifest)
        emit(
            Progress(
                progress_detail=ProgressDetail(),
                aux={"Tag": reference.tag, "Digest": digest_of(manifest), "Size": len(manifest)},
            )
        )

    # there

    async def _fetch(
        self, wish: PullWish, emit: Emit, held: AsyncExitStack
    ) -> tuple[_Remote, tuple[str, ...], list[NewLayer]]:
        """What the registry has, checked, its layers, and those of them that are not here, unpacked."""
        reference = wish.reference
        try:
            opened = self._around.registry.open(reference, wish.auth, kind=_KIND)
            repository = await held.enter_async_context(opened)
            remote = await self._remote(repository, reference)
        except EngineError as error:
            raise type(error)(f"error resolving plugin reference: {error}") from error
        emit(status(f"Pulling from {reference.familiar_name}", id=reference.tag or reference.digest))
        emit(status(f"Digest: {remote.came.digest}"))
        check_privileges(remote.config, wish.allowed)
        chain, fresh = await self._unpack(repository, remote, emit, held)
        self._tell(reference.familiar(), wish.name, "pull")
        return remote, chain, fresh

    async def _remote(self, repository: Repository, reference: Reference) -> _Remote:
        came = await repository.manifest(reference.digest or reference.tag)
        found = self._parsed(came, reference)
        if isinstance(found, Index):
            came = await repository.manifest(choose(found, self._host).digest)
            found = self._parsed(came, reference)
        if isinstance(found, Index):
            raise InvalidParameter("unsupported manifest format: an index inside of an index")
        if found.config.media_type != PLUGIN_CONFIG:
            raise InvalidParameter("fetched plugin image but plugin config is missing")
        document = await repository.blob(found.config)
        return _Remote(found, came, document, parse_config(document))

    def _parsed(self, came: Fetched, reference: Reference) -> Manifest | Index:
        configs = (PLUGIN_CONFIG, *IMAGE_CONFIGS)
        return parse_manifest(came.raw, came.media_type, familiar=reference.familiar(), configs=configs)

    async def _unpack(
        self, repository: Repository, remote: _Remote, emit: Emit, held: AsyncExitStack
    ) -> tuple[tuple[str, ...], list[NewLayer]]:
        wanted, layers = diff_ids(remote.config), remote.manifest.layers
        if len(wanted) != len(layers) or not layers:
            raise System("layers from manifest don't match plugin configuration")
        found: list[str] = []
        fresh: list[NewLayer] = []
        for diff_id, layer in zip(wanted, layers, strict=True):
            short = _short(layer.digest)
            if diff_id == layer.digest:
                diff_id = ""  # dockerd since 20.10 writes down the packed layer: what is in it shows later
            elif self._around.snapshots.layer(chain_ids([*found, diff_id])[-1]) is not None:
                emit(action("Already exists", short))
                found.append(diff_id)
                continue
            place = await self._installer.ingest(held)
            source = repository.download(layer.digest, attempts=ATTEMPTS)
            job = UnpackLayer(source, layer.digest, layer.size, diff_id)
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                unpacked = await self._around.workers.run(job, [fd], _steps(short, emit))
            except JobFailed as error:
                raise _broken(error, layer, repository.reference) from error
            finally:
                os.close(fd)
            emit(action("Complete", short))
            found.append(unpacked.diff_id)
            below, chain_id = ["", *chain_ids(found)][-2:]
            fresh.append(NewLayer(chain_id, below, place, unpacked))
        return chain_ids(found), fresh

    # back

    async def _send(self, repository: Repository, layer: Layer, emit: Emit) -> None:
        short = _short(layer.blob)
        if not await repository.has_blob(layer.blob):
            job = await repository.upload(layer.blob, layer.blob_bytes, chunked=False)
            fd = os.open(self._around.content.path(layer.blob), os.O_RDONLY)
            try:
                await self._around.workers.run(job, [fd], _steps(short, emit))
            except JobFailed as error:
                raise _broken(error, None, repository.reference) from error
            finally:
                os.close(fd)
        emit(action("Upload complete", short))


def _steps(id: str, emit: Emit) -> Callable[[Step], None]:
    return lambda step: emit(step_action(step, id))


def _broken(error: JobFailed, layer: Descriptor | None, reference: Reference) -> EngineError:
    if error.kind == "registry" and error.status:
        return refused(error.status, "", str(error).encode(), reference)
    return unusable(error) if layer else System(str(error))


def _fits(raw: bytes, layers: Sequence[Layer]) -> bool:
    """Whether a manifest speaks of the blobs that are here: a layer may have come in another compression."""
    manifest = parse_manifest(raw, MANIFEST, familiar="", configs=(PLUGIN_CONFIG,))
    return isinstance(manifest, Manifest) and [each.digest for each in manifest.layers] == [
        layer.blob for layer in layers
    ]


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:12]
