"""What is kept of a network."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

DRIVERS = ("bridge", "host", "null", "macvlan", "ipvlan", "overlay")
"""Those of this engine: all others are plugins."""


class Pool(msgspec.Struct, frozen=True):
    """One subnet of a network, IPv4 or IPv6, and what was asked of it."""

    subnet: str  # "172.17.0.0/16"
    gateway: str  # of a bridge network the bridge's own address; of macvlan somebody else's
    ip_range: str = ""  # where addresses are chosen from; "" is the whole subnet
    gateway_wished: bool = False  # inspect tells a gateway only when it was asked for, as dockerd 20.10
    wished: bool = False  # somebody asked for this subnet: static addresses may be asked for in it
    auxiliary: dict[str, str] = {}
    id: str = ""  # what the IPAM plugin calls it

    @property
    def version(self) -> int:
        """4 or 6."""
        return ip_network(self.subnet).version

    @property
    def router(self) -> str:
        """Where containers send what is for the outside: the gateway, or the auxiliary host of this name."""
        return self.auxiliary.get(f"DefaultGatewayIPv{self.version}", self.gateway)


class NetworkRow(msgspec.Struct, frozen=True):
    """One network of this engine: the wish as it came, and what was decided of it."""

    id: str
    name: str
    driver: str  # one of DRIVERS, or a plugin
    created_ns: int
    link: str = ""  # the name of its bridge, or of the link that macvlan and ipvlan stand on
    own_link: bool = False  # we made that link and take it away again
    pools: tuple[Pool, ...] = ()
    idle_pools: tuple[Pool, ...] = ()  # of IPv6, wished for a network without it: told, as dockerd does
    ipam_driver: str = "default"  # that, "null" or a plugin
    ipam_options: dict[str, str] | None = None
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    config_only: bool = False
    config_from: str = ""
    scope: str = "local"  # "swarm": it is the cluster's, and this is what this node knows of it
    ingress: bool = False  # the one of the routing mesh
    vni: int = 0  # an overlay network's number on the wire
    unfinished: bool = False  # plugins are making it, or taking it back: what they gave is to be returned

    @property
    def predefined(self) -> bool:
        """Whether it always exists and cannot be removed."""
        return self.name in ("bridge", "host", "none")

    @property
    def is_default_bridge(self) -> bool:
        """The one bridge without aliases, static addresses and name service."""
        return self.name == "bridge"

    @property
    def subnets(self) -> list[IPv4Network | IPv6Network]:
        """Those that nobody else may have."""
        local = self.has_addresses and self.driver != "overlay"  # those of the swarm are seen by nobody here
        pools = self.pools if local and self.ipam_driver != "null" else ()
        return [ip_network(pool.subnet) for pool in pools]

    @property
    def has_addresses(self) -> bool:
        """Whether containers get an address and a link in it."""
        return self.driver not in ("host", "null") and not self.config_only

    @property
    def has_link(self) -> bool:
        """Whether it stands on a link of the host, or is one."""
        return self.driver in ("bridge", "macvlan", "ipvlan") and not self.config_only

    @property
    def is_remote(self) -> bool:
        """Whether it is a plugin that plugs containers in."""
        return self.driver not in DRIVERS

    @property
    def has_remote_addresses(self) -> bool:
        """Whether it is a plugin that gives the addresses."""
        return self.has_addresses and self.ipam_driver not in ("default", "null")

    @property
    def asks_plugins(self) -> bool:
        """Whether nobody gets in without a plugin's answer."""
        return self.is_remote or self.has_remote_addresses

    @property
    def has_names(self) -> bool:
        """Whether its containers find each other by name."""
        return self.has_addresses and not self.is_default_bridge and not self.ingress


class Lease(msgspec.Struct, frozen=True):
    """What plugins have given for one endpoint, or may have: it is written before they are asked, and goes
    when all is given back."""

    endpoint_id: str
    sandbox_id: str
    network_id: str
    addresses: tuple[tuple[str, str], ...] = ()  # (the plugin's id of the pool, address)
