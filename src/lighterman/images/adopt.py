"""Taking over an image that another engine of this host has: the same id, layers, names and parent.

Its configuration and its layers' tars come as they are; each tar is verified against the digest that the
configuration names. What is here already is not read again.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from msgspec import Struct

from lighterman.content import NOT_THE_CONFIGS, JobFailed, Workers
from lighterman.content import Layer as Unpacked
from lighterman.errdefs import InvalidParameter
from lighterman.images.errors import bad_archive
from lighterman.images.feed import unpack_upload
from lighterman.images.image import chain_ids, image_id, read_document, short
from lighterman.images.layers import Layers, OnStep, Unpack, Wish
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread
from lighterman.reference import Reference, is_digest
from lighterman.registry import LAYERS_MAX


class Offered(Struct, frozen=True):
    """An image as the other engine has it."""

    raw: bytes
    """The configuration to the byte."""
    names: tuple[Reference, ...]
    """Tags and digests."""
    tar: Callable[[str], Iterator[bytes]]
    """The uncompressed tar of a layer by its chain id; it may block. Raises: EngineError."""
    parent: str = ""


class Adopted(Struct, frozen=True):
    """What has come of it."""

    id: str
    was_here: bool
    named: tuple[Reference, ...]
    """Names that are new here."""
    taken: tuple[Reference, ...]
    """Names that are another image's here, and stay so."""


async def adopt(store: Store, layers: Layers, workers: Workers, offered: Offered) -> Adopted:
    """Add the image and give it those of its names that are free. Idempotent.

    Raises: InvalidParameter (no image for Linux, or a layer is not what the configuration says), System.
    """
    document, adopted = read_document(offered.raw), image_id(offered.raw)
    diff_ids = document.rootfs.diff_ids if document.rootfs else []
    if (document.os or "linux") != "linux":
        raise InvalidParameter(f"cannot load {document.os} image on linux")
    if len(diff_ids) > LAYERS_MAX or not all(is_digest(diff_id) for diff_id in diff_ids):
        raise InvalidParameter("invalid rootfs in image configuration")
    was_here, chain = store.get(adopted) is not None, chain_ids(diff_ids)
    async with layers.lease(chain) as lease:
        wishes = [
            Wish(
                short(diff_ids[number]),
                chain_id,
                chain[number - 1] if number else "",
                0,
                _unpack(workers, offered, chain_id, diff_ids[number]),
                download=False,
            )
            for number, chain_id in enumerate(chain)
            if store.snapshots.layer(chain_id) is None
        ]
        await lease.publish(await lease.get(wishes, lambda wish, step: None, lambda wish: None))
        await store.add(adopted, offered.raw, parent=offered.parent)
    holders = {name: holder.id for name in offered.names if (holder := store.named(name)) is not None}
    free = tuple(name for name in offered.names if name not in holders)
    await store.point(free, adopted)
    taken = tuple(name for name, holder in holders.items() if holder != adopted)
    return Adopted(adopted, was_here, free, taken)


def _unpack(workers: Workers, offered: Offered, chain_id: str, diff_id: str) -> Unpack:
    async def unpack(directory: int, on_step: OnStep) -> Unpacked:
        ingest = Path(f"/proc/self/fd/{directory}")
        try:
            unpacked = await unpack_upload(workers, ingest, _pieces(offered.tar(chain_id)), on_step)
        except JobFailed as error:
            raise bad_archive(error) from error
        if unpacked.diff_id != diff_id:
            raise InvalidParameter(f"{NOT_THE_CONFIGS} {diff_id}")
        return unpacked

    return unpack


async def _pieces(blocking: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await in_thread(next, blocking, b""):
        yield piece
