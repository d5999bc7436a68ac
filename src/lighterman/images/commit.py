"""Committing: a writable layer becomes an image layer, and with its parent's layers an image.

The layer is packed once. One worker reads the writable layer and writes a tar into a pipe, another reads the
pipe as it reads every layer that comes from outside: it hashes, compresses, keeps and unpacks in one pass.

Source: ImageCommit; the configuration as dockerd 20.10.24 writes it (NewChildImage).
"""

import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from lighterman.apitypes.container import ContainerConfig
from lighterman.content import JobFailed, OpenFile, PackLayer, UnpackLayer, Workers
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import System
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Document, History, Image, RootFS, chain_ids, image_id
from lighterman.images.layers import Layers
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread, to_end, together
from lighterman.lib.go_time import rfc3339_nano
from lighterman.snapshots import NewLayer

EMPTY_DIFF_ID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""A tar of nothing: who commits it adds to the history, and no layer."""


class Step(Struct, frozen=True, kw_only=True):
    """What leads from an image to the next."""

    parent: str
    """Id of the image that it lies on; a build's may lie on nothing."""
    config: ContainerConfig
    """Of the image."""
    container_id: str = ""
    container_config: ContainerConfig = ContainerConfig()
    author: str = ""
    comment: str = ""


class CommitWish(Step, frozen=True, kw_only=True):
    """What an image is to be made of."""

    upper: Path
    """The writable layer's own directory; nobody writes to it or removes it meanwhile."""


class Committer:
    """What a commit needs of the engine."""

    def __init__(self, store: Store, layers: Layers, workers: Workers, version: str) -> None:
        self._store = store
        self._layers = layers
        self._workers = workers
        self._version = version

    async def commit(self, wish: CommitWish) -> Image:
        """The image. Raises: NoSuchImage (the parent), System; then nothing is left."""
        parent = self._store.get(wish.parent)
        if parent is None:
            raise NoSuchImage(wish.parent)
        content = self._layers.content
        ingest = await in_thread(content.new_ingest)
        try:
            unpacked = await _packed(self._workers, wish.upper, ingest)
            document = committed(wish, parent.document, unpacked.diff_id, self._version, time.time_ns())
            raw = msgspec.json.encode(document)
            chain = chain_ids(document.rootfs.diff_ids if document.rootfs else ())
            async with self._layers.lease(chain) as lease:
                if unpacked.diff_id != EMPTY_DIFF_ID:
                    below = parent.top_chain or ""
                    await lease.publish([NewLayer(chain[-1], below, ingest, unpacked)])
                return await self._store.add(image_id(raw), raw, parent=parent.id)
        finally:
            # published, it has moved away
            await to_end(in_thread(content.discard, ingest))


async def _packed(workers: Workers, upper: Path, ingest: Path) -> Unpacked:
    """The layer, in the ingest directory. Raises: System."""
    source = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    target = os.open(ingest, os.O_RDONLY | os.O_DIRECTORY)
    ends = os.pipe2(os.O_CLOEXEC)

    async def pack() -> None:
        try:
            await workers.run(PackLayer(), [source, ends[1]])
        finally:
            os.close(ends[1])  # as long as it is open here, the other worker waits for more

    try:
        unpacked, _ = await together(workers.run(UnpackLayer(OpenFile()), [target, ends[0]]), pack())
    except JobFailed as error:
        raise System(f"cannot pack the layer: {error}") from error
    finally:
        os.close(ends[0])
        os.close(source)
        os.close(target)
    return unpacked


def committed(wish: Step, parent: Document, diff_id: str, version: str, now_ns: int) -> Document:
    """The configuration of the image, pure."""
    created, is_empty = rfc3339_nano(now_ns), diff_id == EMPTY_DIFF_ID
    below = list(parent.rootfs.diff_ids) if parent.rootfs else []
    step = History(
        created=created,
        author=wish.author,
        created_by=" ".join(wish.container_config.cmd or ()),
        comment=wish.comment,
        empty_layer=is_empty,
    )
    return Document(
        architecture=parent.architecture,
        author=wish.author,
        config=wish.config,
        container=wish.container_id,
        container_config=wish.container_config,
        created=created,
        docker_version=version,
        history=[*parent.history, step],
        os=parent.os or "linux",
        os_version=parent.os_version,
        rootfs=RootFS("layers", below if is_empty else [*below, diff_id]),
        variant=parent.variant,
    )
