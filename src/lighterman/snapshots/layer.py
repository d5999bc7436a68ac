"""What is known of a layer, as a row."""

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from lighterman.db import Rows


class Layer(Struct, frozen=True):
    """An immutable layer. Its key is its chain id: the digest that stands for it and all below it."""

    directory: str
    """Below `layers/`; random, as short as mount options like it."""
    parent: str
    """Chain id of the layer below, "" for the lowest."""
    diff_id: str
    blob: str
    """Digest of the compressed tar that it was unpacked from."""
    blob_bytes: int
    media_type: str
    size_bytes: int
    """Sum of its files."""
    tar_bytes: int
    """Of the tar that the blob holds."""


ROWS: Rows[Layer] = Rows("layers", Layer)


def chain(layers: dict[str, Layer], top: str | None) -> list[str]:
    """Chain ids from `top` down to the lowest. Raises: KeyError when one is missing."""
    found: list[str] = []
    while top:
        found.append(top)
        top = layers[top].parent
    return found


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain ids of layers, lowest first. Source: OCI image-spec config.md, Layer ChainID."""
    chain: list[str] = []
    for diff_id in diff_ids:
        below = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append(f"sha256:{hashlib.sha256(below.encode()).hexdigest()}" if below else diff_id)
    return tuple(chain)
