"""What a plugin can be: the interfaces that the rooms above call, whoever implements them.

A managed plugin, a legacy one and a Python extension look the same here. An extension implements one of these
protocols and names itself as an entry point of the group `lighterman.<interface>` (docs/plugins.md). What
goes wrong is raised as an `EngineError`; its text is what the user reads.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct, field


class DriverVolume(Struct, frozen=True):
    """A volume as its driver knows it."""

    name: str
    mountpoint: str = ""
    """On the host; "" while it is not mounted."""
    created_at: str = ""
    """RFC 3339."""
    status: Mapping[str, Any] = field(default_factory=dict)


class VolumeDriver(Protocol):
    """`user` tells the mounts of one volume apart: each is mounted and unmounted once."""

    async def create(self, name: str, options: Mapping[str, str]) -> None: ...
    async def remove(self, name: str) -> None: ...
    async def mount(self, name: str, user: str) -> str:
        """The path on the host."""
        ...

    async def unmount(self, name: str, user: str) -> None: ...
    async def path(self, name: str) -> str:
        """The path on the host, "" while it is not mounted."""
        ...

    async def get(self, name: str) -> DriverVolume | None: ...
    async def list(self) -> Sequence[DriverVolume]: ...
    async def scope(self) -> str:
        """ "local" or "global"."""
        ...


class IpamData(Struct, frozen=True):
    """One subnet of a network, as network drivers hear of it. Texts with a prefix: "10.0.0.1/24"."""

    address_space: str
    pool: str
    gateway: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=dict)


class Interface(Struct, frozen=True):
    """An endpoint's addresses, with their prefixes; what a driver leaves empty stays as it was."""

    address: str = ""
    address_ipv6: str = ""
    mac_address: str = ""


class StaticRoute(Struct, frozen=True):
    """`next_hop` "": the destination is on the link."""

    destination: str
    next_hop: str = ""


class Joined(Struct, frozen=True):
    """What becomes of a sandbox that joins: `source`, a link of the host, moves in and is called
    `prefix` and a number; "": no link does. Who is led nowhere by the driver is led out by the engine, unless
    the driver has disabled this `gateway_service`."""

    source: str = ""
    prefix: str = ""
    gateway: str = ""
    gateway_ipv6: str = ""
    routes: Sequence[StaticRoute] = ()
    disable_gateway_service: bool = False


class NetworkDriver(Protocol):
    async def scope(self) -> str:
        """ "local" or "global"."""
        ...

    async def create_network(
        self, network: str, options: Mapping[str, Any], ipv4: Sequence[IpamData], ipv6: Sequence[IpamData]
    ) -> None: ...
    async def delete_network(self, network: str) -> None: ...
    async def create_endpoint(
        self, network: str, endpoint: str, interface: Interface, options: Mapping[str, Any]
    ) -> Interface:
        """What of the interface the driver has decided."""
        ...

    async def delete_endpoint(self, network: str, endpoint: str) -> None: ...
    async def endpoint_info(self, network: str, endpoint: str) -> Mapping[str, Any]: ...
    async def join(
        self, network: str, endpoint: str, sandbox_key: str, options: Mapping[str, Any]
    ) -> Joined: ...
    async def leave(self, network: str, endpoint: str) -> None: ...
    async def program_external_connectivity(
        self, network: str, endpoint: str, options: Mapping[str, Any]
    ) -> None: ...
    async def revoke_external_connectivity(self, network: str, endpoint: str) -> None: ...


class AddressPool(Struct, frozen=True):
    """What an IPAM driver gives: its own id of the pool, and a subnet."""

    id: str
    pool: str
    data: Mapping[str, str] = field(default_factory=dict)


class IpamCapabilities(Struct, frozen=True):
    """What an IPAM driver needs: the MAC with each wish for an address; to be asked again for all that it
    gave when the engine starts anew."""

    requires_mac_address: bool = False
    requires_request_replay: bool = False


class IpamDriver(Protocol):
    async def capabilities(self) -> IpamCapabilities: ...
    async def default_address_spaces(self) -> tuple[str, str]:
        """The local and the global one."""
        ...

    async def request_pool(
        self, space: str, pool: str, sub_pool: str, options: Mapping[str, str], *, v6: bool
    ) -> AddressPool:
        """The `pool` wished, or any if that is "". The address of its gateway may be in the `data`, as
        "com.docker.network.gateway"; without it, it is requested."""
        ...

    async def release_pool(self, pool: str) -> None: ...
    async def request_address(
        self, pool: str, address: str, options: Mapping[str, str] | None
    ) -> tuple[str, Mapping[str, str]]:
        """The address with its prefix, and what the driver says of it. The address wished is "" for any."""
        ...

    async def release_address(self, pool: str, address: str) -> None: ...


class LogDriver(Protocol):
    """`file` is a fifo, as the plugin sees it; `info` is of the container, as Docker's plugin API has it."""

    async def start_logging(self, file: str, info: Mapping[str, Any]) -> None: ...
    async def stop_logging(self, file: str) -> None: ...
    async def reads_logs(self) -> bool: ...
    def read_logs(
        self, info: Mapping[str, Any], config: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Log entries as protobuf, each behind its length in four bytes."""
        ...

    def host_path(self, file: str) -> str:
        """Where a path of the plugin's is on the host."""
        ...


class Verdict(Struct, frozen=True):
    """What an authorization plugin says."""

    allow: bool
    message: str = ""


class Authorization(Protocol):
    """`facts` are as Docker's plugin API names them: User, RequestMethod, RequestUri, RequestBody, ..."""

    async def authorize_request(self, facts: Mapping[str, Any]) -> Verdict: ...
    async def authorize_response(self, facts: Mapping[str, Any]) -> Verdict: ...
