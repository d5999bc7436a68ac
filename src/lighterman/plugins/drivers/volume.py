"""Volume drivers. Source: "Docker volume plugins" of Docker's documentation; volume/drivers of moby 20.10."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from lighterman.plugins.client import Answer, PluginClient
from lighterman.plugins.errors import CallFailed, DriverRefused
from lighterman.plugins.interfaces import DriverVolume

LONG_S, SHORT_S = 120.0, 60.0
"""What dockerd waits for create, mount and unmount, and for the rest."""


class _Volume(Struct, rename="pascal"):
    name: str = ""
    mountpoint: str = ""
    created_at: str | None = None
    status: dict[str, Any] | None = None


class _Mountpoint(Answer):
    mountpoint: str = ""


class _Got(Answer):
    volume: _Volume | None = None


class _Listed(Answer):
    volumes: list[_Volume] | None = None


class _Capability(Struct, rename="pascal"):
    scope: str = ""


class _Capabilities(Answer):
    capabilities: _Capability | None = None


class RemoteVolumeDriver:
    """`host_path` says where a path of the plugin's is on the host."""

    def __init__(self, client: PluginClient, host_path: Callable[[str], str]) -> None:
        self._client, self._host_path = client, host_path

    async def create(self, name: str, options: Mapping[str, str]) -> None:
        await self._client.call(
            "VolumeDriver.Create", {"Name": name, "Opts": options}, Answer, timeout_s=LONG_S
        )

    async def remove(self, name: str) -> None:
        await self._client.call("VolumeDriver.Remove", {"Name": name}, Answer, timeout_s=SHORT_S)

    async def mount(self, name: str, user: str) -> str:
        return await self._mountpoint("VolumeDriver.Mount", {"Name": name, "ID": user}, LONG_S)

    async def unmount(self, name: str, user: str) -> None:
        await self._client.call("VolumeDriver.Unmount", {"Name": name, "ID": user}, Answer, timeout_s=LONG_S)

    async def path(self, name: str) -> str:
        return await self._mountpoint("VolumeDriver.Path", {"Name": name}, SHORT_S)

    async def get(self, name: str) -> DriverVolume | None:
        told = await self._client.call("VolumeDriver.Get", {"Name": name}, _Got, timeout_s=SHORT_S)
        return None if told.volume is None else self._volume(told.volume)

    async def list(self) -> Sequence[DriverVolume]:
        told = await self._client.call("VolumeDriver.List", {}, _Listed, timeout_s=SHORT_S)
        return [self._volume(each) for each in told.volumes or ()]

    async def scope(self) -> str:
        """Not all drivers are asked for it gladly: without an answer it is "local", as with dockerd."""
        try:
            told = await self._client.call("VolumeDriver.Capabilities", {}, _Capabilities, timeout_s=SHORT_S)
        except (CallFailed, DriverRefused):
            return "local"
        scope = (told.capabilities.scope if told.capabilities else "").lower()
        return scope if scope == "global" else "local"

    async def _mountpoint(self, method: str, body: Mapping[str, str], timeout_s: float) -> str:
        told = await self._client.call(method, body, _Mountpoint, timeout_s=timeout_s)
        return self._host_path(told.mountpoint) if told.mountpoint else ""

    def _volume(self, told: _Volume) -> DriverVolume:
        mountpoint = self._host_path(told.mountpoint) if told.mountpoint else ""
        return DriverVolume(told.name, mountpoint, told.created_at or "", told.status or {})
