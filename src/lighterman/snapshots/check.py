"""A full verification of layers and writable layers, for `lighterman check --store`. Blocking."""

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lighterman.content import Content
from lighterman.content.verify import unlike
from lighterman.snapshots.layer import Layer, chain_ids
from lighterman.snapshots.store import NO_PARENT, SCRATCH


def check_layers(content: Content, layers: Mapping[str, Layer]) -> Iterator[str]:
    """What is wrong with the layers that the rows tell of, and what lies there that is of no row."""
    for chain_id, layer in layers.items():
        yield from (f"layer {chain_id}: {text}" for text in _layer(content, chain_id, layer, layers))
    known = {layer.directory for layer in layers.values()} | {SCRATCH}
    for path in sorted((content.root / "layers").iterdir()):
        if path.name not in known:
            yield f"{path} belongs to no layer"
    for digest in sorted(content.digests() - {layer.blob for layer in layers.values()}):
        yield f"{content.path(digest)} belongs to no layer"


def _layer(content: Content, chain_id: str, layer: Layer, layers: Mapping[str, Layer]) -> Iterator[str]:
    if layer.parent and layer.parent not in layers:
        yield f"the layer below, {layer.parent}, is not there"
    # a chain id is made of the one below as if that were a digest of its own
    if chain_ids([*filter(None, [layer.parent]), layer.diff_id])[-1] != chain_id:
        yield "its row is of another layer"
    kept, blob = content.root / "layers" / layer.directory / "diff", content.path(layer.blob)
    missing = [path for path in (kept, blob) if not path.exists()]
    yield from (f"{path} is not there" for path in missing)
    if missing:
        return
    if blob.stat().st_size != layer.blob_bytes:
        yield f"its blob has {blob.stat().st_size} bytes, not {layer.blob_bytes}"
    scratch = content.root / "ingest" / f"check-{secrets.token_hex(8)}"  # a start empties this directory
    scratch.mkdir(mode=0o700)
    try:
        yield from unlike(blob, kept, scratch, digest=layer.blob, diff_id=layer.diff_id)
    finally:
        shutil.rmtree(scratch)


def check_writable(root: Path, containers: Collection[str], layers: Mapping[str, Layer]) -> Iterator[str]:
    """What is wrong with the writable layers below `root`, those of `containers`."""
    there = {path.name for path in root.iterdir()}
    yield from (f"container {each}: its writable layer is not there" for each in set(containers) - there)
    for name in sorted(there):
        if name not in containers:
            yield f"{root / name} belongs to no container"
            continue
        for part in ("diff", "work", "merged"):
            if not (root / name / part).is_dir():
                yield f"{root / name / part} is not there"
        parent = os.readlink(root / name / "parent")
        if parent != NO_PARENT and parent not in layers:
            yield f"container {name}: the layer {parent} that it stands on is not there"
