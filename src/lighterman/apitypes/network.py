"""Networks on the wire. Source: Network, IPAM, NetworkContainer of the API.
Nulls as dockerd 20.10 writes them.
"""

from msgspec import field

from lighterman.apitypes.container import EndpointSettings
from lighterman.apitypes.wire import Wire


class IPAMConfig(Wire, frozen=True, omit_defaults=True):
    """One pool of addresses."""

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Wire, frozen=True):
    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(Wire, frozen=True):
    network: str = ""


class NetworkContainer(Wire, frozen=True):
    """A container's end in a network; addresses with their prefix length, "" when there is none."""

    name: str
    endpoint_id: str = field(name="EndpointID")
    mac_address: str
    ipv4_address: str = field(name="IPv4Address")
    ipv6_address: str = field(name="IPv6Address")


class PeerInfo(Wire, frozen=True):
    """A node that takes part in an overlay network."""

    name: str
    ip: str = field(name="IP")


class NetworkTask(Wire, frozen=True):
    """One end of a service in an overlay network."""

    name: str
    endpoint_id: str = field(name="EndpointID")
    endpoint_ip: str = field(name="EndpointIP")
    info: dict[str, str]


class NetworkServiceInfo(Wire, frozen=True):
    """A service in an overlay network."""

    vip: str = field(name="VIP")
    ports: list[str]
    local_lb_index: int = field(name="LocalLBIndex")
    """Of IPVS, which is not used: 0."""
    tasks: list[NetworkTask]


class Network(Wire, frozen=True, omit_defaults=True):
    """What inspect and list answer; `containers` is filled by inspect only. Nulls are the swarm's."""

    name: str
    id: str
    created: str
    scope: str
    driver: str
    enable_ipv6: bool = field(name="EnableIPv6")
    ipam: IPAM = field(name="IPAM")
    internal: bool
    attachable: bool
    ingress: bool
    config_from: ConfigReference
    config_only: bool
    containers: dict[str, NetworkContainer] | None
    options: dict[str, str] | None
    labels: dict[str, str] | None
    peers: list[PeerInfo] = field(default_factory=list)
    services: dict[str, NetworkServiceInfo] = field(default_factory=dict)
    """Only where it is asked for, since 1.28."""


class NetworkCreateBody(Wire, frozen=True):
    """`check_duplicate` is read and needs no act: a name is always unique here."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    ipam: IPAM | None = field(name="IPAM", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreateResponse(Wire, frozen=True):
    id: str
    warning: str = ""


class NetworkConnectBody(Wire, frozen=True):
    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnectBody(Wire, frozen=True):
    container: str = ""
    force: bool = False


class NetworkPruneResponse(Wire, frozen=True):
    networks_deleted: list[str] | None
