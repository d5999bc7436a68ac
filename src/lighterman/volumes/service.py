"""Signatures first; the rooms above type-check against them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from lighterman.apitypes import volume as wire
from lighterman.db import Database
from lighterman.events import Events
from lighterman.lib.filters import Filters
from lighterman.volumes.volume import VolumeRow

Users = Callable[[str], Sequence[str]]
"""The ids of all containers, running or not, that refer to the volume of this name."""


class Volumes:
    """All volumes of this engine."""

    @classmethod
    async def open(cls, *, root: Path, db: Database, events: Events, users: Users) -> Volumes:
        """The room over `root`, the directory "volumes" of the data root."""
        raise NotImplementedError

    async def reconcile(self, holders: Collection[tuple[str, str]]) -> None:
        """At start: `holders` are (volume name, container id) of what runs; other mounts are undone."""
        raise NotImplementedError

    async def create(self, body: wire.VolumeCreateBody) -> wire.Volume:
        """For VolumeCreate: the new volume, or the one of that name; "" makes a name of 64 hex digits."""
        raise NotImplementedError

    def find(self, name: str) -> VolumeRow:
        """Raises NotFound."""
        raise NotImplementedError

    def path(self, name: str) -> Path:
        """The data directory of the volume, whether it exists or not."""
        raise NotImplementedError

    def inspect(self, name: str) -> wire.Volume:
        """For VolumeInspect."""
        raise NotImplementedError

    def list(self, filters: Filters) -> wire.VolumeListResponse:
        """For VolumeList."""
        raise NotImplementedError

    async def remove(self, name: str, *, force: bool) -> None:
        """For VolumeDelete."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> wire.VolumePruneResponse:
        """For VolumePrune."""
        raise NotImplementedError

    async def mount(self, name: str, holder: str) -> Path:
        """The data directory, mounted if the volume wants it; `holder` is a container id."""
        raise NotImplementedError

    async def unmount(self, name: str, holder: str) -> None:
        """Idempotent; the last holder takes the mount away."""
        raise NotImplementedError

    async def is_empty(self, name: str) -> bool:
        """Whether nothing is in it, so that the image's files are copied up."""
        raise NotImplementedError
