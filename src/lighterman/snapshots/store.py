"""Snapshots and the layers below them."""

from collections.abc import Mapping
from pathlib import Path

from lighterman.content import Workers
from lighterman.db import Database


class Snapshots:
    """Layers and writable layers of one data root."""

    def __init__(self, root: Path, db: Database, workers: Workers) -> None:
        raise NotImplementedError

    async def prepare(self, key: str, parent: str | None) -> None:
        """Make the writable layer `key` on top of the layer `parent` (a chain id), or on nothing.

        Raises: Conflict when there is one, System.
        """
        raise NotImplementedError

    async def mount(self, key: str, *, volatile: bool = False) -> Path:
        """The merged root file system of `key`, mounted. Idempotent. Raises: NotFound, System."""
        raise NotImplementedError

    async def unmount(self, key: str) -> None:
        """Take the mount of `key` away. Idempotent; never waits for the disk."""
        raise NotImplementedError

    async def remove(self, key: str) -> None:
        """Unmount and remove the writable layer `key`. Idempotent; the bytes go in the background."""
        raise NotImplementedError

    async def size(self, key: str) -> int:
        """Bytes written above the image. Raises: NotFound."""
        raise NotImplementedError

    def dirs(self, key: str) -> Mapping[str, str]:
        """LowerDir, MergedDir, UpperDir and WorkDir of `key`, as GraphDriver.Data has them.

        Raises: NotFound.
        """
        raise NotImplementedError

    async def reconcile(self, keep: set[str], mounted: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """At start: keep the writable layers `keep`, and of their mounts those of `mounted`; the rest,
        unfinished work and the trash go."""
        raise NotImplementedError

    async def close(self) -> None:
        """Wait for what still works in the background; mounts stay."""
        raise NotImplementedError
