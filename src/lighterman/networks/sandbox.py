"""What a container wishes of its network, and what came of it: values only.

A *sandbox* is a network namespace with its *endpoints* (one for each network) and *published ports*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EndpointWish:
    """A place in one network, which is named by id, name or prefix; empty addresses are chosen for it."""

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PortWish:
    """A container's port to publish. `host_port_first` 0 is any free one; "" publishes on every address."""

    container_port: int
    proto: str  # tcp, udp, sctp
    host_ip: str = ""
    host_port_first: int = 0
    host_port_last: int = 0


@dataclass(frozen=True)
class SandboxWish:
    """All of one container: `id` is its full id, `name` its name without the slash.

    No endpoints at all is a namespace that has a loopback only (NetworkDisabled).
    """

    id: str
    name: str
    endpoints: tuple[EndpointWish, ...] = ()
    ports: tuple[PortWish, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """An end in one network. Addresses are "" on `host` and `none`, `gateway` without a default route."""

    id: str
    network_id: str
    network_name: str
    interface: str = ""  # inside the sandbox: "eth0"
    mac: str = ""
    ipv4: str = ""
    ipv4_prefix: int = 0
    gateway: str = ""
    ipv6: str = ""
    ipv6_prefix: int = 0
    ipv6_gateway: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedPort:
    """One host address and port that answers; an any-address wish gives one for 0.0.0.0 and one for `::`."""

    container_port: int
    proto: str
    host_ip: str
    host_port: int


@dataclass(frozen=True)
class Sandbox:
    """What was decided. `key` is the path of the namespace, "" for the host's own."""

    id: str
    name: str
    key: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
