"""Layers as mounts.

Three words. A *layer* is an immutable directory named by its chain id; a *snapshot* is a writable
directory on top of a layer, named by the container that has it; a *mount* shows both as one root file
system. What is removed is renamed to the trash and gone at once; the bytes follow in the background.
The blobs that layers came from are in `content`, the images made of them in `images`.
"""

from lighterman.snapshots.drafts import Draft, Drafts
from lighterman.snapshots.layer import Layer, chain_ids
from lighterman.snapshots.store import NewLayer, Snapshots

__all__ = ["Draft", "Drafts", "Layer", "NewLayer", "Snapshots", "chain_ids"]
