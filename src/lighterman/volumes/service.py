"""The room itself: rows, directories and mounts."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from msgspec import UNSET, structs
from msgspec.msgpack import decode, encode

from lighterman.apitypes import volume as wire
from lighterman.content import CountUsage, JobFailed, Workers
from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError, System
from lighterman.events import Events
from lighterman.lib.effects import in_thread, to_end
from lighterman.lib.filters import Filters
from lighterman.plugins.errors import REFUSED
from lighterman.volumes import directories, trash
from lighterman.volumes.drivers import DriverNames, DriverVolumes, FindDriver
from lighterman.volumes.errors import (
    MountFailed,
    NameTaken,
    NoSuchVolume,
    OtherDriver,
    StaleVolume,
    VolumeInUse,
)
from lighterman.volumes.patience import patiently
from lighterman.volumes.volume import (
    LOCAL,
    MountPlan,
    VolumeRow,
    check_create,
    is_asked_for,
    mount_plan,
    on_the_wire,
)

Users = Callable[[str], Sequence[str]]
"""The ids of all containers, running or not, that refer to the volume of this name."""
MOUNT_S, LOOK_S, COUNT_S = 60.0, 10.0, 30.0
"""How long who needs it waits for what may be on another host: its mount, a look into it, its size."""
_VISITS = "+"
"""Stands behind the container's id in the holder that is only its visitor."""
_ROWS: Rows[VolumeRow] = Rows("volumes", VolumeRow)


