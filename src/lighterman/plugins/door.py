"""The door of the room: nothing behind it is loaded before there is a plugin, or somebody asks for one.

An engine without plugins pays for this file and for nothing else.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lighterman.lib.effects import in_thread
from lighterman.plugins.errors import NoSuchPlugin
from lighterman.plugins.surroundings import Surroundings
from lighterman.runtime import Exit, Recovered

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import (
        Authorization,
        IpamDriver,
        LogDriver,
        NetworkDriver,
        VolumeDriver,
    )
    from lighterman.plugins.service import Service


class Plugins:
    """All plugins of the engine. A driver is asked for by name, whoever implements it."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._service: Service | None = None
        self._opening = asyncio.Lock()
        self._has_rows = bool(around.db.rows("plugins"))

    async def opened(self) -> "Service":
        """The room, loaded now if it was not."""
        async with self._opening:
            if self._service is None:
                self._service = await in_thread(_load, self._around)
            return self._service

    @property
    def is_empty(self) -> bool:
        """Whether no plugin is installed, and none was while this engine lives."""
        return self._service is None and not self._has_rows

    # the engine's life

    async def recover(self) -> tuple[set[str], set[str]]:
        """At the start: the ids of managed plugins and the keys of their root file systems."""
        if not self._has_rows and not await in_thread(_was_used, self._around):
            return set(), set()
        service = await self.opened()
        return service.ids, service.snapshots

    async def reconcile(self, found: Sequence[Recovered]) -> None:
        """At the start, before anything that may use a plugin: what should run does, in the end."""
        if self._service is not None:
            await self._service.reconcile(found)

    def __contains__(self, plugin_id: str) -> bool:
        return self._service is not None and plugin_id in self._service

    async def on_exit(self, plugin_id: str, end: Exit) -> None:
        """The process of a managed plugin has ended."""
        if self._service is not None:
            await self._service.on_exit(plugin_id, end)

    async def close(self) -> None:
        """Let go; plugins go on."""
        if self._service is not None:
            await self._service.close()

    # drivers

    async def volume_driver(self, name: str) -> "VolumeDriver":
        """Raises: NoSuchPlugin, PluginDisabled, NoCapability, CallFailed, System; as all of these do."""
        return await (await self._asked(name)).volume_driver(name)

    async def network_driver(self, name: str, *, patient: bool = True) -> "NetworkDriver":
        """One that is not `patient` does not wait for a plugin that does not listen."""
        return await (await self._asked(name)).network_driver(name, patient=patient)

    async def ipam_driver(self, name: str, *, patient: bool = True) -> "IpamDriver":
        return await (await self._asked(name)).ipam_driver(name, patient=patient)

    async def log_driver(self, name: str) -> "LogDriver":
        return await (await self._asked(name)).log_driver(name)

    async def authorization(self, name: str) -> "Authorization":
        return await (await self._asked(name)).authorization(name)

    async def names(self, interface: str) -> Sequence[str]:
        """The names of all that have an interface, e.g. "VolumeDriver", and can be asked now."""
        if self.is_empty and not await in_thread(_announced, self._around.directories):
            return []
        return await (await self.opened()).names(interface)

    async def _asked(self, name: str) -> "Service":
        if not name:
            raise NoSuchPlugin(name)
        return await self.opened()


def _load(around: Surroundings) -> "Service":
    from lighterman.plugins.service import Service

    return Service(around)


def _was_used(around: Surroundings) -> bool:
    """Whether something may be left of a plugin whose row is gone."""
    return around.home.exists() or (around.exec_root / "plugins").exists()


def _announced(directories: Sequence[Path]) -> bool:
    """Whether a plugin of the host has said that it is there, or an extension may be."""
    return any(directory.is_dir() and any(directory.iterdir()) for directory in directories)
