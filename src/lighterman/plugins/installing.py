"""How a plugin gets its layers and its row: from a tar with its configuration and its root, or from a
registry.

Whatever way it came, `Installer.install` is the end of it: layers, then a snapshot on top of them, the row
last.
"""

import hashlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from msgspec import structs

from lighterman.apitypes.plugin import PluginConfig, PluginRootfs
from lighterman.content import JobFailed, OpenFile, PackTree, PutArchive, UnpackLayer, View, fed, written
from lighterman.errdefs import EngineError, InvalidParameter, System
from lighterman.lib.effects import in_thread, rollback, to_end
from lighterman.plugins.config import CONFIG_MAX_BYTES, initial_settings, parse_config
from lighterman.plugins.row import PluginRow
from lighterman.plugins.store import Store
from lighterman.plugins.surroundings import Surroundings
from lighterman.reference import parse_reference
from lighterman.registry import LAYER, MANIFEST, PLUGIN_CONFIG
from lighterman.snapshots import Layer, NewLayer

CONFIG_FILE, ROOTFS = "config.json", "rootfs"


class Installer:
    """What an installation needs of the engine."""

    def __init__(self, around: Surroundings, store: Store) -> None:
        self._around, self._store = around, store

    async def create(self, name: str, archive: AsyncIterator[bytes]) -> PluginRow:
        """Make a plugin of a tar with config.json and rootfs/, in whatever compression.

        Raises: InvalidParameter, PluginExists, System; then nothing is left.
        """
        reference = parse_reference(name)
        if reference.digest:
            raise InvalidParameter("canonical references are not permitted")
        name = reference.with_default_tag().familiar()
        with self._store.reserved(name):
            async with AsyncExitStack() as held:
                config, layer = await self._from_archive(archive, held)
                rootfs = PluginRootfs(diff_ids=[layer.chain_id], type="layers")
                config = structs.replace(config, docker_version=self._around.version, rootfs=rootfs)
                document = msgspec.json.encode(config) + b"\n"
                row = PluginRow(
                    id=secrets.token_hex(32),
                    name=name,
                    reference=name,
                    snapshot=secrets.token_hex(32),
                    config=config,
                    settings=initial_settings(config),
                    document=document,
                    manifest=b"",
                    chain=(layer.chain_id,),
                )
                return await self.install(row, [layer])

    async def install(
        self, row: PluginRow, fresh: Sequence[NewLayer], *, replaced: PluginRow | None = None
    ) -> PluginRow:
        """Publish the `fresh` ones of its layers, make its snapshot, and write the row.

        `replaced` is what it is an upgrade of. Raises: System; then everything is as it was.
        """
        snapshots = self._around.snapshots
        async with rollback() as undo:
            undo.push_async_callback(snapshots.remove, row.snapshot)
            async with self._around.lease(row.chain) as lease:
                await lease.publish(fresh)
                await snapshots.prepare(row.snapshot, row.chain[-1] if row.chain else None)
            manifest = row.manifest or plugin_manifest(row.document, self.layers(row))
            row = await self._store.record(row, manifest=manifest)
        if replaced is not None:
            await snapshots.remove(replaced.snapshot)
        return row

    def layers(self, row: PluginRow) -> list[Layer]:
        """Its layers, the lowest first. Raises: System: one is lost."""
        found = [self._around.snapshots.layer(chain_id) for chain_id in row.chain]
        if None in found:
            raise System(f"a layer of the plugin {row.name} is lost")
        return [layer for layer in found if layer is not None]

    async def ingest(self, held: AsyncExitStack) -> Path:
        """A fresh directory for unfinished work, which goes with `held` unless it was published."""
        path = await in_thread(self._around.content.new_ingest)
        held.push_async_callback(_gone, self._around, path)
        return path

    async def _from_archive(
        self, archive: AsyncIterator[bytes], held: AsyncExitStack
    ) -> tuple[PluginConfig, NewLayer]:
        scratch, place = await self.ingest(held), await self.ingest(held)
        workers = self._around.workers
        with _opened(scratch) as scratch_fd, _opened(place) as place_fd:
            try:
                await fed(workers, PutArchive(View(), b"/"), [scratch_fd], archive)
                config = parse_config(await in_thread(_read_config, scratch_fd))
                with _opened_in(scratch_fd, ROOTFS) as root_fd:
                    packed = written(workers, PackTree(), [root_fd])
                    unpacked = await fed(workers, UnpackLayer(OpenFile()), [place_fd], packed)
            except JobFailed as error:
                raise unusable(error) from error
        return config, NewLayer(unpacked.diff_id, "", place, unpacked)


async def _gone(around: Surroundings, path: Path) -> None:
    await to_end(in_thread(around.content.discard, path))


class _opened:
    """An open directory, for as long as the block lasts."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class _opened_in(_opened):
    """The directory `name` of another one. Raises: InvalidParameter."""

    def __init__(self, directory: int, name: str) -> None:
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(name, flags, dir_fd=directory)
        except OSError as error:
            raise InvalidParameter("no rootfs found") from error


def _read_config(directory: int) -> bytes:
    """The configuration that was in the archive: a file, and no link that its author has thought of."""
    try:
        fd = os.open(
            CONFIG_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except OSError as error:
        raise InvalidParameter("config not found") from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidParameter("config not found")
        raw = file.read(CONFIG_MAX_BYTES + 1)
    if len(raw) > CONFIG_MAX_BYTES:
        raise InvalidParameter(f"failed to read {CONFIG_FILE}: it has more than {CONFIG_MAX_BYTES} bytes")
    return raw


def unusable(error: JobFailed) -> EngineError:
    """A worker's failure, where the bytes came from outside."""
    if error.kind in ("damaged", "refused", "mismatch"):
        return InvalidParameter(f"failed to read from tar: {error}")
    return System(str(error))


def plugin_manifest(document: bytes, layers: Sequence[Layer]) -> bytes:
    """The manifest of a plugin with this configuration. Source: buildManifest of moby's plugin room."""
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": PLUGIN_CONFIG, "digest": digest_of(document), "size": len(document)},
        "layers": [
            {"mediaType": f"{LAYER}.gzip", "digest": layer.blob, "size": layer.blob_bytes} for layer in layers
        ],
        "mediaType": MANIFEST,
    }
    return msgspec.json.encode(manifest)


def digest_of(raw: bytes) -> str:
    """Its SHA-256, as the field writes it."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
