"""The room itself: the verbs of the API, and the drivers that other rooms ask for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from lighterman.apitypes.image import Progress
from lighterman.apitypes.plugin import Plugin, PluginPrivilege
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import EngineError, InvalidParameter, System
from lighterman.lib.effects import in_thread
from lighterman.lib.filters import Filters
from lighterman.plugins import extensions, legacy
from lighterman.plugins.client import Address, Answer, PluginClient
from lighterman.plugins.config import CAPABILITIES, is_asked_for, provides
from lighterman.plugins.distribution import Distribution, PullWish
from lighterman.plugins.drivers.authorization import RemoteAuthorization
from lighterman.plugins.drivers.ipam import RemoteIpamDriver
from lighterman.plugins.drivers.log import RemoteLogDriver
from lighterman.plugins.drivers.network import RemoteNetworkDriver
from lighterman.plugins.drivers.volume import RemoteVolumeDriver
from lighterman.plugins.errors import (
    NoCapability,
    NoSuchPlugin,
    NotImplementedByPlugin,
    PluginDisabled,
    PluginEnabled,
    PluginInUse,
)
from lighterman.plugins.installing import Installer
from lighterman.plugins.interfaces import (
    Authorization,
    IpamDriver,
    LogDriver,
    NetworkDriver,
    VolumeDriver,
)
from lighterman.plugins.processes import Processes
from lighterman.plugins.row import PluginRow, on_the_wire
from lighterman.plugins.settings import changed
from lighterman.plugins.store import Store
from lighterman.plugins.surroundings import Surroundings
from lighterman.reference import Reference, parse_reference
from lighterman.registry import Emit, stream
from lighterman.runtime import Exit, Recovered

PATIENCE_S = 15.0
"""How long a call waits for a plugin that does not listen: dockerd's last attempt comes after so long."""


LOOK_S = 2.0
"""How long one that is only looked at, for a list, has to say what it is."""


class _Manifest(Answer):
    implements: list[str] | None = None


class _Legacy(Struct, frozen=True):
    """A plugin of the host that has said what it is."""

    address: Address
    client: PluginClient
    implements: frozenset[str]


