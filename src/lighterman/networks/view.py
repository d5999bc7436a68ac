"""How a network looks on the wire, and which ones a list's filters ask for. Pure."""

import re
from collections.abc import Iterable

from lighterman.apitypes import network as wire
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import rfc3339_nano
from lighterman.networks.row import NetworkRow, Pool
from lighterman.networks.sandbox import Endpoint, Sandbox

PRUNE_FILTERS = ("label", "label!", "until")
FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


def on_the_wire(row: NetworkRow, sandboxes: Iterable[Sandbox] = ()) -> wire.Network:
    """The network, with those of `sandboxes` that have an endpoint in it as its Containers."""
    containers = {
        sandbox.id: _container(_shown_name(sandbox, endpoint), endpoint)
        for sandbox in sandboxes
        for endpoint in sandbox.endpoints
        if endpoint.network_id == row.id
    }
    pools = sorted((*row.pools, *row.idle_pools), key=lambda pool: pool.version)
    return wire.Network(
        name=row.name,
        id=row.id,
        created=rfc3339_nano(row.created_ns),
        scope=row.scope,
        driver=row.driver,
        enable_ipv6=row.ipv6,
        ipam=wire.IPAM(row.ipam_driver, row.ipam_options, [_pool(pool) for pool in pools]),
        internal=row.internal,
        attachable=row.attachable,
        ingress=row.ingress,
        config_from=wire.ConfigReference(row.config_from),
        config_only=row.config_only,
        containers=dict(sorted(containers.items())),
        options=row.options,
        labels=row.labels,
    )


def _pool(pool: Pool) -> wire.IPAMConfig:
    """A gateway is told when it was asked for, or when the whole pool was chosen, as dockerd 20.10 does."""
    gateway = pool.gateway if pool.gateway_wished or not pool.wished else ""
    return wire.IPAMConfig(pool.subnet, pool.ip_range, gateway, pool.auxiliary or None)


def is_asked_for(row: NetworkRow, filters: Filters, *, used: bool) -> bool:
    """Whether the list shows `row`; `used` says that it has endpoints.

    Raises InvalidParameter for a `type` or `dangling` that the API does not have.
    Source: NetworkList; name and id match in part, the others whole.
    """
    for kind in filters.get("type"):
        if kind not in ("builtin", "custom"):
            raise InvalidParameter(f"Invalid filter: 'type'='{kind}'")
    dangling = filters.flag("dangling", default=False)
    is_dangling = not used and not row.predefined
    return (
        filters.exact("driver", row.driver)
        and filters.exact("scope", row.scope)
        and filters.exact("type", "builtin" if row.predefined else "custom")
        and filters.labels(row.labels)
        and _in_part(filters.get("id"), row.id)
        and _in_part(filters.get("name"), row.name)
        and ("dangling" not in filters or dangling == is_dangling)
    )


def _in_part(patterns: tuple[str, ...], value: str) -> bool:
    return not patterns or any(pattern == value or _searched(pattern, value) for pattern in patterns)


def _searched(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False


def _shown_name(sandbox: Sandbox, endpoint: Endpoint) -> str:
    return f"gateway_{sandbox.id[:12]}" if endpoint.hidden else sandbox.name


def _container(name: str, endpoint: Endpoint) -> wire.NetworkContainer:
    ipv4 = f"{endpoint.ipv4}/{endpoint.ipv4_prefix}" if endpoint.ipv4 else ""
    ipv6 = f"{endpoint.ipv6}/{endpoint.ipv6_prefix}" if endpoint.ipv6 else ""
    return wire.NetworkContainer(name, endpoint.id, endpoint.mac, ipv4, ipv6)