class Volumes:
    """All volumes of this engine."""

    def __init__(
        self,
        root: Path,
        db: Database,
        events: Events,
        users: Users,
        workers: Workers,
        driver: FindDriver,
        driver_names: DriverNames,
    ) -> None:
        self._root = root
        root.mkdir(mode=0o701, parents=True, exist_ok=True)
        self._db = db
        self._events = events
        self._users = users
        self._workers = workers
        self._drivers = DriverVolumes(driver, driver_names)
        self._rows = _ROWS.load(db)
        self._holders: dict[str, dict[str, int]] = {}  # name -> container -> mounts told
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # while somebody has it
        self.owner = (0, 0)
        """Uid and gid that new volumes of ours are given."""
        self.trash_s = 0
        """How long pruned volumes can be brought back; 0: they are gone at once."""

    @classmethod
    async def open(
        cls,
        *,
        root: Path,
        db: Database,
        events: Events,
        users: Users,
        workers: Workers,
        driver: FindDriver,
        driver_names: DriverNames,
    ) -> Volumes:
        """The room over `root`, the directory "volumes" of the data root."""
        return cls(root, db, events, users, workers, driver, driver_names)

    async def close(self) -> None:
        """Give up what is asked of plugins in the background."""
        await self._drivers.close()

    def users_of_driver(self, driver: str) -> Sequence[str]:
        """The names of the volumes that a plugin has, by its name."""
        return [row.name for row in self._rows.values() if row.driver == driver]

    async def reconcile(self, holders: Collection[tuple[str, str]]) -> None:
        """At start: `holders` are (volume name, container id) of what runs.

        Mounts that nobody holds are undone, removals that were cut short are finished, a directory whose
        row was never written is taken away if it is empty and adopted if it is not.
        """
        await in_thread(self._empty_trash)
        self._empty_trash_later()
        for name, holder in holders:
            self._holders.setdefault(name, {})[holder] = 1
        tidy = partial(
            directories.tidy, self._root, known=set(self._rows), held={name for name, _holder in holders}
        )
        found = await in_thread(tidy)
        gone = [name for name in found.removed if name in self._rows]
        for name in await in_thread(trash.names, self._root):
            if name in self._rows and not directories.is_there(self.path(name)):
                gone.append(name)  # the engine ended on its way to the trash
        for name in found.adopted:
            self._rows[name] = await in_thread(self._found_row, name)
        await self._db.write(
            *(_ROWS.put(name, self._rows[name]) for name in found.adopted),
            *(_ROWS.delete(name) for name in gone),
        )
        for name in gone:
            del self._rows[name]
        theirs = [row for row in self._rows.values() if not row.is_ours]
        self._drivers.reconcile(theirs, holders)
        for row in theirs:
            await self._note(row, tuple(holder for holder in self._holders.get(row.name, {})))

    async def _note(self, row: VolumeRow, mounted: tuple[str, ...]) -> VolumeRow:
        """Write down for whom a plugin has been asked to mount one of its volumes."""
        if row.mounted != mounted:
            row = structs.replace(row, mounted=mounted)
            await self._db.write(_ROWS.put(row.name, row))
            self._rows[row.name] = row
        return row

    async def create(self, body: wire.VolumeCreateBody) -> wire.Volume:
        """For VolumeCreate: the new volume, or the one of that name; "" makes a name of 64 hex digits.

        Raises: BadVolume, OtherDriver, and for a plugin's NotFound, Conflict, System.
        """
        name = body.name or secrets.token_hex(32)
        driver = body.driver or LOCAL
        if driver == LOCAL:
            check_create(name, body.driver_opts or {})
        async with self._lock(name):
            known = await self._known(name)
            if known is None and body.name and not body.driver:
                known = await self._adopted(name)
            if known is None:
                row = VolumeRow(
                    name, time.time_ns(), body.driver_opts, body.labels, not body.name, driver=driver
                )
                row = await self._made(row)
                await self._db.write(_ROWS.put(name, row))
                self._rows[name] = row
                self._events.publish("volume", "create", name, {"driver": driver})
            elif body.driver and known.driver != driver:
                raise OtherDriver(name, known.driver)
        return on_the_wire(self.find(name), self.path(name))

    async def _known(self, name: str) -> VolumeRow | None:
        """The row of this name; that of what its plugin has no more is forgotten. Raises: StaleVolume."""
        row = self._rows.get(name)
        if row is None or row.is_ours:
            return row
        try:
            await self._drivers.inspect(row)
        except NoSuchVolume as error:
            if self._users_of(name):
                reason = (
                    "but the volume was not found in the driver -- you may need to remove containers "
                    "referencing this volume or force remove the volume to re-create it"
                )
                raise StaleVolume(name, row.driver, reason) from error
            await self._db.write(_ROWS.delete(name))
            del self._rows[name]
            return None
        except EngineError as error:
            reason = f"but got an error while checking the driver: {error}"
            raise StaleVolume(name, row.driver, reason) from error
        return row

    async def _adopted(self, name: str) -> VolumeRow | None:
        """The row of a volume that a plugin has without our doing, kept from now on."""
        row = await self._drivers.found(name)
        if row is not None:
            await self._db.write(_ROWS.put(name, row))
            self._rows[name] = row
        return row

    async def _made(self, row: VolumeRow) -> VolumeRow:
        """The row of a volume that is there now."""
        if row.is_ours:
            await in_thread(directories.make, self._root, row.name, self.owner)
            return row
        scope = await self._drivers.create(row.name, row.driver, row.options or {})
        return structs.replace(row, scope=scope)

    async def adopt(self, row: VolumeRow, fill: Callable[[Path], None]) -> bool:
        """Take over a volume of another engine of this host: `fill` makes the directory that it is given the
        name of, with all that is in it. False: there is one of this name, which stays as it is.

        A crash leaves all of it or nothing. Raises: BadVolume, System, and what `fill` raises.
        """
        check_create(row.name, row.options or {})
        async with self._lock(row.name):
            if row.name in self._rows or directories.is_there(self._root / row.name):
                return False
            place = await in_thread(directories.begin, self._root, row.name)
            try:
                await in_thread(fill, place / "_data")
                await in_thread(directories.finish, self._root, row.name, encode(row))
            except OSError as error:
                raise System(f"cannot take over volume {row.name}: {error}") from error
            finally:
                await to_end(in_thread(directories.delete_tree, place))  # finished, it is there no more
            await self._db.write(_ROWS.put(row.name, row))
            await in_thread(trash.forget_row, self._root, row.name)
            self._rows[row.name] = row
            self._events.publish("volume", "create", row.name, {"driver": row.driver})
            return True

    def find(self, name: str) -> VolumeRow:
        """Raises NoSuchVolume."""
        if name not in self._rows:
            raise NoSuchVolume(name)
        return self._rows[name]

    def path(self, name: str) -> Path:
        """The data directory of the volume, whether it exists or not; of a plugin's, where it is mounted."""
        row = self._rows.get(name)
        return self._root / name / "_data" if row is None or row.is_ours else self._drivers.path(name)

    async def inspect(self, name: str) -> wire.Volume:
        """For VolumeInspect, also of what plugins have without our doing.

        Raises: NoSuchVolume; System: its driver does not answer.
        """
        row = self._rows.get(name) or await self._drivers.found(name)
        if row is None:
            raise NoSuchVolume(name)
        told = on_the_wire(row, self.path(name))
        if row.is_ours:
            return told
        mountpoint, created_at, status = await self._drivers.inspect(row)
        return structs.replace(
            told,
            mountpoint="" if mountpoint == "." else mountpoint,
            created_at=created_at or told.created_at,
            status=dict(status) or UNSET,
        )

    async def list(self, filters: Filters) -> wire.VolumeListResponse:
        """For VolumeList, with what plugins have without our doing; a warning for each volume whose directory
        somebody took away, and for each plugin that does not answer."""
        ours = self._listed(filters)
        others, silent = await self._drivers.listed(filters.get("driver"))
        theirs = [
            structs.replace(on_the_wire(row, Path(told.mountpoint)), created_at=told.created_at)
            for row, told in others
            if row.name not in self._rows and is_asked_for(row, filters, used=bool(self._users_of(row.name)))
        ]
        volumes = sorted([*ours.volumes, *theirs], key=lambda volume: volume.name)
        return wire.VolumeListResponse(volumes, [*(ours.warnings or ()), *silent] or None)

    def _listed(self, filters: Filters) -> wire.VolumeListResponse:
        filters.check(("dangling", "driver", "label", "name"))
        filters.flag("dangling", default=False)  # it is wrong even where there is no volume
        rows = [
            row
            for row in self._rows.values()
            if is_asked_for(row, filters, used=bool(self._users_of(row.name)))
        ]
        rows.sort(key=lambda row: row.name)
        lost = [row.name for row in rows if row.is_ours and not directories.is_there(self.path(row.name))]
        warnings = [f"volume {name}: its directory {self.path(name)} is gone" for name in lost]
        return wire.VolumeListResponse(
            [on_the_wire(row, self.path(row.name)) for row in rows], warnings or None
        )

    async def usage(self) -> Sequence[wire.Volume]:
        """All volumes, with their bytes on disk and how many containers refer to them."""
        found: list[wire.Volume] = []
        for volume in self._listed(Filters()).volumes:
            size = await self._size_bytes(volume.name)
            used = wire.VolumeUsage(ref_count=len(self._users_of(volume.name)), size=size)
            found.append(structs.replace(volume, usage_data=used))
        return found

    async def _size_bytes(self, name: str) -> int:
        """Counted by a worker process, which nobody but the caller waits for; -1 where nobody answers.

        A directory of ours is counted for as long as it takes, what is mounted for a while.
        """
        row = self._rows.get(name)
        if row is not None and not row.is_ours:
            return -1  # as dockerd: it is the plugin's
        ours = row is not None and mount_plan(row.options) is None
        directory = -1
        try:
            directory = await patiently(
                partial(os.open, self.path(name), os.O_RDONLY | os.O_DIRECTORY), patience_s=LOOK_S
            )
            async with asyncio.timeout(None if ours else COUNT_S):
                return (await self._workers.run(CountUsage(), [directory])).size_bytes
        except (OSError, TimeoutError, JobFailed):  # it went away meanwhile, or its server did
            return -1
        finally:
            if directory >= 0:
                os.close(directory)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """For VolumeDelete; `force` is content with a volume, or a driver of it, that is not there.

        Raises: NoSuchVolume, VolumeInUse.
        """
        async with self._lock(name):
            if name not in self._rows:
                row = await self._drivers.found(name)
                if row is None and force:
                    return
                if row is None:
                    raise NoSuchVolume(name)
            else:
                row = self._rows[name]
            if users := self._users_of(name):
                raise VolumeInUse(name, users)
            if not row.is_ours:
                await self._drivers.remove(row, whatever_happens=force)
            removed = await in_thread(directories.set_aside, self._root, name)
            await self._db.write(_ROWS.delete(name))
            self._rows.pop(name, None)
            self._events.publish("volume", "destroy", name, {"driver": row.driver})
            await in_thread(directories.delete_tree, removed)

    async def _throw(self, name: str) -> None:
        """Remove one of ours that nobody uses, so that it can be brought back for a while."""
        async with self._lock(name):
            if users := self._users_of(name):
                raise VolumeInUse(name, users)
            row = self._rows[name]
            await in_thread(trash.throw, self._root, name, encode(row), int(time.time()))
            await self._db.write(_ROWS.delete(name))
            del self._rows[name]
            self._events.publish("volume", "destroy", name, {"driver": row.driver})
        self._empty_trash_later()

    def _empty_trash_later(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.trash_s + 1, loop.run_in_executor, None, self._empty_trash)

    def _found_row(self, name: str) -> VolumeRow:
        """The row of a directory that has none in the books: the one from the trash, or a new one."""
        row = trash.kept_row(self._root, name)
        return decode(row, type=VolumeRow) if row else VolumeRow(name, time.time_ns())

    def _empty_trash(self) -> None:
        trash.empty(self._root, time.time() - self.trash_s)

    async def bring_back(self, name: str) -> wire.Volume:
        """Undo the prune of a volume, as long as it is in the trash (ours).

        Raises: NoSuchVolume, NameTaken.
        """
        async with self._lock(name):
            if name in self._rows:
                raise NameTaken(name)
            if not await in_thread(trash.bring_back, self._root, name):
                raise NoSuchVolume(name)
            row = await in_thread(self._found_row, name)
            await self._db.write(_ROWS.put(name, row))
            await in_thread(trash.forget_row, self._root, name)
            self._rows[name] = row
            self._events.publish("volume", "create", name, {"driver": row.driver})
        return await self.inspect(name)

    async def prune(
        self, filters: Filters, *, anonymous_only: bool = False, dry_run: bool = False
    ) -> wire.VolumePruneResponse:
        """For VolumePrune: what no container refers to. Versions from 1.42 on take anonymous ones only,
        unless the filter `all` is set. A `dry_run` (ours) tells what would go, and removes nothing.

        What goes to the trash takes its room for a while: nothing is reclaimed yet.
        """
        filters.check(("all", "label", "label!"))
        everything = not anonymous_only or filters.flag("all", default=False)
        deleted, reclaimed = [], 0
        for row in list(self._rows.values()):
            unused = row.name in self._rows and not self._users_of(row.name)
            if unused and (everything or row.anonymous) and filters.prunes(row.labels):
                if not (self.trash_s and row.is_ours):
                    reclaimed += max(0, await self._size_bytes(row.name))
                    if not dry_run:
                        await self.remove(row.name, force=True)
                elif not dry_run:
                    await self._throw(row.name)
                deleted.append(row.name)
        if dry_run:
            return wire.VolumePruneResponse(deleted, reclaimed)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return wire.VolumePruneResponse(deleted, reclaimed)

    async def mount(
        self, name: str, holder: str, *, destination: str = "", writable: bool = True, propagation: str = ""
    ) -> Path:
        """The data directory, mounted if the volume wants it; `holder` is a container id.

        With `destination`, the place where the container sees it, the event `mount` is published, and
        `unmount` in the end; without it the engine itself only looks in. Raises: NoSuchVolume, MountFailed.
        """
        self.find(name)
        async with self._lock(name):
            row = self.find(name)
            if row.is_ours:
                await self._mount(self.path(name), mount_plan(row.options))
            elif holder not in self._holders.get(name, {}):
                await self._mount_theirs(row, holder)
            told = self._holders.setdefault(name, {}).setdefault(holder, 0)
            self._holders[name][holder] = told + bool(destination)
        if destination:
            self._tell_mount(name, holder, destination, writable=writable, propagation=propagation)
        return self.path(name)

    async def _mount_theirs(self, row: VolumeRow, holder: str) -> None:
        before, row = row.mounted, await self._note(row, (*row.mounted, holder))
        try:
            await self._drivers.mount(row, holder)
        except MountFailed as error:
            if isinstance(error.__cause__, REFUSED):  # else it may have done it all the same
                await self._note(row, before)
            raise

    async def unmount(self, name: str, holder: str) -> None:
        """Let go of the volume wherever `holder` has it; idempotent. The last one takes the mount away."""
        async with self._lock(name):
            holders, row = self._holders.get(name, {}), self._rows.get(name)
            if row is not None and not row.is_ours and holder in row.mounted:
                await self._drivers.unmount(row, holder)
                row = await self._note(row, tuple(each for each in row.mounted if each != holder))
                if not row.mounted:
                    self._drivers.forget(name)
            if holder not in holders:
                return
            if len(holders) == 1 and row is not None and row.is_ours and mount_plan(row.options):
                await in_thread(directories.unmount, self.path(name))
            told = holders.pop(holder)
            if not holders:
                del self._holders[name]
        for _ in range(told):
            self._tell_unmount(name, holder)

    def _tell_unmount(self, name: str, container: str) -> None:
        attributes = {"container": container, "driver": self.driver_of(name)}
        self._events.publish("volume", "unmount", name, attributes)

    def driver_of(self, name: str) -> str:
        """The driver of a volume; that of one that is not there would be ours."""
        row = self._rows.get(name)
        return row.driver if row is not None else LOCAL

    @asynccontextmanager
    async def visited(
        self, name: str, container: str, *, destination: str, writable: bool
    ) -> AsyncIterator[Path]:
        """The data directory, mounted while the block lasts, whether `container` runs, starts or stops.

        Told as a mount and an unmount, as dockerd does for who looks into a container.
        Raises: NoSuchVolume, MountFailed.
        """
        holder = f"{container}{_VISITS}{secrets.token_hex(4)}"
        path = await self.mount(name, holder)
        self._tell_mount(name, container, destination, writable=writable, propagation="")
        try:
            yield path
        finally:
            await to_end(self.unmount(name, holder))
            self._tell_unmount(name, container)

    def _tell_mount(
        self, name: str, container: str, destination: str, *, writable: bool, propagation: str
    ) -> None:
        attributes = {
            "container": container,
            "destination": destination,
            "driver": self.driver_of(name),
            "propagation": propagation,
            "read/write": str(writable).lower(),
        }
        self._events.publish("volume", "mount", name, attributes)

    async def is_empty(self, name: str) -> bool:
        """Whether nothing is in it, so that the image's files are copied up."""
        look = partial(directories.is_empty, self.path(name))
        try:
            return await patiently(look, patience_s=LOOK_S)
        except TimeoutError as error:
            raise MountFailed(self.path(name), f"no answer within {LOOK_S:g} s") from error

    async def _mount(self, path: Path, plan: MountPlan | None) -> None:
        if plan is None:
            await in_thread(directories.mount, path, None)
            return
        mount, undo = partial(directories.mount, path, plan), partial(directories.unmount, path)
        try:
            await patiently(mount, patience_s=MOUNT_S, undo=undo)
        except TimeoutError as error:
            reason = f"mount {plan.device}:{path}: no answer within {MOUNT_S:g} s"
            raise MountFailed(path, f"failed to mount local volume: {reason}") from error

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _users_of(self, name: str) -> Sequence[str]:
        holders = [holder.partition(_VISITS)[0] for holder in self._holders.get(name, {})]
        return list(dict.fromkeys([*self._users(name), *sorted(holders)]))
