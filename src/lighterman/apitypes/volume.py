"""Volumes on the wire. Source: Volume and the Volume operations of the API.
Nulls as dockerd 20.10 writes them.
"""

from typing import Any

from msgspec import UNSET, UnsetType

from lighterman.apitypes.wire import Wire


class VolumeUsage(Wire, frozen=True):
    """Bytes on disk, and how many containers refer to it; -1 is not known."""

    ref_count: int
    size: int


class Volume(Wire, frozen=True):
    """`created_at` is RFC 3339 in whole seconds, as dockerd has it."""

    created_at: str
    driver: str
    labels: dict[str, str] | None
    mountpoint: str
    name: str
    options: dict[str, str] | None
    scope: str = "local"
    status: dict[str, Any] | UnsetType = UNSET
    usage_data: VolumeUsage | UnsetType = UNSET


class VolumeCreateBody(Wire, frozen=True):
    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class VolumeListResponse(Wire, frozen=True):
    volumes: list[Volume]
    warnings: list[str] | None = None


class VolumePruneResponse(Wire, frozen=True):
    volumes_deleted: list[str]
    space_reclaimed: int
