"""Processes."""

from lighterman.apitypes.container import ContainerTopResponse
from lighterman.containers.state import Containers


async def top(cs: Containers, ref: str, *, ps_args: str = "") -> ContainerTopResponse:
    """The container's processes as the host's ps shows them. Raises: NoSuchContainer, NotRunning."""
    raise NotImplementedError