class Service:
    """All plugins of this engine: managed ones, those of the host, and Python extensions."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._store = Store(around.db)
        self._processes = Processes(around)
        self._installer = Installer(around, self._store)
        self._distribution = Distribution(around, self._store, self._installer, self._tell)
        self._legacy: dict[str, _Legacy] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    # the engine's life

    @property
    def ids(self) -> set[str]:
        """Of all managed plugins."""
        return {row.id for row in self._store}

    @property
    def snapshots(self) -> set[str]:
        """The keys of their root file systems."""
        return {row.snapshot for row in self._store}

    def __contains__(self, plugin_id: str) -> bool:
        return plugin_id in self._store

    async def reconcile(self, found: Sequence[Recovered]) -> None:
        """At the engine's start: what runs goes on, what should run is started, all else goes."""
        states = {each.id: each.state for each in found if each.exec_id is None}
        await self._processes.tidy(list(self._store))
        async with asyncio.TaskGroup() as group:
            for row in self._store:
                if row.enabled:
                    group.create_task(self._processes.adopt(row, states.get(row.id)))
                elif row.id in states:  # the engine ended between a start and its record, or in a stop
                    group.create_task(self._processes.stop(row))

    async def on_exit(self, plugin_id: str, end: Exit) -> None:
        """A plugin's process has ended."""
        await self._processes.on_exit(self._store.get(plugin_id), end)

    async def close(self) -> None:
        """Let go; plugins go on."""
        await self._processes.close()

    # the API

    def list(self, filters: Filters) -> Sequence[Plugin]:
        """For PluginList. Raises: InvalidParameter."""
        filters.check(("capability", "enabled"))
        return [
            on_the_wire(row) for row in self._store if is_asked_for(row.config, filters, enabled=row.enabled)
        ]

    def inspect(self, ref: str) -> Plugin:
        """For PluginInspect. Raises: NoSuchPlugin, AmbiguousPlugin."""
        return on_the_wire(self._store.find(ref))

    async def privileges(self, remote: str, auth: AuthConfig | None) -> Sequence[PluginPrivilege] | None:
        """For GetPluginPrivileges. Raises: InvalidParameter."""
        reference, _ = remote_reference(remote)
        return await self._distribution.privileges(reference, auth)

    async def create(self, name: str, archive: AsyncIterator[bytes]) -> None:
        """For PluginCreate. Raises: InvalidParameter, PluginExists, System."""
        row = await self._installer.create(name, archive)
        self._tell(row.id, row.name, "create")

    async def pull(
        self, remote: str, name: str, allowed: Sequence[PluginPrivilege], auth: AuthConfig | None
    ) -> tuple[str, AsyncGenerator[Progress, None]]:
        """For PluginPull: the name that it gets, and how it goes.

        Raises: InvalidParameter, NotFound, Unauthorized, System; what fails later is the last message.
        """
        reference, tag = remote_reference(remote)
        name = local_name(reference, tag, name)
        wish = PullWish(reference, name, allowed, auth)

        async def work(emit: Emit) -> None:
            with self._store.reserved(name):
                await self._distribution.pull(wish, emit)

        if self._store.named(name) is not None:
            raise InvalidParameter(f"plugin {name} already exists")
        return name, await stream(work)

    async def upgrade(
        self, ref: str, remote: str, allowed: Sequence[PluginPrivilege], auth: AuthConfig | None
    ) -> tuple[str, AsyncGenerator[Progress, None]]:
        """For PluginUpgrade. Raises: as `pull`, PluginEnabled."""
        reference, tag = remote_reference(remote)
        name = local_name(reference, tag, ref)
        self._disabled(name)

        async def work(emit: Emit) -> None:
            async with self._lock(self._store.find(name).id):
                row = self._disabled(name)
                await self._distribution.upgrade(row, PullWish(reference, name, allowed, auth), emit)

        return name, await stream(work)

    def _disabled(self, ref: str) -> PluginRow:
        row = self._store.find(ref)
        if row.enabled:
            raise PluginEnabled(row.name, "plugin must be disabled before upgrading")
        return row

    async def push(self, ref: str, auth: AuthConfig | None) -> AsyncGenerator[Progress, None]:
        """For PluginPush. Raises: NoSuchPlugin; what fails later is the last message."""
        row = self._store.find(ref)
        reference = parse_reference(row.name)

        async def work(emit: Emit) -> None:
            await self._distribution.push(row, reference, auth, emit)

        return await stream(work)

    async def enable(self, ref: str, *, timeout_s: int) -> None:
        """For PluginEnable. Raises: NoSuchPlugin, PluginEnabled, StartFailed, System."""
        async with self._locked(ref) as row:
            if row.enabled:
                raise PluginEnabled(row.name, "plugin already enabled")
            await self._processes.start(row)
            await self._store.record(row, enabled=True, timeout_s=timeout_s)
        self._tell(row.id, ref, "enable")

    async def disable(self, ref: str, *, force: bool) -> None:
        """For PluginDisable. Raises: NoSuchPlugin, PluginInUse, PluginDisabled."""
        async with self._locked(ref) as row:
            if not force and self._is_used(row):
                raise PluginInUse(row.name)
            if not row.enabled:
                raise PluginDisabled(row.name, "plugin is already disabled")
            await self._end(row)
        self._tell(row.id, ref, "disable")

    async def remove(self, ref: str, *, force: bool) -> None:
        """For PluginDelete. Raises: NoSuchPlugin, PluginInUse, PluginEnabled."""
        async with self._locked(ref) as row:
            if not force:
                if self._is_used(row):
                    raise PluginInUse(row.name)
                if row.enabled:
                    raise PluginEnabled(row.name)
            if row.enabled:
                row = await self._end(row)
            await self._store.forget(row.id)
            # from here on the next start would finish it
            await self._processes.discard(row.id)
            await self._around.snapshots.remove(row.snapshot)
        self._tell(row.id, ref, "remove")

    async def set(self, ref: str, wishes: Sequence[str]) -> None:
        """For PluginSet. Raises: NoSuchPlugin, InvalidParameter."""
        async with self._locked(ref) as row:
            if row.enabled:
                raise InvalidParameter("cannot set on an active plugin, disable plugin before setting")
            config, settings = changed(row.config, row.settings, wishes)
            await self._store.record(row, config=config, settings=settings)

    def _is_used(self, row: PluginRow) -> bool:
        """Whether something names it as its driver, with the tag or without."""
        names = {row.name, row.name.removesuffix(":latest")}
        return any(self._around.users(name) for name in names)

    async def _end(self, row: PluginRow) -> PluginRow:
        row = await self._store.record(row, enabled=False)
        await self._processes.stop(row)
        return row

    def _tell(self, subject: str, name: str, action: str) -> None:
        self._around.events.publish("plugin", action, subject, {"name": name})

    def _lock(self, plugin_id: str) -> asyncio.Lock:
        return self._locks.setdefault(plugin_id, asyncio.Lock())

    @asynccontextmanager
    async def _locked(self, ref: str) -> AsyncIterator[PluginRow]:
        """The plugin as it is once nobody else changes it. Raises: NoSuchPlugin, AmbiguousPlugin."""
        plugin_id = self._store.find(ref).id
        async with self._lock(plugin_id):
            yield self._store.get(plugin_id)

    # drivers

    async def volume_driver(self, name: str) -> VolumeDriver:
        """Raises: as `_found`."""
        found = await self._found(name, "VolumeDriver")
        if isinstance(found, PluginRow):
            row = found
            return RemoteVolumeDriver(self._client(row), lambda path: self._processes.host_path(row, path))
        if isinstance(found, _Legacy):
            return RemoteVolumeDriver(found.client, str)
        return found  # type: ignore[no-any-return]  # an extension, which says so itself

    async def network_driver(self, name: str, *, patient: bool = True) -> NetworkDriver:
        """Raises: as `_found`."""
        found = await self._found(name, "NetworkDriver", patient=patient)
        client = self._client_of(found, patient=patient)
        return found if client is None else RemoteNetworkDriver(client)

    async def ipam_driver(self, name: str, *, patient: bool = True) -> IpamDriver:
        """Raises: as `_found`."""
        found = await self._found(name, "IpamDriver", patient=patient)
        client = self._client_of(found, patient=patient)
        return found if client is None else RemoteIpamDriver(client)

    async def log_driver(self, name: str) -> LogDriver:
        """Raises: as `_found`."""
        found = await self._found(name, "LogDriver")
        if isinstance(found, PluginRow):
            row = found
            return RemoteLogDriver(self._client(row), lambda path: self._processes.host_path(row, path))
        if isinstance(found, _Legacy):
            return RemoteLogDriver(found.client, str)
        return found  # type: ignore[no-any-return]

    async def authorization(self, name: str) -> Authorization:
        """Raises: as `_found`."""
        found = await self._found(name, "authz")
        client = self._client_of(found)
        return found if client is None else RemoteAuthorization(client)

    async def names(self, interface: str) -> Sequence[str]:
        """The names of all that have an interface and can be asked now; legacy ones are asked for it."""
        managed = [row.name for row in self._store if row.enabled and provides(row.config, interface)]
        found = {*managed, *await in_thread(extensions.names, interface)}
        for name in await in_thread(legacy.names, self._around.directories):
            if name not in found and await self._implements(name, interface):
                found.add(name)
        return sorted(found)

    async def _implements(self, name: str, interface: str) -> bool:
        try:
            plugin = await self._activated(name, patience_s=0.0)
        except EngineError:  # nobody listens there: it is no plugin today
            return False
        return interface in plugin.implements

    async def _found(self, name: str, interface: str, *, patient: bool = True) -> Any:
        """Who has an interface under this name: a row, a `_Legacy`, or the driver of an extension.

        Raises: NoSuchPlugin, PluginDisabled, NoCapability, CallFailed, System.
        """
        row = self._store.named(name)
        if row is not None:
            if not row.enabled:
                raise PluginDisabled(name)
            if not provides(row.config, interface):
                raise NoCapability(CAPABILITIES[interface])
            return row
        if (driver := await in_thread(extensions.load, interface, name)) is not None:
            return driver
        plugin = await self._activated(name, patience_s=self._patience_s if patient else 0.0)
        if interface not in plugin.implements:
            raise NotImplementedByPlugin
        return plugin

    async def _activated(self, name: str, *, patience_s: float) -> _Legacy:
        """Make the acquaintance of a plugin of the host. Raises: NoSuchPlugin, CallFailed, System."""
        async with self._lock(f"legacy {name}"):
            address = await in_thread(legacy.find, self._around.directories, name)
            if address is None:
                self._legacy.pop(name, None)
                raise NoSuchPlugin(name)
            if (known := self._legacy.get(name)) is not None and _same_place(known.address, address):
                return known
            timeout_s = self._around.timeout_s
            longest_s = LOOK_S if not patience_s else 30
            meeting = PluginClient(name, address, timeout_s=timeout_s or longest_s, patience_s=patience_s)
            try:
                told = await meeting.call("Plugin.Activate", None, _Manifest)
            except EngineError as error:
                raise System(f"legacy plugin: {error}") from error
            client = PluginClient(name, address, timeout_s=timeout_s, patience_s=self._patience_s)
            found = self._legacy[name] = _Legacy(address, client, frozenset(told.implements or ()))
            return found

    @property
    def _patience_s(self) -> float:
        return min(PATIENCE_S, self._around.timeout_s or PATIENCE_S)

    def _client(self, row: PluginRow) -> PluginClient:
        limits = [limit for limit in (row.timeout_s, self._around.timeout_s) if limit]
        address = Address(path=str(self._processes.socket(row)))
        timeout_s = min(limits) if limits else 0
        return PluginClient(
            row.name, address, timeout_s=timeout_s, patience_s=min(PATIENCE_S, timeout_s or PATIENCE_S)
        )

    def _client_of(self, found: Any, *, patient: bool = True) -> PluginClient | None:
        """None: an extension needs none."""
        client = self._client(found) if isinstance(found, PluginRow) else None
        if isinstance(found, _Legacy):
            client = found.client
        return client if client is None or patient else client.impatient()


def _same_place(one: Address, other: Address) -> bool:
    return (one.path, one.host) == (other.path, other.host)


def remote_reference(remote: str) -> tuple[Reference, str]:
    """What `remote` names, with a tag or a digest, and the tag that stood beside a digest.

    Raises: InvalidParameter.
    """
    reference = parse_reference(remote)
    if reference.digest:
        return reference.repository().with_digest(reference.digest), reference.tag
    return reference.with_default_tag(), ""


def local_name(reference: Reference, tag: str, name: str) -> str:
    """The name that a pulled plugin gets, as users type it: `name`, or where it came from.

    Raises: InvalidParameter. Source: getName of moby's plugin router.
    """
    if name:
        wished = parse_reference(name)
        if wished.digest:
            raise InvalidParameter("cannot use digest in plugin tag")
        return wished.with_default_tag().familiar()
    if reference.digest:
        repository = reference.repository()
        return (repository.with_tag(tag) if tag else repository.with_default_tag()).familiar()
    return reference.familiar()
