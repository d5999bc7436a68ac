"""Where the drivers are that are no part of the engine, as this room sees it."""

from typing import TYPE_CHECKING, Protocol

from lighterman.plugins.errors import NoSuchPlugin

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import IpamDriver, NetworkDriver


class Drivers(Protocol):
    """The plugins. Raises: NotFound, Conflict, System."""

    async def network_driver(self, name: str, *, patient: bool = True) -> "NetworkDriver":
        """Who plugs containers in; one that is `patient` is waited for while it does not listen."""
        ...

    async def ipam_driver(self, name: str, *, patient: bool = True) -> "IpamDriver":
        """Who gives addresses."""
        ...


class NoDrivers:
    """An engine without plugins."""

    async def network_driver(self, name: str, *, patient: bool = True) -> "NetworkDriver":
        """Nobody. Raises: NoSuchPlugin."""
        raise NoSuchPlugin(name)

    async def ipam_driver(self, name: str, *, patient: bool = True) -> "IpamDriver":
        """Nobody. Raises: NoSuchPlugin."""
        raise NoSuchPlugin(name)
