"""What is kept of a volume."""

import msgspec


class VolumeRow(msgspec.Struct, frozen=True):
    """One volume of the local driver: the wish as it came. Its directory is known from its name."""

    name: str
    created_ns: int
    driver: str = "local"
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None
