"""What an image is, as a value."""

from dataclasses import dataclass

from lighterman.apitypes.container import ContainerConfig


@dataclass(frozen=True)
class Image:
    """An image whose layers are all here."""

    id: str
    """"sha256:..." of the configuration."""
    config: ContainerConfig
    """What containers made from it inherit."""
    chain: tuple[str, ...]
    """Chain ids of its layers, lowest first."""
    diff_ids: tuple[str, ...]
    size_bytes: int
    created_ns: int | None
    """None: the image does not say."""
    architecture: str
    os: str
    variant: str = ""

    @property
    def top_chain(self) -> str | None:
        """The chain id to put a writable layer on; None for an image without layers."""
        return self.chain[-1] if self.chain else None


@dataclass(frozen=True)
class ImageUser:
    """A container made from an image."""

    container_id: str
    name: str
    running: bool
