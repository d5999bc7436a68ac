"""What an image is, as a value, and how its configuration is read.

Sources: OCI image-spec config.md; the image configuration of Docker's image specification 1.2.
"""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct, field

from lighterman.apitypes.container import ContainerConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_time import parse_rfc3339
from lighterman.snapshots import chain_ids as chain_ids  # of an image, everybody asks here


class History(Struct, frozen=True, omit_defaults=True):
    """How a layer, or a setting without one, came to be."""

    created: str | None = None
    author: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(Struct, frozen=True):
    type: str = "layers"
    diff_ids: list[str] = []


class Document(Struct, frozen=True, omit_defaults=True):
    """An image's configuration as it is stored; its bytes' digest is the image's id."""

    architecture: str = ""
    author: str = ""
    comment: str = ""
    config: ContainerConfig | None = None
    container: str = ""
    container_config: ContainerConfig | None = None
    created: str | None = None
    docker_version: str = ""
    history: list[History] = []
    os: str = ""
    os_version: str = field(name="os.version", default="")
    rootfs: RootFS | None = None
    variant: str = ""


class Image(Struct, frozen=True):
    """An image whose layers are all here."""

    id: str
    """"sha256:..." of the configuration."""
    document: Document
    chain: tuple[str, ...]
    """Chain ids of its layers, lowest first."""
    size_bytes: int
    created_ns: int | None
    """None: the image does not say."""
    parent: str = ""
    """Id of the image that this one was committed or built from here."""

    @property
    def config(self) -> ContainerConfig:
        """What containers made from it inherit."""
        return self.document.config or ContainerConfig()

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the layers' tars, lowest first."""
        return tuple(self.document.rootfs.diff_ids) if self.document.rootfs else ()

    @property
    def top_chain(self) -> str | None:
        """The chain id to put a writable layer on; None for an image without layers."""
        return self.chain[-1] if self.chain else None

    @property
    def architecture(self) -> str:
        """In Go's spelling ("amd64"), "" when the image does not say."""
        return self.document.architecture

    @property
    def os(self) -> str:
        """ "linux" when the image does not say."""
        return self.document.os or "linux"

    @property
    def variant(self) -> str:
        """Of the architecture ("v7"), mostly ""."""
        return self.document.variant


class ImageUser(Struct, frozen=True):
    """A container made from an image."""

    container_id: str
    name: str
    running: bool


def read_document(raw: bytes) -> Document:
    """The configuration in `raw`. Raises: InvalidParameter when it is none that an image can have."""
    try:
        document = _decode(raw)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"invalid image configuration: {error}") from error
    if document.rootfs is None or document.rootfs.type != "layers":
        raise InvalidParameter("invalid rootfs in image configuration")
    return document


def _decode(raw: bytes) -> Document:
    try:
        return msgspec.json.decode(raw, type=Document)
    except msgspec.ValidationError:
        # some builders write null where Go reads a zero value
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), Document)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def instant_ns(text: str | None) -> int | None:
    """A time of a configuration; None when there is none or it is Go's zero."""
    if not text or text.startswith("0001-01-01"):
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        return None


def made_from(document: Document, parent: Document) -> bool:
    """Whether an image's history has one step more than its parent's. Source: checkValidParent of moby."""
    if not document.history and not parent.history:
        return True  # nobody has to have one
    return document.history[:-1] == parent.history and len(document.history) == len(parent.history) + 1


def image_id(raw: bytes) -> str:
    """The id of the image with this configuration."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def short(digest: str) -> str:
    """Twelve digits, as people see a digest or an id."""
    return digest.rpartition(":")[2][:12]
