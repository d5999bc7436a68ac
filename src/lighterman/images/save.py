"""Saving: images become one archive that old and new readers know.

It is `docker save`'s layout (manifest.json; links for those that know the names of Docker 20.10; repositories
and a directory for each layer, for readers older than Docker 1.10) and an OCI image layout at once: all speak
of the same blobs. Layers are uncompressed in it, and nothing in it depends on when it was made: the same
images give the same bytes.

Sources: Docker's image specification 1.2, combined image JSON + filesystem changeset; OCI image-layout.md;
moby's tarexport since 25.0.
"""

import hashlib
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from lighterman.content import (
    BlobMember,
    JobFailed,
    LinkMember,
    Member,
    SaveArchive,
    TextMember,
    Workers,
    written,
)
from lighterman.errdefs import NotFound, System
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Image, made_from
from lighterman.images.layers import Layers
from lighterman.images.store import Store
from lighterman.lib.effects import in_thread
from lighterman.reference import Reference, parse_any
from lighterman.registry import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

Wanted = dict[str, list[Reference]]
"""Image ids, each with the names that it is to have in the archive."""
_BLOBS = "blobs/sha256/"


def wanted_images(store: Store, names: Sequence[str]) -> Wanted:
    """What `names` ask for: a repository for all its tags, an id for an image without names.

    Raises: NotFound, InvalidParameter, System (an image without layers).
    """
    wanted: Wanted = {}
    for name in names:
        for image_id, reference in _meant(store, name):
            known = wanted.setdefault(image_id, [])
            if reference is not None and reference not in known:
                known.append(reference)
    for image_id in wanted:
        image = store.get(image_id)
        if image is None or not image.chain:
            raise System("empty export - not implemented")
    return wanted


def _meant(store: Store, name: str) -> list[tuple[str, Reference | None]]:
    parsed = parse_any(name)
    if isinstance(parsed, str) or parsed.familiar_name == "sha256":
        return [(store.find(name).id, None)]
    if parsed.tag or parsed.digest:
        image = store.named(parsed)
        if image is None:
            raise NotFound("reference does not exist")
        return [(image.id, None if parsed.digest else parsed)]
    if tags := store.tags_of(parsed):
        return [(image_id, tag) for tag, image_id in tags]
    try:
        return [(store.find(name).id, None)]
    except NoSuchImage as error:
        raise NoSuchImage(name) from error  # without the tag that nobody gave


async def save_images(
    store: Store, layers: Layers, workers: Workers, wanted: Wanted
) -> AsyncGenerator[bytes, None]:
    """The archive, as a worker writes it. Closing it ends the worker. Raises: System."""
    images = [image for image_id in wanted if (image := store.get(image_id)) is not None]
    async with layers.lease([chain_id for image in images for chain_id in image.chain]):
        plan = msgspec.msgpack.encode(archive_members(store, images, wanted))
        blobs = os.open(layers.content.root / "blobs", os.O_RDONLY | os.O_DIRECTORY)
        file = os.memfd_create("plan")
        try:
            await in_thread(_write, file, plan)
            async with aclosing(written(workers, SaveArchive(), [blobs, file])) as pieces:
                async for piece in pieces:
                    yield piece
        except JobFailed as error:
            raise System(f"cannot save: {error}") from error
        finally:
            os.close(file)
            os.close(blobs)
    for image in images:
        store.tell("save", image.id, image.id)


def _write(file: int, plan: bytes) -> None:
    with os.fdopen(os.dup(file), "wb") as out:
        out.write(plan)
    os.lseek(file, 0, os.SEEK_SET)


