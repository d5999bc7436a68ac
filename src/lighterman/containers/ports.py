"""Ports: which are exposed, which are published where. Pure."""

import ipaddress
from collections.abc import Iterator

from lighterman.apitypes.container import ContainerConfig, HostConfig
from lighterman.containers.merge import given
from lighterman.errdefs import InvalidParameter
from lighterman.networks import PortWish

PROTOCOLS = ("tcp", "udp", "sctp")


def parse_port(text: str) -> tuple[int, str]:
    """(80, "tcp") of "80/tcp" or "80". Raises InvalidParameter in Docker's words."""
    port, _, proto = text.partition("/")
    first, last = _range(port)
    if first == 0 or first != last:
        raise InvalidParameter(f'invalid port specification: "{port}"')
    proto = (proto or "tcp").lower()
    if proto not in PROTOCOLS:
        raise InvalidParameter(f"Invalid proto: {proto}")
    return first, proto


def _range(text: str) -> tuple[int, int]:
    """(first, last) of "80" or "8000-8010". Raises InvalidParameter."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InvalidParameter(f'invalid port specification: "{text}"')
    low, high = int(first), int(last or first)
    if not 0 <= low <= high <= 65535:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    return low, high


def exposed_ports(config: ContainerConfig) -> tuple[tuple[int, str], ...]:
    """All ports that the configuration exposes. Raises InvalidParameter."""
    return tuple(parse_port(text) for text in given(config.exposed_ports) or ())


def port_wishes(config: ContainerConfig, host_config: HostConfig) -> tuple[PortWish, ...]:
    """What is to be published: each binding, and with PublishAllPorts what is exposed and has none.

    Those that name a port of the host come first, then those with a range, so that none of the others is
    given what they need. A binding counts whether its port is exposed or not, as dockerd has it since 23.0.
    Raises InvalidParameter.
    """
    wishes = tuple(sorted(_bound(host_config), key=_freedom))
    if not host_config.publish_all_ports:
        return wishes
    bound = {(wish.container_port, wish.proto) for wish in wishes}
    free = (port for port in exposed_ports(config) if port not in bound)
    return (*wishes, *(PortWish(container_port=port, proto=proto) for port, proto in free))


def _freedom(wish: PortWish) -> tuple[bool, int]:
    return not wish.host_port_first, wish.host_port_last - wish.host_port_first


def _bound(host_config: HostConfig) -> Iterator[PortWish]:
    for text, bindings in (host_config.port_bindings or {}).items():
        port, proto = parse_port(text)
        for binding in bindings or ():
            first, last = _range(binding.host_port) if binding.host_port else (0, 0)
            if binding.host_ip:
                _check_address(binding.host_ip)
            yield PortWish(
                container_port=port,
                proto=proto,
                host_ip=binding.host_ip,
                host_port_first=first,
                host_port_last=last,
            )


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"Invalid ip address: {text}") from None
