"""Images and references: memory, rows and the events of both.

Memory is the read model. Each change is written first (a client that was told has it after a power cut),
then done in memory, then published.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct, structs

from lighterman.db import Change, Database, Rows
from lighterman.errdefs import InvalidParameter
from lighterman.events import Events
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Image, ImageUser, chain_ids, instant_ns, read_document
from lighterman.reference import Reference, parse_any, parse_reference
from lighterman.snapshots import Snapshots

Users = Callable[[str], Sequence[ImageUser]]
"""The containers made from an image id; handed in by the wiring."""


class ImageRow(Struct, frozen=True):
    document: bytes
    """The configuration to the byte: the id is its digest."""
    tagged_ns: int | None = None
    parent: str = ""
    manifest: bytes = b""
    """The registry's manifest by which it came, to the byte; empty: it came in another way."""
    manifest_type: str = ""


class ReferenceRow(Struct, frozen=True):
    image: str


IMAGES: Rows[ImageRow] = Rows("images", ImageRow)
REFERENCES: Rows[ReferenceRow] = Rows("references", ReferenceRow)


class Store:
    """All images that are here, and what they are called."""

    def __init__(self, db: Database, events: Events, snapshots: Snapshots, users: Users) -> None:
        self._db = db
        self._events = events
        self.snapshots = snapshots
        self.users = users
        self._rows = IMAGES.load(db)
        self._images: dict[str, Image] = {}
        self._names: dict[Reference, str] = {}
        self._references: dict[str, set[Reference]] = {}
        self._children: dict[str, set[str]] = {}
        """By the id of what they were made from here."""
        self._leases: Counter[str] = Counter()
        """Layers that work in progress counts on, by chain id."""
        self.held: Counter[str] = Counter()
        """Images that builds in progress count on, by id."""
        self._changing = asyncio.Lock()
        """Held from the check of a change to its memory: a name never points to what just went."""

    async def load(self) -> None:
        """Read the rows at start: what has lost a layer is no image any more."""
        for image_id, row in list(self._rows.items()):
            image = self._image(image_id, row)
            if all(self.snapshots.layer(chain_id) for chain_id in image.chain):
                self._remember(image)
            else:
                del self._rows[image_id]
                self._db.write_soon(IMAGES.delete(image_id))
        for text, named in REFERENCES.load(self._db).items():
            if named.image in self._images:
                self._name(parse_reference(text), named.image)
            else:
                self._db.write_soon(REFERENCES.delete(text))
        await self.collect()

    # --- asking ---

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Image]:
        return iter(list(self._images.values()))

    def get(self, image_id: str) -> Image | None:
        """The image with this whole id."""
        return self._images.get(image_id)

    def named(self, reference: Reference) -> Image | None:
        """The image that a reference names exactly; a digest counts more than a tag beside it."""
        if reference.digest:
            reference = reference.repository().with_digest(reference.digest)
        found = self._names.get(reference.with_default_tag())
        return self._images[found] if found else None

    def find(self, ref: str) -> Image:
        """By whole id, name, name:tag, name@digest or id prefix, in this order.

        Raises: NoSuchImage, InvalidParameter.
        """
        parsed = parse_any(ref)
        if isinstance(parsed, str):
            image = self._images.get(parsed)
            if image is None:
                raise NoSuchImage(parsed)
            return image
        image = self.named(parsed) or self._by_prefix(ref)
        if image is None:
            raise NoSuchImage(parsed.with_default_tag().familiar())
        return image

    def references(self, image_id: str) -> list[Reference]:
        """What an image is called, in the order of the names."""
        return sorted(self._references.get(image_id, ()), key=str)

    def tagged_ns(self, image_id: str) -> int | None:
        """When it last got a name from a user."""
        return self._rows[image_id].tagged_ns

    def document(self, image_id: str) -> bytes:
        """The configuration to the byte."""
        return self._rows[image_id].document

    def manifest(self, image_id: str) -> tuple[str, bytes]:
        """Media type and bytes of the manifest by which it came; empty when there was none."""
        return self._rows[image_id].manifest_type, self._rows[image_id].manifest

    def tags_of(self, repository: Reference) -> list[tuple[Reference, str]]:
        """The tags of a repository, with the ids of their images, in the order of the names."""
        found = [(name, image) for name, image in self._names.items() if name.name == repository.name]
        return sorted(((name, image) for name, image in found if name.tag), key=lambda pair: pair[0].tag)

    def repositories_with(self, chain_id: str, domain: str) -> set[str]:
        """Paths of a registry's repositories that, by the names here, have the layer."""
        return {
            name.path
            for image in self._images.values()
            if chain_id in image.chain
            for name in self._references.get(image.id, ())
            if name.digest and name.domain == domain
        }

    def has_layer(self, digits: str) -> bool:
        """Whether a layer is here whose tar or blob has these hex digits as its sha256."""
        layers = (self.snapshots.layer(chain_id) for chain_id in self.snapshots.layer_ids())
        return any(f"sha256:{digits}" in (layer.diff_id, layer.blob) for layer in layers if layer)

    def children(self, image_id: str) -> list[Image]:
        """The images that were made from this one here."""
        return [self._images[child] for child in self._children.get(image_id, ())]

    # --- changing ---

    async def add(self, image_id: str, document: bytes, *, parent: str = "") -> Image:
        """Record an image whose layers are published and leased. Idempotent."""
        async with self._changing:
            if image := self._images.get(image_id):
                return image
            row = ImageRow(document, parent=parent)
            image = self._image(image_id, row)
            await self._db.write(IMAGES.put(image_id, row))
            self._rows[image_id] = row
            self._remember(image)
            self.snapshots.revive(image.chain)
            return image

    async def link(self, parents: Mapping[str, str]) -> None:
        """Remember which images were made from which, by their ids; what is gone meanwhile is passed over."""
        async with self._changing:
            here = {
                image: parent for image, parent in parents.items() if {image, parent} <= self._images.keys()
            }
            rows = {
                image: structs.replace(self._rows[image], parent=parent) for image, parent in here.items()
            }
            if rows:
                await self._db.write(*(IMAGES.put(image, row) for image, row in rows.items()))
            for image, row in rows.items():
                self._children.get(self._images[image].parent, set()).discard(image)
                self._rows[image] = row
                self._remember(structs.replace(self._images[image], parent=row.parent))

    async def keep_manifest(self, image_id: str, media_type: str, manifest: bytes) -> None:
        """Remember by which manifest an image came, or went. Raises: NoSuchImage."""
        async with self._changing:
            self._need(image_id)
            row = structs.replace(self._rows[image_id], manifest=manifest, manifest_type=media_type)
            if row != self._rows[image_id]:
                await self._db.write(IMAGES.put(image_id, row))
                self._rows[image_id] = row

    async def point(self, references: Iterable[Reference], image_id: str) -> None:
        """Let references name this image, whatever they named before. Raises: NoSuchImage."""
        async with self._changing:
            self._need(image_id)
            wanted = [reference for reference in references if self._names.get(reference) != image_id]
            if wanted:
                row = ReferenceRow(image_id)
                await self._db.write(*(REFERENCES.put(str(name), row) for name in wanted))
            for reference in wanted:
                self._name(reference, image_id)

    async def tag(self, image: Image, reference: Reference) -> None:
        """`point` as a user's wish: remembered with its time, and told. Raises: NoSuchImage."""
        if reference.digest:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        reference = reference.with_default_tag()
        if reference.repository().familiar() == "sha256":
            raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")
        async with self._changing:
            self._need(image.id)
            row = structs.replace(self._rows[image.id], tagged_ns=time.time_ns())
            await self._db.write(
                REFERENCES.put(str(reference), ReferenceRow(image.id)), IMAGES.put(image.id, row)
            )
            self._rows[image.id] = row
            self._name(reference, image.id)
        self.tell("tag", image.id, reference.familiar())

    async def untag(self, references: Sequence[Reference]) -> None:
        """Take names away. Idempotent."""
        async with self._changing:
            await self._db.write(*(REFERENCES.delete(str(reference)) for reference in references))
            for reference in references:
                self._unname(reference)

    async def drop(self, image_id: str) -> list[str]:
        """Forget an image and its names; the chain ids of the layers that went with it, top first.

        Idempotent.
        """
        async with self._changing:
            image = self._images.get(image_id)
            if image is None:
                return []
            names = list(self._references.get(image_id, ()))
            changes: list[Change] = [IMAGES.delete(image_id)]
            await self._db.write(*changes, *(REFERENCES.delete(str(name)) for name in names))
            for name in names:
                self._unname(name)
            del self._images[image_id], self._rows[image_id]
            if siblings := self._children.get(image.parent):
                siblings.discard(image_id)
        self.tell("delete", image_id, image_id)
        return await self.collect(image.chain)

    async def collect(self, among: Iterable[str] | None = None) -> list[str]:
        """Remove the layers that neither an image nor work in progress has; those that went."""
        kept = {chain_id for image in self._images.values() for chain_id in image.chain}
        kept |= {chain_id for chain_id, count in self._leases.items() if count}
        among = self.snapshots.layer_ids() if among is None else among
        unused = [chain_id for chain_id in among if chain_id not in kept]
        return await self.snapshots.remove_layers(unused) if unused else []

    @contextmanager
    def lease(self, chain: Sequence[str]) -> Iterator[None]:
        """Keep layers, those here and those to come, from being collected meanwhile."""
        self._leases.update(chain)
        try:
            yield
        finally:
            self._leases.subtract(chain)
            self._leases += Counter()  # drops the zeros

    def tell(self, action: str, subject: str, name: str) -> None:
        """Publish an event of an image; its labels are attributes as long as it is here."""
        try:
            labels = self.find(subject).config.labels or {}
        except NoSuchImage:
            labels = {}
        self._events.publish("image", action, subject, {**labels, "name": name})

    def tell_pruned(self, reclaimed_bytes: int) -> None:
        """Publish the end of a prune."""
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed_bytes)})

    # --- inside ---

    def _image(self, image_id: str, row: ImageRow) -> Image:
        document = read_document(row.document)
        chain = chain_ids(document.rootfs.diff_ids if document.rootfs else ())
        layers = [self.snapshots.layer(chain_id) for chain_id in chain]
        size = sum(layer.size_bytes for layer in layers if layer)
        return Image(image_id, document, chain, size, instant_ns(document.created), row.parent)

    def _need(self, image_id: str) -> None:
        if image_id not in self._images:
            raise NoSuchImage(image_id)

    def _by_prefix(self, ref: str) -> Image | None:
        wanted = ref if ref.startswith("sha256:") else f"sha256:{ref}"
        found = [image for image_id, image in self._images.items() if image_id.startswith(wanted)]
        return found[0] if len(found) == 1 else None

    def _remember(self, image: Image) -> None:
        self._images[image.id] = image
        if image.parent:
            self._children.setdefault(image.parent, set()).add(image.id)

    def _name(self, reference: Reference, image_id: str) -> None:
        self._unname(reference)
        self._names[reference] = image_id
        self._references.setdefault(image_id, set()).add(reference)

    def _unname(self, reference: Reference) -> None:
        before = self._names.pop(reference, None)
        if before is not None:
            self._references[before].discard(reference)
            if not self._references[before]:
                del self._references[before]
