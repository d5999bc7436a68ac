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

from msgspec import structs

from lighterman.apitypes import volume as wire
from lighterman.content import CountUsage, JobFailed, Workers
from lighterman.db import Database, Rows
from lighterman.events import Events
from lighterman.lib.effects import in_thread, to_end
from lighterman.lib.filters import Filters
from lighterman.volumes import directories
from lighterman.volumes.errors import MountFailed, NoSuchVolume, VolumeInUse
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

    def __init__(self, root: Path, db: Database, events: Events, users: Users, workers: Workers) -> None:
        self._root = root
        root.mkdir(mode=0o701, parents=True, exist_ok=True)
        self._db = db
        self._events = events
        self._users = users
        self._workers = workers
        self._rows = _ROWS.load(db)
        self._holders: dict[str, dict[str, int]] = {}  # name -> container -> mounts told
        self._locks: dict[str, asyncio.Lock] = {}

    @classmethod
    async def open(
        cls, *, root: Path, db: Database, events: Events, users: Users, workers: Workers
    ) -> Volumes:
        """The room over `root`, the directory "volumes" of the data root."""
        return cls(root, db, events, users, workers)

    async def reconcile(self, holders: Collection[tuple[str, str]]) -> None:
        """At start: `holders` are (volume name, container id) of what runs.

        Mounts that nobody holds are undone, removals that were cut short are finished, a directory whose
        row was never written is taken away if it is empty and adopted if it is not.
        """
        for name, holder in holders:
            self._holders.setdefault(name, {})[holder] = 1
        tidy = partial(
            directories.tidy, self._root, known=set(self._rows), held={name for name, _holder in holders}
        )
        found = await in_thread(tidy)
        gone = [name for name in found.removed if name in self._rows]
        for name in found.adopted:
            self._rows[name] = VolumeRow(name, time.time_ns())
        await self._db.write(
            *(_ROWS.put(name, self._rows[name]) for name in found.adopted),
            *(_ROWS.delete(name) for name in gone),
        )
        for name in gone:
            del self._rows[name]

    async def create(self, body: wire.VolumeCreateBody) -> wire.Volume:
        """For VolumeCreate: the new volume, or the one of that name; "" makes a name of 64 hex digits.

        Raises: BadVolume, NoSuchDriver.
        """
        name = body.name or secrets.token_hex(32)
        check_create(name, body.driver, body.driver_opts or {})
        async with self._lock(name):
            if name not in self._rows:
                row = VolumeRow(name, time.time_ns(), body.driver_opts, body.labels, not body.name)
                await in_thread(directories.make, self._root, name)
                await self._db.write(_ROWS.put(name, row))
                self._rows[name] = row
                self._events.publish("volume", "create", name, {"driver": LOCAL})
        return self.inspect(name)

    def find(self, name: str) -> VolumeRow:
        """Raises NoSuchVolume."""
        if name not in self._rows:
            raise NoSuchVolume(name)
        return self._rows[name]

    def path(self, name: str) -> Path:
        """The data directory of the volume, whether it exists or not."""
        return self._root / name / "_data"

    def inspect(self, name: str) -> wire.Volume:
        """For VolumeInspect. Raises NoSuchVolume."""
        return on_the_wire(self.find(name), self.path(name))

    def list(self, filters: Filters) -> wire.VolumeListResponse:
        """For VolumeList; a warning for each volume whose directory somebody took away."""
        filters.check(("dangling", "driver", "label", "name"))
        rows = [
            row
            for row in self._rows.values()
            if is_asked_for(row, filters, used=bool(self._users_of(row.name)))
        ]
        rows.sort(key=lambda row: row.name)
        lost = [row.name for row in rows if not directories.is_there(self.path(row.name))]
        warnings = [f"volume {name}: its directory {self.path(name)} is gone" for name in lost]
        return wire.VolumeListResponse(
            [on_the_wire(row, self.path(row.name)) for row in rows], warnings or None
        )

    async def usage(self) -> Sequence[wire.Volume]:
        """All volumes, with their bytes on disk and how many containers refer to them."""
        found: list[wire.Volume] = []
        for volume in self.list(Filters()).volumes:
            size = await self._size_bytes(volume.name)
            used = wire.VolumeUsage(ref_count=len(self._users_of(volume.name)), size=size)
            found.append(structs.replace(volume, usage_data=used))
        return found

    async def _size_bytes(self, name: str) -> int:
        """Counted by a worker process, which nobody but the caller waits for; -1 where nobody answers.

        A directory of ours is counted for as long as it takes, what is mounted for a while.
        """
        row = self._rows.get(name)
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
        """For VolumeDelete; `force` is content with a volume that is not there.

        Raises: NoSuchVolume, VolumeInUse.
        """
        async with self._lock(name):
            if name not in self._rows:
                if force:
                    return
                raise NoSuchVolume(name)
            users = self._users_of(name)
            if users:
                raise VolumeInUse(name, users)
            removed = await in_thread(directories.set_aside, self._root, name)
            await self._db.write(_ROWS.delete(name))
            del self._rows[name]
            self._events.publish("volume", "destroy", name, {"driver": LOCAL})
            await in_thread(directories.delete_tree, removed)

    async def prune(self, filters: Filters, *, anonymous_only: bool = False) -> wire.VolumePruneResponse:
        """For VolumePrune: what no container refers to. Versions from 1.42 on take anonymous ones only,
        unless the filter `all` is set."""
        filters.check(("all", "label", "label!"))
        everything = not anonymous_only or filters.flag("all", default=False)
        deleted, reclaimed = [], 0
        for row in list(self._rows.values()):
            unused = row.name in self._rows and not self._users_of(row.name)
            if unused and (everything or row.anonymous) and filters.prunes(row.labels):
                reclaimed += max(0, await self._size_bytes(row.name))
                await self.remove(row.name, force=True)
                deleted.append(row.name)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return wire.VolumePruneResponse(deleted, reclaimed)

    async def mount(
        self, name: str, holder: str, *, destination: str = "", writable: bool = True, propagation: str = ""
    ) -> Path:
        """The data directory, mounted if the volume wants it; `holder` is a container id.

        With `destination`, the place where the container sees it, the event `mount` is published, and
        `unmount` in the end; without it the engine itself only looks in. Raises: NoSuchVolume, MountFailed.
        """
        plan = mount_plan(self.find(name).options)
        async with self._lock(name):
            await self._mount(self.path(name), plan)
            told = self._holders.setdefault(name, {}).setdefault(holder, 0)
            self._holders[name][holder] = told + bool(destination)
        if destination:
            self._tell_mount(name, holder, destination, writable=writable, propagation=propagation)
        return self.path(name)

    async def unmount(self, name: str, holder: str) -> None:
        """Let go of the volume wherever `holder` has it; idempotent. The last one takes the mount away."""
        async with self._lock(name):
            holders = self._holders.get(name, {})
            if holder not in holders:
                return
            if len(holders) == 1 and name in self._rows and mount_plan(self._rows[name].options):
                await in_thread(directories.unmount, self.path(name))
            told = holders.pop(holder)
        for _ in range(told):
            self._events.publish("volume", "unmount", name, {"container": holder, "driver": LOCAL})

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
            self._events.publish("volume", "unmount", name, {"container": container, "driver": LOCAL})

    def _tell_mount(
        self, name: str, container: str, destination: str, *, writable: bool, propagation: str
    ) -> None:
        attributes = {
            "container": container,
            "destination": destination,
            "driver": LOCAL,
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
