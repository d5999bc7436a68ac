"""What the API shows."""

from lighterman.apitypes.container import ContainerInspectResponse
from lighterman.containers.state import Containers


async def inspect(cs: Containers, ref: str, *, size: bool = False) -> ContainerInspectResponse:
    """All about one container. Raises: NoSuchContainer. Source: ContainerInspect."""
    raise NotImplementedError
