"""Images on the wire. Source: Image, ImageSummary, ImageHistoryResponseItem, ImageDeleteResponseItem and
CreateImageInfo of the API; nulls as dockerd 20.10.24 sends them."""

from msgspec import UNSET, Struct, UnsetType, field

from lighterman.apitypes.container import ContainerConfig
from lighterman.apitypes.wire import Wire


class ImageSummary(Wire, frozen=True, kw_only=True):
    """One line of ImageList. Sizes in bytes, -1 is not computed."""

    containers: int = -1
    created: int
    """Seconds since the epoch."""
    id: str
    labels: dict[str, str] | None
    parent_id: str = ""
    repo_digests: list[str] | None
    repo_tags: list[str] | None
    shared_size: int = -1
    size: int
    virtual_size: int | UnsetType = UNSET
    """The same once more; gone since 1.44."""


class GraphDriver(Wire, frozen=True):
    """Where the file system lies on the host."""

    data: dict[str, str] | None
    name: str


class RootFS(Wire, frozen=True, omit_defaults=True):
    type: str
    layers: list[str] | None = None


class ImageMetadata(Wire, frozen=True):
    """Facts of this engine, not of the image."""

    last_tag_time: str


class ImageInspect(Wire, frozen=True, kw_only=True):
    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str
    comment: str
    created: str
    container: str
    container_config: ContainerConfig
    docker_version: str
    author: str
    config: ContainerConfig | None
    architecture: str
    variant: str | UnsetType = UNSET
    os: str
    os_version: str | UnsetType = UNSET
    size: int
    virtual_size: int | UnsetType = UNSET
    graph_driver: GraphDriver
    root_fs: RootFS = field(name="RootFS")
    metadata: ImageMetadata


class HistoryItem(Wire, frozen=True, kw_only=True):
    comment: str
    created: int
    """Seconds since the epoch."""
    created_by: str
    id: str
    """The image's id for the newest item, "<missing>" for the others."""
    size: int
    tags: list[str] | None


class ImageDeleted(Wire, frozen=True, omit_defaults=True):
    """One thing that a delete did: a name taken away, or an image or layer removed."""

    untagged: str = ""
    deleted: str = ""


class ImagesPruned(Wire, frozen=True):
    images_deleted: list[ImageDeleted] | None
    space_reclaimed: int


class ImageCommitted(Wire, frozen=True):
    id: str


class ProgressDetail(Struct, frozen=True, omit_defaults=True):
    """Bytes so far and, where known, in all."""

    current: int = 0
    total: int = 0


class ErrorDetail(Struct, frozen=True, omit_defaults=True):
    code: int = 0
    message: str = ""


class Progress(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One message of a progress stream (pull, load, import, push, build).

    Source: CreateImageInfo; the order of the keys as Docker's jsonmessage writes them.
    """

    stream: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    progress_detail: ProgressDetail | UnsetType = field(name="progressDetail", default=UNSET)
    progress: str | UnsetType = UNSET
    """The bar, as a terminal of 80 columns shows it; empty is absent."""
    id: str | UnsetType = UNSET
    error_detail: ErrorDetail | UnsetType = field(name="errorDetail", default=UNSET)
    error: str | UnsetType = UNSET
    aux: dict[str, str | int] | UnsetType = UNSET


def failure(message: str, *, code: int = 0) -> Progress:
    """The last message of a stream that broke after its head was sent."""
    return Progress(error_detail=ErrorDetail(code=code, message=message), error=message)
