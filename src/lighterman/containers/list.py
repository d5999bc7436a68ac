"""Listing."""

from lighterman.apitypes.container import ContainerSummary
from lighterman.containers.state import Containers
from lighterman.lib.filters import Filters


async def list_containers(
    cs: Containers, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters = Filters()
) -> list[ContainerSummary]:
    """The containers that match, newest first. Raises: InvalidParameter, NotFound. Source: ContainerList."""
    raise NotImplementedError
