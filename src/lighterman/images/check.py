"""A full verification of what images are made of: rows, names, blobs, layers and writable layers.

Nothing is changed, and an engine may run meanwhile; what it makes or removes at that moment may then be
complained of.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lighterman.content import Content
from lighterman.db import Reading
from lighterman.errdefs import InvalidParameter, System
from lighterman.images.image import chain_ids, image_id, read_document
from lighterman.images.store import IMAGES, REFERENCES, ImageRow
from lighterman.reference import parse_reference
from lighterman.snapshots.check import check_layers, check_writable
from lighterman.snapshots.layer import ROWS as LAYERS
from lighterman.snapshots.layer import Layer


class Checked(Struct, frozen=True):
    """How many there are of each, and what is wrong, a line each."""

    layers: int
    images: int
    names: int
    containers: int
    complaints: list[str]


def check_store(data_root: Path) -> Checked:
    """Verify everything below a data root. Blocks: seconds for each GB. Raises: System, OSError."""
    try:
        db = Reading(data_root / "state.db")
    except FileNotFoundError as error:
        raise System(f"{data_root} is no data root: it has no state.db") from error
    try:
        if damage := db.damage():
            raise System(f"state.db is damaged: {damage[0]}")
        layers, images, names = LAYERS.load(db), IMAGES.load(db), REFERENCES.load(db)
        containers = {key for key, _ in db.rows("containers")}
    except msgspec.MsgspecError as error:
        raise System(f"state.db holds a row that cannot be read: {error}") from error
    finally:
        db.close()
    complaints = [text for key, row in images.items() for text in _image(key, row, layers)]
    complaints += _names({text: row.image for text, row in names.items()}, images)
    complaints += check_layers(Content(data_root), layers)
    complaints += check_writable(data_root / "snapshots", containers, layers)
    return Checked(len(layers), len(images), len(names), len(containers), complaints)


def _image(key: str, row: ImageRow, layers: Mapping[str, Layer]) -> Iterator[str]:
    if image_id(row.document) != key:
        yield f"image {key}: its configuration has another digest: {image_id(row.document)}"
    try:
        document = read_document(row.document)
    except InvalidParameter as error:
        yield f"image {key}: {error}"
        return
    for chain_id in chain_ids(document.rootfs.diff_ids if document.rootfs else ()):
        if chain_id not in layers:
            yield f"image {key}: its layer {chain_id} is not there"


def _names(names: Mapping[str, str], images: Mapping[str, ImageRow]) -> Iterator[str]:
    for text, image in names.items():
        if image not in images:
            yield f"name {text}: its image {image} is not there"
        try:
            parse_reference(text)
        except InvalidParameter as error:
            yield f"name {text}: {error}"
