"""What may be asked of a new network. Pure."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network

from lighterman.apitypes import network as wire
from lighterman.errdefs import Forbidden, InvalidParameter, NotFound, Unavailable
from lighterman.networks.errors import NameTaken, PoolOverlaps
from lighterman.networks.row import NetworkRow

_PREDEFINED = ("bridge", "host", "none", "default")
_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)


def check_create(body: wire.NetworkCreateBody, rows: Collection[NetworkRow]) -> None:
    """Raises what dockerd raises for a body that cannot become a network beside `rows`.

    Source: NetworkCreate; texts and kinds as recorded from dockerd 20.10 (400 where it said 500 for a
    client's mistake).
    """
    if not body.name.strip() or "/" in body.name:
        raise InvalidParameter(f"invalid name: {body.name}")
    if body.name in _PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {body.name} network ")
    if any(row.name == body.name for row in rows):
        raise NameTaken(body.name)
    if body.driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{body.driver}" network is allowed')
    if body.driver == "overlay" or body.scope == "swarm" or body.ingress:
        raise Unavailable(_SWARM)
    if body.driver not in ("", "bridge"):
        raise NotFound(f'plugin "{body.driver}" not found')
    for config in (body.ipam.config if body.ipam else None) or []:
        _check_pool(config, rows)


def _check_pool(config: wire.IPAMConfig, rows: Collection[NetworkRow]) -> None:
    subnet = parse_subnet(config.subnet)
    if any(row.subnet and subnet.overlaps(IPv4Network(row.subnet)) for row in rows):
        raise PoolOverlaps
    if config.gateway:
        try:
            inside = IPv4Address(config.gateway) in subnet
        except ValueError as error:
            raise InvalidParameter(f"invalid gateway address {config.gateway}") from error
        if not inside:
            raise InvalidParameter(
                f"failed to allocate gateway ({config.gateway}): Requested address is out of range"
            )


def parse_subnet(text: str) -> IPv4Network:
    """Raises InvalidParameter in dockerd's words."""
    try:
        if "/" not in text:
            raise ValueError(text)
        return IPv4Network(text, strict=False)
    except ValueError as error:
        raise InvalidParameter(f"Invalid subnet {text} : invalid CIDR address: {text}") from error
