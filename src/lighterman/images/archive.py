"""Image archives: what `docker save` and OCI image layouts hold, read from spooled files.

Sources: Docker's image specification 1.2, combined image JSON + filesystem changeset; OCI image-spec
image-layout.md.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, field, structs

from lighterman.apitypes.registry import Descriptor, Platform
from lighterman.content import spooled_name
from lighterman.errdefs import InvalidParameter
from lighterman.images.image import Document, image_id, made_from, read_document
from lighterman.reference import Reference, is_digest, parse_reference
from lighterman.registry import CONFIG_MAX, LAYERS_MAX, Index, choose, parse_manifest

T = TypeVar("T")
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


class LayerFile(Struct, frozen=True):
    """A layer in an archive; an empty digest is not known."""

    member: str
    digest: str = ""


class ArchivedImage(Struct, frozen=True):
    """An image of an archive."""

    raw: bytes
    document: Document
    layers: tuple[LayerFile, ...]
    tags: tuple[Reference, ...]
    parent: str = ""
    """The id of the image in the archive that this one was made from."""


class _Item(Struct, rename="pascal"):
    config: str = ""
    repo_tags: list[str] | None = None
    layers: list[str] | None = None
    parent: str = ""


class _Listed(Descriptor, frozen=True):
    annotations: dict[str, str] = field(default_factory=dict)


class _Index(Struct):
    manifests: list[_Listed] = field(default_factory=list)


class Spool:
    """The members of an archive, each in a file named after the hash of its name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __contains__(self, member: str) -> bool:
        return self.path(member).exists()

    def size(self, member: str) -> int:
        """Bytes of a member. Raises: InvalidParameter in Docker's words when there is none."""
        try:
            return self.path(member).stat().st_size
        except FileNotFoundError as error:
            raise InvalidParameter(f"open {self._directory}/{member}: no such file or directory") from error

    def path(self, member: str) -> Path:
        """The file of a member."""
        return self._directory / spooled_name(member)

    def remove(self, members: Iterable[str]) -> None:
        """Members that nobody needs any more. Blocks."""
        for member in members:
            self.path(member).unlink(missing_ok=True)

    def read(self, member: str, limit: int = CONFIG_MAX) -> bytes:
        """A small member. Blocks. Raises: InvalidParameter."""
        if self.size(member) > limit:
            raise InvalidParameter(f"{member} is longer than {limit} bytes")
        return self.path(member).read_bytes()


def archived_images(spool: Spool, host: Platform) -> list[ArchivedImage]:
    """The images of an archive; of one for several platforms that for `host`.

    Blocks for small files. Raises: InvalidParameter, NotFound (none for this platform).
    """
    if "manifest.json" in spool:
        items = _decoded(spool.read("manifest.json"), list[_Item], "manifest.json")
        return _with_parents([_saved(item, spool) for item in items])
    if "index.json" in spool:
        index = _decoded(spool.read("index.json"), _Index, "index.json")
        return [_laid_out(entry, spool, host) for entry in index.manifests]
    spool.size("repositories")  # what Docker looks for last, and misses
    raise InvalidParameter("an archive without manifest.json (made before Docker 1.10) is not supported")


def _saved(item: _Item, spool: Spool) -> ArchivedImage:
    raw = spool.read(os.path.normpath(item.config))
    layers = tuple(LayerFile(os.path.normpath(member)) for member in item.layers or [])
    return _image(raw, layers, [_tag(text) for text in item.repo_tags or []], spool, item.parent)


def _with_parents(images: list[ArchivedImage]) -> list[ArchivedImage]:
    """The images, with such parents as are there too. Raises: InvalidParameter: one cannot be it."""
    by_id, linked = {image_id(image.raw): image for image in images}, []
    for image in images:
        parent = by_id.get(image.parent)
        if parent is None:
            image = structs.replace(image, parent="")
        elif not made_from(image.document, parent.document):
            raise InvalidParameter(f"image {image.parent} is not a valid parent for {image_id(image.raw)}")
        linked.append(image)
    return linked


def _laid_out(entry: _Listed, spool: Spool, host: Platform) -> ArchivedImage:
    manifest = parse_manifest(_blob(entry, spool), entry.media_type, familiar="this image")
    if isinstance(manifest, Index):
        chosen = choose(manifest, host)
        manifest = parse_manifest(_blob(chosen, spool), chosen.media_type, familiar="this image")
    if isinstance(manifest, Index):
        raise InvalidParameter("unsupported manifest format: an index inside of an index")
    layers = tuple(LayerFile(_member(layer), layer.digest) for layer in manifest.layers)
    name = entry.annotations.get(_NAME) or entry.annotations.get(_REF_NAME, "")
    # a bare tag is a name only beside the archive's own file name, which nobody tells us
    named = name if "/" in name or ":" in name else ""
    return _image(_blob(manifest.config, spool), layers, [_tag(named)] if named else [], spool)


def _image(
    raw: bytes, layers: tuple[LayerFile, ...], tags: list[Reference], spool: Spool, parent: str = ""
) -> ArchivedImage:
    document = read_document(raw)
    diff_ids = document.rootfs.diff_ids if document.rootfs else []
    if (document.os or "linux") != "linux":
        raise InvalidParameter(f"cannot load {document.os} image on linux")
    if len(layers) != len(diff_ids):
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(layers)}, got {len(diff_ids)}"
        )
    if len(layers) > LAYERS_MAX:
        raise InvalidParameter(f"max depth exceeded: at most {LAYERS_MAX} layers are possible")
    if not all(is_digest(diff_id) for diff_id in diff_ids):
        raise InvalidParameter("invalid rootfs in image configuration")
    for layer in layers:
        spool.size(layer.member)
    return ArchivedImage(raw, document, layers, tuple(tags), parent)


def _tag(text: str) -> Reference:
    reference = parse_reference(text)
    if not reference.tag:
        raise InvalidParameter(f'invalid tag "{text}"')
    return reference


def _member(descriptor: Descriptor) -> str:
    if not is_digest(descriptor.digest) or not descriptor.digest.startswith("sha256:"):
        raise InvalidParameter(f"could not validate layer digest {descriptor.digest!r}")
    return f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"


def _blob(descriptor: Descriptor, spool: Spool) -> bytes:
    raw = spool.read(_member(descriptor))
    if f"sha256:{hashlib.sha256(raw).hexdigest()}" != descriptor.digest:
        raise InvalidParameter(f"manifest verification failed for digest {descriptor.digest}")
    return raw


def _decoded(raw: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"invalid {name}: {error}") from error
