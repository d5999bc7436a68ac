"""Making a container."""

from lighterman.apitypes.container import ContainerCreateBody, ContainerCreateResponse
from lighterman.containers.state import Containers


async def create(cs: Containers, body: ContainerCreateBody, *, name: str = "") -> ContainerCreateResponse:
    """Make a container without starting it.

    Raises: InvalidParameter, NotFound (no such image), NameTaken. Source: ContainerCreate.
    """
    raise NotImplementedError
