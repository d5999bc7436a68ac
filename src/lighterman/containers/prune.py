"""Removing all that do not run."""

from lighterman.apitypes.container import ContainerPruneResponse
from lighterman.containers.state import Containers
from lighterman.lib.filters import Filters


async def prune(cs: Containers, filters: Filters) -> ContainerPruneResponse:
    """Remove all containers without a process. Raises: InvalidParameter. Source: ContainerPrune."""
    raise NotImplementedError
