"""Volumes of other drivers: the rows are ours, the data is a plugin's.

A plugin is asked to mount a volume once for each container that uses it (*holder*), and to unmount it as
often. The holders are written down before the plugin is asked, so an engine that was killed knows them.

What a plugin has without our doing is seen too: `listed` and `found` ask all of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lighterman.errdefs import EngineError, System
from lighterman.lib.background import Background
from lighterman.plugins.errors import REFUSED
from lighterman.volumes.errors import MountFailed, NoSuchVolume
from lighterman.volumes.volume import VolumeRow

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import DriverVolume, VolumeDriver

FindDriver = Callable[[str], Awaitable["VolumeDriver"]]
"""The driver of this name. Raises: NotFound, Conflict, System."""
DriverNames = Callable[[], Awaitable[Sequence[str]]]
"""The names of all drivers that are plugins and can be asked now."""
log = logging.getLogger(__name__)
INSPECT_S = 5.0
"""How long an inspect waits for what the plugin has to add."""


class DriverVolumes:
    """What is asked of plugins, and where they have mounted their volumes."""

    def __init__(self, find: FindDriver, names: DriverNames) -> None:
        self._find, self._names = find, names
        self._scopes: dict[str, str] = {}
        self._mountpoints: dict[str, Path] = {}
        self._background = Background()

    async def create(self, name: str, driver: str, options: Mapping[str, str]) -> str:
        """Let the plugin make a volume; its scope. Raises: NotFound, Conflict, System in Docker's words."""
        try:
            found = await self._find(driver)
        except EngineError as error:
            raise failed(f"create {name}: error looking up volume plugin {driver}", error) from error
        try:
            await found.create(name, options)
            return await self._scope(driver, found)
        except EngineError as error:
            raise failed(f"create {name}", error) from error

    async def _scope(self, driver: str, found: "VolumeDriver") -> str:
        """What a driver says once of all its volumes."""
        if driver not in self._scopes:
            self._scopes[driver] = await found.scope()
        return self._scopes[driver]

    async def remove(self, row: VolumeRow, *, whatever_happens: bool) -> None:
        """Let the plugin throw a volume away. Raises: NotFound, Conflict, System."""
        try:
            await (await self._find(row.driver)).remove(row.name)
        except EngineError as error:
            if not whatever_happens:
                raise failed(f"remove {row.name}", error) from error
            log.warning("op=remove volume=%s driver=%s: forgotten, error=%s", row.name, row.driver, error)
        self._mountpoints.pop(row.name, None)

    async def mount(self, row: VolumeRow, holder: str) -> Path:
        """Where the volume is, mounted for one holder. Raises: MountFailed."""
        try:
            told = await (await self._find(row.driver)).mount(row.name, holder)
        except EngineError as error:
            raise MountFailed(self.path(row.name), str(error)) from error
        if not told:
            raise MountFailed(self.path(row.name), f"the driver {row.driver} told no mountpoint")
        path = self._mountpoints[row.name] = Path(told)
        return path

    async def unmount(self, row: VolumeRow, holder: str) -> None:
        """Let go for one holder; a plugin that fails is told of in the log, since nobody can do more."""
        try:
            await (await self._find(row.driver)).unmount(row.name, holder)
        except EngineError as error:
            log.error("op=unmount volume=%s driver=%s outcome=failed error=%s", row.name, row.driver, error)

    def path(self, name: str) -> Path:
        """Where the volume was mounted last; "." where it was not."""
        return self._mountpoints.get(name, Path())

    def forget(self, name: str) -> None:
        """Nobody has it mounted any more."""
        self._mountpoints.pop(name, None)

    async def inspect(self, row: VolumeRow) -> tuple[str, str, Mapping[str, Any]]:
        """(mountpoint, created_at, status) as the plugin says. Raises: NoSuchVolume: it knows it no more;
        System: it does not answer."""
        try:
            async with asyncio.timeout(INSPECT_S):
                found = await (await self._find(row.driver)).get(row.name)
        except REFUSED as error:  # whatever it says, it has none to give
            raise NoSuchVolume(row.name) from error
        except EngineError as error:
            raise failed(f"get {row.name}", error) from error
        except TimeoutError as error:
            raise System(
                f"get {row.name}: the driver {row.driver} did not answer within {INSPECT_S:g} s"
            ) from error
        if found is None:
            raise NoSuchVolume(row.name)
        return found.mountpoint or str(self.path(row.name)), found.created_at, found.status

    async def found(self, name: str) -> VolumeRow | None:
        """The volume of this name that a plugin has without our doing, as a row would be. Who does not answer
        has none."""

        async def ask(driver: str) -> VolumeRow | None:
            try:
                async with asyncio.timeout(INSPECT_S):
                    asked = await self._find(driver)
                    if await asked.get(name) is None:
                        return None
                    return VolumeRow(name, 0, driver=driver, scope=await self._scope(driver, asked))
            except (EngineError, TimeoutError):
                return None

        answers = await asyncio.gather(*map(ask, await self._names()))
        return next((row for row in answers if row is not None), None)

    async def listed(self, only: Collection[str]) -> tuple[list[tuple[VolumeRow, "DriverVolume"]], list[str]]:
        """All that plugins say they have, of the drivers in `only` or of all, and who does not answer."""

        async def ask(driver: str) -> list[tuple[VolumeRow, "DriverVolume"]]:
            async with asyncio.timeout(INSPECT_S):
                asked = await self._find(driver)
                told, scope = await asked.list(), await self._scope(driver, asked)
            return [(VolumeRow(each.name, 0, driver=driver, scope=scope), each) for each in told]

        drivers = [name for name in await self._names() if not only or name in only]
        found, silent = [], []
        for driver, answer in zip(
            drivers, await asyncio.gather(*map(ask, drivers), return_exceptions=True), strict=True
        ):
            if isinstance(answer, (EngineError, TimeoutError)):
                silent.append(f"list: {driver}: {answer or f'no answer within {INSPECT_S:g} s'}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
        return found, silent

    def reconcile(self, rows: Collection[VolumeRow], held: Collection[tuple[str, str]]) -> None:
        """At start: ask where held volumes are, and let go of those whose holder is gone.

        A plugin that does not answer holds nobody up.
        """
        kept = set(held)
        for row in rows:
            if any(name == row.name for name, _ in kept):
                self._background.start(self._find_path, row)
            for holder in row.mounted:
                if (row.name, holder) not in kept:
                    self._background.start(self.unmount, row, holder)

    async def _find_path(self, row: VolumeRow) -> None:
        try:
            path = await (await self._find(row.driver)).path(row.name)
        except EngineError as error:
            log.error("op=find-volume volume=%s driver=%s error=%s", row.name, row.driver, error)
            return
        if path:
            self._mountpoints[row.name] = Path(path)

    async def close(self) -> None:
        """Give up what is asked in the background."""
        await self._background.close(cancel=True)


def failed(what: str, error: EngineError) -> EngineError:
    """The error with what was being done before it; its kind stays."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == EngineError.__module__)
    wrapped: EngineError = kind(f"{what}: {error}")
    return wrapped
