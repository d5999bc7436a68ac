"""Whose network a container uses, and so whose files tell it of its neighbours. Pure."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from lighterman.apitypes.container import HostConfig


class _Networked(Protocol):
    @property
    def host_config(self) -> HostConfig: ...


T = TypeVar("T", bound=_Networked)


def network_owner(container: T, peer: Callable[[str], T]) -> T:
    """The container at the end of `container:X`, where X may use another one's network itself.

    `peer` finds a container by its id. Raises: NotFound where one on the way is gone.
    """
    mode = container.host_config.network_mode
    while mode.startswith("container:"):
        container = peer(mode.removeprefix("container:"))
        mode = container.host_config.network_mode
    return container
