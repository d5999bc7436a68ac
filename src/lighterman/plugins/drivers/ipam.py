"""IPAM drivers. Source: docs/ipam.md and ipams/remote of libnetwork, as moby 20.10 has it."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from lighterman.plugins.client import Answer, PluginClient
from lighterman.plugins.errors import CallFailed, DriverRefused, NoAnswer
from lighterman.plugins.interfaces import AddressPool, IpamCapabilities

TIMEOUT_S = 60.0
A = TypeVar("A", bound=Answer)


class _Capability(Answer):
    requires_mac_address: bool = msgspec.field(name="RequiresMACAddress", default=False)
    requires_request_replay: bool = False


class _Spaces(Answer):
    local_default_address_space: str = ""
    global_default_address_space: str = ""


class _Pool(Answer):
    pool_id: str = msgspec.field(name="PoolID", default="")
    pool: str = ""
    data: dict[str, str] | None = None


class _Address(Answer):
    address: str = ""
    data: dict[str, str] | None = None


class RemoteIpamDriver:
    """A driver behind a socket."""

    def __init__(self, client: PluginClient) -> None:
        self._client = client

    async def capabilities(self) -> IpamCapabilities:
        """Not all drivers have capabilities: then it needs nothing. Raises: NoAnswer."""
        try:
            told = await self._call("GetCapabilities", None, _Capability)
        except NoAnswer:
            raise
        except (CallFailed, DriverRefused):
            return IpamCapabilities()
        return IpamCapabilities(told.requires_mac_address, told.requires_request_replay)

    async def default_address_spaces(self) -> tuple[str, str]:
        told = await self._call("GetDefaultAddressSpaces", None, _Spaces)
        return told.local_default_address_space, told.global_default_address_space

    async def request_pool(
        self, space: str, pool: str, sub_pool: str, options: Mapping[str, str], *, v6: bool
    ) -> AddressPool:
        body = {"AddressSpace": space, "Pool": pool, "SubPool": sub_pool, "Options": options, "V6": v6}
        told = await self._call("RequestPool", body, _Pool)
        return AddressPool(told.pool_id, told.pool, told.data or {})

    async def release_pool(self, pool: str) -> None:
        await self._call("ReleasePool", {"PoolID": pool}, Answer)

    async def request_address(
        self, pool: str, address: str, options: Mapping[str, str] | None
    ) -> tuple[str, Mapping[str, str]]:
        body = {"PoolID": pool, "Address": address, "Options": options}
        told = await self._call("RequestAddress", body, _Address)
        if not told.address:
            raise CallFailed("No address returned")
        return told.address, told.data or {}

    async def release_address(self, pool: str, address: str) -> None:
        await self._call("ReleaseAddress", {"PoolID": pool, "Address": address}, Answer)

    async def _call(self, method: str, body: object, kind: type[A]) -> A:
        try:
            return await self._client.call(f"IpamDriver.{method}", body, kind, timeout_s=TIMEOUT_S)
        except DriverRefused as error:
            raise DriverRefused(f"remote: {error}") from error
