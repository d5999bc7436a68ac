"""Removing all that do not run."""

import time

from lighterman.apitypes.container import ContainerPruneResponse
from lighterman.containers.ending import is_at_rest
from lighterman.containers.remove import dismantle
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import parse_timestamp


async def prune(cs: Containers, filters: Filters) -> ContainerPruneResponse:
    """Remove all containers without a process that `filters` ask for, their volumes not.

    Raises: InvalidParameter. Source: ContainerPrune.
    """
    filters.check(("until", "label", "label!"))
    until_ns = _until_ns(filters)
    deleted, reclaimed = [], 0
    for container in cs:
        if not is_at_rest(container) or not is_pruned(container, filters, until_ns):
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


def is_pruned(container: Container, filters: Filters, until_ns: int | None) -> bool:
    """Whether the filters ask for it: created before `until`, with the labels, without those of `label!`."""
    if until_ns is not None and container.created_ns >= until_ns:
        return False
    unwanted = "label!" in filters and filters.labels(container.config.labels, name="label!")
    return filters.labels(container.config.labels) and not unwanted


def _until_ns(filters: Filters) -> int | None:
    values = filters.get("until")
    if not values:
        return None
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    try:
        return parse_timestamp(values[0], now_ns=time.time_ns())
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
