"""Layers that are made by hand, and layers that are looked at: what a build needs beside containers.

A *draft* is a writable directory on top of a layer, without the places to mount on that a container's has. It
lies in an ingest directory: whatever becomes of its maker, the next start throws it away. Sealed, it can be
published as it lies.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from lighterman.content import Content
from lighterman.errdefs import System
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux import mount
from lighterman.snapshots import overlay
from lighterman.snapshots.init_layer import copy_root


class Draft(Struct, frozen=True):
    """A layer in the making. What is done to `root` ends up in `ingest`/diff."""

    ingest: Path
    root: Path

    async def seal(self) -> None:
        """Nothing more is written: `ingest` holds `diff` and nothing else. Idempotent. Raises: System."""
        try:
            await in_thread(_seal, self.ingest)
        except OSError as error:
            raise System(f"cannot unmount {self.root}: {error}") from error


class Drafts:
    """The drafts of one data root. `lowers` gives a layer's directories, topmost first; None has none."""

    def __init__(
        self, content: Content, lowers: Callable[[str | None], Sequence[Path]], *, by_fds: bool
    ) -> None:
        self._content = content
        self._lowers = lowers
        self._by_fds = by_fds

    @asynccontextmanager
    async def draft(self, parent: str | None) -> AsyncIterator[Draft]:
        """A draft on top of a layer (by chain id) or of nothing; gone in the end, unless it was published.

        Raises: System.
        """
        async with self.draft_over(self._lowers(parent)) as draft:
            yield draft

    @asynccontextmanager
    async def draft_over(self, lowers: Sequence[Path]) -> AsyncIterator[Draft]:
        """The same on top of directories, topmost first, that nobody changes meanwhile."""
        ingest = await in_thread(self._content.new_ingest)
        try:
            try:
                root = await in_thread(self._begin, lowers, ingest)
            except OSError as error:
                raise System(f"cannot prepare {ingest}: {error}") from error
            yield Draft(ingest, root)
        finally:
            await to_end(in_thread(self._end, ingest))

    @asynccontextmanager
    async def shown(self, chain_id: str | None) -> AsyncIterator[Path]:
        """A directory that shows a layer and all below it while the block lasts, only to be read.

        Raises: System.
        """
        lowers = self._lowers(chain_id)
        if len(lowers) == 1:
            yield lowers[0]
            return
        ingest = await in_thread(self._content.new_ingest)
        try:
            try:
                await in_thread(self._show, lowers, ingest / "merged")
            except OSError as error:
                raise System(f"cannot mount {ingest}: {error}") from error
            yield ingest / "merged"
        finally:
            await to_end(in_thread(self._end, ingest))

    def _begin(self, lowers: Sequence[Path], ingest: Path) -> Path:
        upper, work, merged = (ingest / name for name in ("diff", "work", "merged"))
        upper.mkdir(mode=0o755)
        if not lowers:
            return upper
        work.mkdir()
        merged.mkdir()
        copy_root(lowers[0], upper)
        # volatile: whoever publishes it syncs it
        overlay.mount_overlay(lowers, upper, work, merged, volatile=True, by_fds=self._by_fds)
        return merged

    def _show(self, lowers: Sequence[Path], target: Path) -> None:
        target.mkdir()
        if lowers:
            overlay.mount_view(lowers, target, by_fds=self._by_fds)

    def _end(self, ingest: Path) -> None:
        if (ingest / "merged").exists():
            _unmount(ingest / "merged")
        self._content.discard(ingest)


def _seal(ingest: Path) -> None:
    if (ingest / "merged").exists():
        _unmount(ingest / "merged")
        os.rmdir(ingest / "merged")
        shutil.rmtree(ingest / "work")


def _unmount(target: Path) -> None:
    if os.path.ismount(target):
        mount.umount(str(target))
