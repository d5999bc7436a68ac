"""Removing all that do not run."""

import time

from lighterman.apitypes.container import ContainerPruneResponse
from lighterman.containers.ending import is_at_rest
from lighterman.containers.remove import dismantle
from lighterman.containers.state import Containers
from lighterman.errdefs import NotFound
from lighterman.lib.filters import Filters


async def prune(cs: Containers, filters: Filters) -> ContainerPruneResponse:
    """Remove all containers without a process that `filters` ask for, their volumes not.

    Raises: InvalidParameter. Source: ContainerPrune.
    """
    filters.check(("until", "label", "label!"))
    until_ns = filters.until_ns(time.time_ns())
    deleted, reclaimed = [], 0
    for container in cs:
        labels = container.config.labels
        if not is_at_rest(container) or not filters.prunes(
            labels, created_ns=container.created_ns, until_ns=until_ns
        ):
            continue
        try:
            async with cs.locked(container.id) as container:
                if is_at_rest(container):
                    size = await cs.snapshots.size(container.id)
                    await dismantle(cs, container, volumes=False)
                    deleted.append(container.id)
                    reclaimed += size
        except NotFound:  # somebody else was faster
            continue
    cs.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
    return ContainerPruneResponse(deleted or None, reclaimed)