def archive_members(store: Store, images: Sequence[Image], wanted: Wanted) -> list[Member]:
    """Everything that the archive holds, in order. Pure."""
    if not images:
        return [TextMember("manifest.json", b"null\n")]
    found: dict[str, Member] = {"blobs/": TextMember("blobs/"), _BLOBS: TextMember(_BLOBS)}
    manifest: list[dict[str, object]] = []
    entries: list[dict[str, object]] = []
    repositories: dict[str, dict[str, str]] = {}
    for image in images:
        names = wanted[image.id]
        for member in _image_members(store, image):
            found.setdefault(member.name, member)
        raw = _oci_manifest(store, image)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        found.setdefault(_path(digest), TextMember(_path(digest), raw))
        manifest.append(
            {
                "Config": _path(image.id),
                "RepoTags": [name.familiar() for name in names] or None,
                "Layers": [_path(diff_id) for diff_id in image.diff_ids],
                **_parent(store, image, wanted),
            }
        )
        entries += _index_entries(digest, len(raw), names)
        for name in names:
            repositories.setdefault(name.familiar_name, {})[name.tag] = _hex(image.chain[-1])
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    texts = {"index.json": index, "manifest.json": manifest, "oci-layout": {"imageLayoutVersion": "1.0.0"}}
    if repositories:
        texts["repositories"] = repositories
    return [*found.values(), *(TextMember(name, _json(value)) for name, value in texts.items())]


def _image_members(store: Store, image: Image) -> list[Member]:
    """The blobs of an image, and the names by which older readers find them.

    Its configuration has the time of the image, in seconds, and the name it had before Docker 25 too.
    """
    made_ns = (image.created_ns or 0) // 10**9 * 10**9
    members: list[Member] = [
        TextMember(_path(image.id), store.document(image.id), made_ns),
        LinkMember(f"{_hex(image.id)}.json", _path(image.id), made_ns),
    ]
    for number, (chain_id, diff_id) in enumerate(zip(image.chain, image.diff_ids, strict=True)):
        layer = store.snapshots.layer(chain_id)
        assert layer is not None  # leased
        members.append(BlobMember(_path(diff_id), layer.blob, layer.tar_bytes))
        folder = _hex(chain_id)
        old: dict[str, object] = {"id": folder, "created": "1970-01-01T00:00:00Z"}
        if number:
            old["parent"] = _hex(image.chain[number - 1])
        if number == len(image.chain) - 1:
            old |= {"created": image.document.created, "config": image.config, "os": image.os}
        members += [
            TextMember(f"{folder}/"),
            TextMember(f"{folder}/VERSION", b"1.0"),
            TextMember(f"{folder}/json", msgspec.json.encode(old)),
            LinkMember(f"{folder}/layer.tar", f"../{_path(diff_id)}"),
        ]
    return members


def _parent(store: Store, image: Image, wanted: Wanted) -> dict[str, object]:
    """What the image was made from, if that is in the archive too."""
    parent = store.get(image.parent) if image.parent in wanted else None
    return {"Parent": parent.id} if parent and made_from(image.document, parent.document) else {}


def _oci_manifest(store: Store, image: Image) -> bytes:
    layers = []
    for chain_id, diff_id in zip(image.chain, image.diff_ids, strict=True):
        layer = store.snapshots.layer(chain_id)
        assert layer is not None  # leased
        layers.append({"mediaType": OCI_LAYER, "digest": diff_id, "size": layer.tar_bytes})
    config = {"mediaType": OCI_CONFIG, "digest": image.id, "size": len(store.document(image.id))}
    return msgspec.json.encode(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    )


def _index_entries(digest: str, size: int, names: Sequence[Reference]) -> list[dict[str, object]]:
    entry: dict[str, object] = {"mediaType": OCI_MANIFEST, "digest": digest, "size": size}
    named: list[dict[str, object]] = [
        entry
        | {
            "annotations": {
                "io.containerd.image.name": str(name),
                "org.opencontainers.image.ref.name": name.tag,
            }
        }
        for name in names
    ]
    return named or [entry]


def _json(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _path(digest: str) -> str:
    return _BLOBS + _hex(digest)


def _hex(digest: str) -> str:
    return digest.rpartition(":")[2]
