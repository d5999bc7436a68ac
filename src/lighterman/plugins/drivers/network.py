"""Network drivers. Source: docs/remote.md and drivers/remote of libnetwork, as moby 20.10 has it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from lighterman.plugins.client import Answer, PluginClient
from lighterman.plugins.errors import CallFailed, DriverRefused, StatusRefused
from lighterman.plugins.interfaces import Interface, IpamData, Joined, StaticRoute

TIMEOUT_S = 60.0
_CONNECTED = 1
A = TypeVar("A", bound=Answer)


class _Capability(Answer):
    scope: str = ""


class _Interface(Struct, rename="pascal"):
    address: str = ""
    address_ipv6: str = msgspec.field(name="AddressIPv6", default="")
    mac_address: str = ""


class _Endpoint(Answer):
    interface: _Interface | None = None


class _Info(Answer):
    value: dict[str, Any] | None = None


class _InterfaceName(Struct, rename="pascal"):
    src_name: str = ""
    dst_prefix: str = ""


class _Route(Struct, rename="pascal"):
    destination: str = ""
    route_type: int = 0
    next_hop: str = ""


class _Joined(Answer):
    interface_name: _InterfaceName | None = None
    gateway: str = ""
    gateway_ipv6: str = msgspec.field(name="GatewayIPv6", default="")
    static_routes: list[_Route] | None = None
    disable_gateway_service: bool = False


class RemoteNetworkDriver:
    """A driver behind a socket."""

    def __init__(self, client: PluginClient) -> None:
        self._client = client

    async def scope(self) -> str:
        told = await self._call("GetCapabilities", None, _Capability)
        if told.scope not in ("local", "global"):
            raise CallFailed(f"invalid capability: expecting 'local' or 'global', got {told.scope}")
        return told.scope

    async def create_network(
        self, network: str, options: Mapping[str, Any], ipv4: Sequence[IpamData], ipv6: Sequence[IpamData]
    ) -> None:
        body = {
            "NetworkID": network,
            "Options": options,
            "IPv4Data": [_data(each) for each in ipv4],
            "IPv6Data": [_data(each) for each in ipv6],
        }
        await self._call("CreateNetwork", body, Answer)

    async def delete_network(self, network: str) -> None:
        await self._call("DeleteNetwork", {"NetworkID": network}, Answer)

    async def create_endpoint(
        self, network: str, endpoint: str, interface: Interface, options: Mapping[str, Any]
    ) -> Interface:
        wished = {
            "Address": interface.address,
            "AddressIPv6": interface.address_ipv6,
            "MacAddress": interface.mac_address,
        }
        body = {**_ids(network, endpoint), "Interface": wished, "Options": options}
        told = await self._call("CreateEndpoint", body, _Endpoint)
        decided = told.interface or _Interface()
        return Interface(decided.address, decided.address_ipv6, decided.mac_address)

    async def delete_endpoint(self, network: str, endpoint: str) -> None:
        await self._call("DeleteEndpoint", _ids(network, endpoint), Answer)

    async def endpoint_info(self, network: str, endpoint: str) -> Mapping[str, Any]:
        return (await self._call("EndpointOperInfo", _ids(network, endpoint), _Info)).value or {}

    async def join(self, network: str, endpoint: str, sandbox_key: str, options: Mapping[str, Any]) -> Joined:
        body = {**_ids(network, endpoint), "SandboxKey": sandbox_key, "Options": options}
        told = await self._call("Join", body, _Joined)
        name = told.interface_name or _InterfaceName()
        return Joined(
            source=name.src_name,
            prefix=name.dst_prefix,
            gateway=told.gateway,
            gateway_ipv6=told.gateway_ipv6,
            routes=tuple(map(_route, told.static_routes or ())),
            disable_gateway_service=told.disable_gateway_service,
        )

    async def leave(self, network: str, endpoint: str) -> None:
        await self._call("Leave", _ids(network, endpoint), Answer)

    async def program_external_connectivity(
        self, network: str, endpoint: str, options: Mapping[str, Any]
    ) -> None:
        await self._call_if_there(
            "ProgramExternalConnectivity", {**_ids(network, endpoint), "Options": options}
        )

    async def revoke_external_connectivity(self, network: str, endpoint: str) -> None:
        await self._call_if_there("RevokeExternalConnectivity", _ids(network, endpoint))

    async def _call_if_there(self, method: str, body: Mapping[str, Any]) -> None:
        """A method that a driver need not have."""
        try:
            await self._call(method, body, Answer)
        except StatusRefused as error:
            if error.status != 404:
                raise

    async def _call(self, method: str, body: object, kind: type[A]) -> A:
        try:
            return await self._client.call(f"NetworkDriver.{method}", body, kind, timeout_s=TIMEOUT_S)
        except DriverRefused as error:
            raise DriverRefused(f"remote: {error}") from error


def _route(told: _Route) -> StaticRoute:
    """A connected route has no next hop, whatever stands there."""
    return StaticRoute(told.destination, "" if told.route_type == _CONNECTED else told.next_hop)


def _ids(network: str, endpoint: str) -> dict[str, Any]:
    return {"NetworkID": network, "EndpointID": endpoint}


def _data(data: IpamData) -> dict[str, Any]:
    told: dict[str, Any] = {"AddressSpace": data.address_space, "Pool": data.pool}
    if data.gateway:
        told["Gateway"] = data.gateway
    if data.aux_addresses:
        told["AuxAddresses"] = data.aux_addresses
    return told
