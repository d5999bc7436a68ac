"""Snapshots and the layers below them.

```
layers/<id>/diff             immutable; what it is says its row
layers/<id>/init/diff        the places to mount on, made when a container first needs them
snapshots/<key>/{diff,work,merged}   a container's own layer; `parent` is a link whose text is the chain id
```
A snapshot has no row: its directory is made elsewhere and appears whole, by one rename, which the commit
of the container's own row makes durable.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from lighterman.content import (
    Change,
    Content,
    CountUsage,
    JobFailed,
    ListChanges,
    PackTree,
    Trash,
    Workers,
    written,
)
from lighterman.content import Layer as Unpacked
from lighterman.db import Database
from lighterman.errdefs import Conflict, NotFound, System
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread, rollback
from lighterman.linux import userns
from lighterman.linux.sync import fsync_directory, syncfs
from lighterman.linux.userns import IdMap
from lighterman.snapshots import mapped, overlay
from lighterman.snapshots.drafts import Drafts
from lighterman.snapshots.init_layer import copy_root, make_init_layer
from lighterman.snapshots.layer import ROWS, Layer, chain
from lighterman.snapshots.mounts import Mounts

NO_PARENT = "-"
SCRATCH = "scratch"
"""The directory below `layers/` whose init layer is for containers that have no image layers."""


class NewLayer(Struct, frozen=True):
    """An unpacked layer that waits in its ingest directory to be published."""

    chain_id: str
    parent: str
    ingest: Path
    unpacked: Unpacked


class Snapshots:
    """Layers and writable layers of one data root."""

    def __init__(self, content: Content, db: Database, workers: Workers) -> None:
        self._content = content
        self._db = db
        self._workers = workers
        self._layers_root = content.root / "layers"
        self._root = content.root / "snapshots"
        for path in (self._layers_root, self._root):
            path.mkdir(mode=0o710, parents=True, exist_ok=True)
        if self._root.stat().st_gid != os.getegid():  # root of a map had to pass
            os.chown(self._root, -1, os.getegid())
        self._layers = self._whole_layers(ROWS.load(db))
        self._parents = {
            path.name: _parent(path) for path in self._root.iterdir() if (path / "parent").is_symlink()
        }
        self._doomed: set[str] = set()
        """Layers that no image has any more, but a container."""
        self._inits: dict[str, asyncio.Lock] = {}
        self._readers: dict[str, set[asyncio.Future[None]]] = {}
        self._background = Background()
        self._mounts = Mounts(self._root, self._mount, self._background)
        scratch = content.new_ingest()
        self._by_fds = overlay.takes_fds(scratch)
        shutil.rmtree(scratch)  # not by the trash: a helper process would be started for it
        self.drafts = Drafts(content, self._diffs, by_fds=self._by_fds)
        self._trash = Trash(content, workers, self._background, self._mounts.ended)

    # --- writable layers ---

    async def prepare(self, key: str, parent: str | None) -> None:
        """Make the writable layer `key` on top of the layer `parent` (a chain id), or on nothing.

        Raises: Conflict when there is one, NotFound when the layer is not there, System.
        """
        if key in self._parents:
            raise Conflict(f"snapshot {key} exists already")
        if parent is not None and parent not in self._layers:
            raise NotFound(f"layer {parent} is not there")
        self._parents[key] = parent
        async with rollback() as undo:
            undo.callback(self._parents.pop, key)
            await self._need_init_layer(parent)
            try:
                await in_thread(self._make, key, parent)
            except OSError as error:
                raise System(f"error creating overlay mount to {self._root / key}: {error}") from error

    async def mount(self, key: str, *, volatile: bool = False, id_map: IdMap | None = None) -> Path:
        """The merged root file system of `key`, mounted, with owners shown by the map if there is one.

        Idempotent. Raises: NotFound, System.
        """
        self._directory(key)
        return await self._mounts.mount(key, volatile=volatile, id_map=id_map)

    async def unmount(self, key: str) -> None:
        """Take the mount of `key` away when its last visitor has gone. Idempotent; waits for no disk."""
        await self._mounts.unmount(key)

    @asynccontextmanager
    async def visited(self, key: str, id_map: IdMap | None = None) -> AsyncIterator[Path]:
        """The merged root of `key`, mounted while the block lasts, whoever mounts and unmounts it meanwhile.

        Everybody has to give the same map for it. It does not keep the layer from being removed.
        Raises: NotFound, System.
        """
        self._directory(key)
        async with self._mounts.visited(key, id_map) as path:
            yield path

    @asynccontextmanager
    async def kept(self, key: str) -> AsyncIterator[Path]:
        """The directory of what was written to `key`; while the block lasts it is not removed.

        Raises: NotFound.
        """
        directory = self._directory(key) / "diff"
        done = asyncio.get_running_loop().create_future()
        self._readers.setdefault(key, set()).add(done)
        try:
            yield directory
        finally:
            self._readers[key].discard(done)
            if not self._readers[key]:
                del self._readers[key]
            done.set_result(None)

    async def remove(self, key: str) -> None:
        """Unmount and remove the writable layer `key`. Idempotent; the bytes go in the background.

        It waits for those who read it (`kept`).
        """
        while readers := self._readers.get(key):
            await asyncio.wait(readers)
        await self._mounts.forget(key)
        await in_thread(self._content.discard, self._root / key)
        self._parents.pop(key, None)
        if self._doomed:
            await self.remove_layers(list(self._doomed))
        self._trash.empty()

    async def settle(self, key: str) -> Path:
        """The directory of a writable layer's files, which no mount changes any more. Raises: NotFound."""
        directory = self._directory(key)
        await self._mounts.forget_to_end(key)
        return directory / "diff"

    async def move_files(self, key: str, ingest: Path) -> None:
        """Move the files of a settled writable layer to `ingest`/diff; it is empty then. Raises: System."""
        directory = self._directory(key)
        try:
            await in_thread(_move_files, directory / "diff", ingest / "diff")
        except OSError as error:
            raise System(f"cannot move the files of {directory}: {error}") from error

    async def export(self, key: str, id_map: IdMap | None = None) -> AsyncGenerator[bytes, None]:
        """The archive of the merged root of `key`, piece by piece. Raises: NotFound, System."""
        async with self.visited(key, id_map) as path:
            fd = await in_thread(os.open, path, os.O_PATH | os.O_DIRECTORY)
            fds = [fd] if id_map is None else [fd, await in_thread(userns.of_map, id_map)]
            try:
                async for piece in written(self._workers, PackTree(mapped=id_map is not None), fds):
                    yield piece
            except JobFailed as error:
                raise System(str(error)) from error
            finally:
                os.close(fd)

    async def changes(self, key: str) -> list[Change]:
        """What `key` has changed of the layers below it, in the order of paths. Raises: NotFound, System."""
        directory = self._directory(key)
        fds: list[int] = []
        try:
            fds.append(await in_thread(os.open, directory / "diff", os.O_RDONLY | os.O_DIRECTORY))
            fds.append(await in_thread(self._below, key))
            listed = [piece async for piece in written(self._workers, ListChanges(), fds)]
            return msgspec.msgpack.decode(b"".join(listed), type=list[Change])
        except (JobFailed, OSError) as error:
            raise System(f"cannot compare {directory}: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)

    async def size(self, key: str) -> int:
        """Bytes written above the image. Raises: NotFound, System."""
        return await self._usage(self._directory(key) / "diff")

    def dirs(self, key: str) -> Mapping[str, str]:
        """LowerDir, MergedDir, UpperDir and WorkDir of `key`, as GraphDriver.Data has them.

        Raises: NotFound.
        """
        directory = str(self._directory(key))
        return {
            "LowerDir": ":".join(self._lower_names(self._parents[key])),
            "MergedDir": f"{directory}/merged",
            "UpperDir": f"{directory}/diff",
            "WorkDir": f"{directory}/work",
        }

    # --- layers ---

    def layer(self, chain_id: str) -> Layer | None:
        """What is known of a layer, None when it is not here."""
        return self._layers.get(chain_id)

    def layer_dirs(self, chain_id: str) -> Mapping[str, str]:
        """The same as `dirs` for an image, whose top layer is `chain_id`. Raises: KeyError."""
        top, *below = (self._diff(link) for link in chain(self._layers, chain_id))
        data = {"LowerDir": ":".join(map(str, below))} if below else {}
        return data | {
            "MergedDir": str(top.parent / "merged"),
            "UpperDir": str(top),
            "WorkDir": str(top.parent / "work"),
        }

    async def publish(self, layers: Sequence[NewLayer]) -> None:
        """Make unpacked layers durable and visible, blobs and directories. Lower ones come first.

        Raises: System (disk full); then nothing is visible or lies about, and the ingest directories are as
        they were or gone. A layer that is here already is left alone.
        """
        fresh = [new for new in layers if new.chain_id not in self._layers]
        if not fresh:
            return
        rows = {new.chain_id: _row(new) for new in fresh}
        async with rollback() as undo:
            undo.push_async_callback(self._take_back, list(rows.values()))
            try:
                await in_thread(self._move, [(new, rows[new.chain_id]) for new in fresh])
            except OSError as error:
                raise System(f"cannot keep a layer: {error}") from error
            await self._db.write(*(ROWS.put(chain_id, row) for chain_id, row in rows.items()))
            self._layers.update(rows)

    async def _take_back(self, rows: Sequence[Layer]) -> None:
        """Throw away what lies in its place and has no row."""
        await in_thread(self._discard_layers, rows, {layer.blob for layer in self._layers.values()})

    def revive(self, chain_ids: Iterable[str]) -> None:
        """An image has these layers again: they stay when the container that kept them goes."""
        self._doomed.difference_update(chain_ids)

    async def remove_layers(self, chain_ids: Collection[str]) -> list[str]:
        """Remove layers that no image has; those that a container stands on go when it goes.

        The chain ids of the ones that no longer are, top layers first.
        """
        used = self._used()
        self._doomed.update(chain_id for chain_id in chain_ids if chain_id in self._layers)
        gone = [chain_id for chain_id in self._doomed if chain_id not in used]
        if not gone:
            return []
        gone.sort(key=lambda chain_id: len(chain(self._layers, chain_id)), reverse=True)
        # out of memory first: whoever looks for them from now on must not count on them
        rows = {chain_id: self._layers.pop(chain_id) for chain_id in gone}
        self._doomed.difference_update(gone)
        async with rollback() as undo:
            undo.callback(self._layers.update, rows)
            undo.callback(self._doomed.update, gone)
            await self._db.write(*(ROWS.delete(chain_id) for chain_id in gone))
        await self._take_back(list(rows.values()))
        return gone

    def layer_ids(self) -> list[str]:
        """The chain ids of all layers that are here."""
        return list(self._layers)

    # --- life ---

    async def reconcile(self, keep: set[str], mounted: Collection[str] = ()) -> None:
        """At start: keep the writable layers `keep`, and of their mounts those of `mounted`.

        All else goes: unfinished work, layers without a row, blobs without a layer.
        """
        there = self._mounts.mounted
        for key in list(there - set(mounted) | (there - keep)):
            await self.unmount(key)
        await in_thread(self._discard_strangers, keep)
        self._parents = {key: parent for key, parent in self._parents.items() if key in keep}
        self._trash.empty()

    def shown(self, source: Path, id_map: IdMap) -> AbstractAsyncContextManager[Path]:
        """Where the file or directory `source` has owners as the map shows them, while the block lasts.

        Raises: OSError (EINVAL: it is on a file system that cannot, an overlay say).
        """
        return mapped.shown(self._content, source, id_map)

    async def try_map(self, id_map: IdMap) -> None:
        """See whether layers can be mounted with this map. Raises: System: this host cannot."""
        await mapped.try_map(self._content, id_map)

    async def close(self) -> None:
        """Wait for what still works in the background; mounts stay."""
        self._trash.close()
        await self._background.close()

    # --- inside ---

    def _below(self, key: str) -> int:
        """An O_PATH fd of a root that shows the layers below `key`."""
        lowers = self._lowers(self._parents[key])
        if len(lowers) == 1:
            return os.open(lowers[0], os.O_PATH | os.O_DIRECTORY)
        scratch = self._content.new_ingest()
        try:
            return overlay.view(lowers, scratch, by_fds=self._by_fds)
        finally:
            self._content.discard(scratch)

    def _directory(self, key: str) -> Path:
        if key not in self._parents:
            raise NotFound(f"snapshot {key} is not there")
        return self._root / key

    def _diff(self, chain_id: str) -> Path:
        return self._layers_root / self._layers[chain_id].directory / "diff"

    def _diffs(self, top: str | None) -> list[Path]:
        return [self._diff(link) for link in chain(self._layers, top)]

    def _init(self, parent: str | None) -> Path:
        directory = self._layers[parent].directory if parent else SCRATCH
        return self._layers_root / directory / "init"

    def _lowers(self, parent: str | None) -> list[Path]:
        return [Path(name) for name in self._lower_names(parent)]

    def _lower_names(self, parent: str | None) -> list[str]:
        """The directories below a snapshot, topmost first; as texts, since every inspect asks."""
        topmost = self._layers[parent].directory if parent else SCRATCH
        below = (self._layers[chain_id].directory for chain_id in chain(self._layers, parent))
        root = self._layers_root
        return [f"{root}/{topmost}/init/diff", *(f"{root}/{directory}/diff" for directory in below)]

    def _used(self) -> set[str]:
        used: set[str] = set()
        for parent in set(self._parents.values()) & set(self._layers):
            used.update(chain(self._layers, parent))
        return used

    def _whole_layers(self, rows: dict[str, Layer]) -> dict[str, Layer]:
        """The layers that have a directory, as all below them have; the other rows are deleted."""
        here = {path.parent.name for path in self._layers_root.glob("*/diff")}
        whole: dict[str, Layer] = {}
        for chain_id, row in rows.items():
            try:
                links = chain(rows, chain_id)
            except KeyError:
                links = []
            if links and all(rows[link].directory in here for link in links):
                whole[chain_id] = row
            else:
                self._db.write_soon(ROWS.delete(chain_id))
        return whole

    async def _need_init_layer(self, parent: str | None) -> None:
        place = self._init(parent)
        if place.is_dir():
            return
        async with self._inits.setdefault(parent or "", asyncio.Lock()):
            if not place.is_dir():
                try:
                    await in_thread(self._make_init, parent, place)
                except OSError as error:
                    raise System(f"cannot make the init layer {place}: {error}") from error
        self._inits.pop(parent or "", None)

    def _make_init(self, parent: str | None, place: Path) -> None:
        ingest = self._content.new_ingest()
        lowers = [self._diff(link) for link in chain(self._layers, parent)]
        make_init_layer(lowers, ingest, by_fds=self._by_fds)
        place.parent.mkdir(mode=0o710, exist_ok=True)
        os.rename(ingest, place)

    def _make(self, key: str, parent: str | None) -> None:
        ingest = self._content.new_ingest()
        for name, mode in (("diff", 0o755), ("work", 0o700), ("merged", 0o700)):
            (ingest / name).mkdir(mode=mode)
        copy_root(self._init(parent) / "diff", ingest / "diff")
        os.symlink(parent or NO_PARENT, ingest / "parent")
        os.chmod(ingest, 0o710)
        os.rename(ingest, self._root / key)

    def _mount(self, key: str, volatile: bool, id_map: IdMap | None) -> None:
        directory = self._directory(key)
        try:
            if id_map is not None:
                os.chown(self._root, 0, id_map.root[1])  # root of the map has to pass, and nobody else
                directory.chmod(0o711)
                overlay.mount_mapped(self._lowers(self._parents[key]), directory, id_map, volatile=volatile)
                return
            overlay.mount_overlay(
                self._lowers(self._parents[key]),
                directory / "diff",
                directory / "work",
                directory / "merged",
                volatile=volatile,
                by_fds=self._by_fds,
            )
        except KeyError as error:
            raise System(f"layer {error} of {key} is lost") from error
        except OSError as error:
            raise System(f"error creating overlay mount to {directory}/merged: {error}") from error

    async def _usage(self, directory: Path) -> int:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return (await self._workers.run(CountUsage(), [fd])).size_bytes
        except JobFailed as error:
            raise System(f"cannot count {directory}: {error}") from error
        finally:
            os.close(fd)

    def _move(self, layers: Sequence[tuple[NewLayer, Layer]]) -> None:
        fd = os.open(self._layers_root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(fd)  # once for all: a row promises that the bytes are there
        finally:
            os.close(fd)
        for new, row in layers:
            self._content.adopt(new.ingest / "blob", row.blob)
            os.chmod(new.ingest, 0o710)
            os.rename(new.ingest, self._layers_root / row.directory)
        fsync_directory(self._layers_root)

    def _discard_layers(self, rows: Sequence[Layer], blobs: Collection[str]) -> None:
        for row in rows:
            self._content.discard(self._layers_root / row.directory)
            if row.blob not in blobs:
                self._content.remove(row.blob)

    def _discard_strangers(self, keep: set[str]) -> None:
        for path in self._root.iterdir():
            if path.name not in keep or path.name not in self._parents:
                for point in overlay.mount_points(path):
                    overlay.close_all(overlay.detach_all(point))
                self._content.discard(path)
        known = {layer.directory for layer in self._layers.values()} | {SCRATCH}
        for path in self._layers_root.iterdir():
            if path.name not in known:
                self._content.discard(path)
        for digest in self._content.digests() - {layer.blob for layer in self._layers.values()}:
            self._content.remove(digest)
        for point in overlay.mount_points(self._content.root / "ingest"):
            overlay.close_all(overlay.detach_all(point))
        self._content.discard_ingest()


def _move_files(files: Path, target: Path) -> None:
    os.rename(files, target)
    files.mkdir(mode=0o755)  # whoever asks for its size finds nothing, rather than no place


def _row(new: NewLayer) -> Layer:
    unpacked = new.unpacked
    return Layer(
        directory=new.ingest.name,
        parent=new.parent,
        diff_id=unpacked.diff_id,
        blob=unpacked.digest,
        blob_bytes=unpacked.blob_bytes,
        media_type=unpacked.media_type,
        size_bytes=unpacked.size_bytes,
        tar_bytes=unpacked.tar_bytes,
    )


def _parent(snapshot: Path) -> str | None:
    text = os.readlink(snapshot / "parent")
    return None if text == NO_PARENT else text
