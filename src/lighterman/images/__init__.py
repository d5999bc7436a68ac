"""Images: names, configurations and what they are made of.

Three words. An *image* is a configuration (its digest is the id) and a chain of layers; a *reference*
(`busybox:latest`, `busybox@sha256:...`) names one; a *user* is a container made from it, which keeps it
from being deleted. Layers are in `snapshots`, blobs in `content`, the wire to registries in `registry`.
"""

from lighterman.images.changes import changed
from lighterman.images.commit import CommitWish, Step
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Image, ImageUser
from lighterman.images.images import Images, tagged_reference
from lighterman.images.limits import Limits
from lighterman.images.load import ImportWish
from lighterman.images.steps import Steps

__all__ = [
    "CommitWish",
    "Image",
    "ImageUser",
    "Images",
    "ImportWish",
    "Limits",
    "NoSuchImage",
    "Step",
    "Steps",
    "changed",
    "tagged_reference",
]
