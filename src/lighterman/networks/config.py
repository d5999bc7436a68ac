"""How this engine's networks are set up: the flags of the daemon that concern them."""

from collections.abc import Mapping

from msgspec import Struct, field


class AddressPool(Struct, frozen=True):
    """Networks of `size` bits are cut from `base`, an IPv4 subnet."""

    base: str
    size: int


DEFAULT_POOLS = (
    *(AddressPool(f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    AddressPool("192.168.0.0/16", 20),
    AddressPool("10.192.0.0/10", 24),  # dockerd ends after 31 networks; we go on with small ones
)


class NetworkConfig(Struct, frozen=True):
    """dockerd's flags; engines side by side need different `bridge_name`s, and nothing else."""

    bridge_name: str = "docker0"
    bip: str = ""  # address and prefix of the bridge; "" chooses a free pool
    pools: tuple[AddressPool, ...] = DEFAULT_POOLS
    mtu: int = 1500
    default_host_ip: str = ""  # --ip: where a port without an address is published; "" is everywhere
    icc: bool = True
    ip_forward: bool = True
    ip_masq: bool = True
    iptables: bool = True  # False: no firewall is touched, ports are relayed and nothing is masqueraded
    ip6tables: bool = True  # the same for IPv6 alone; False where `iptables` is
    fixed_cidr: str = ""  # of the default bridge: where addresses are chosen from
    default_gateway: str = ""  # of its containers; "" is the bridge itself
    ipv6: bool = False  # of the default bridge
    fixed_cidr_v6: str = ""  # its subnet; "" makes one up, once
    default_gateway_v6: str = ""
    host_gateways: tuple[str, ...] = ()  # what "host-gateway" stands for; () are the bridge's addresses
    own_ports: tuple[tuple[str, int], ...] = ()  # where the daemon itself listens by TCP
    dns: tuple[str, ...] = ()  # for containers that name none; () is the host's
    default_options: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # by driver, of new networks

    twin: str = ""  # what tells an engine that shares docker0 with the host's usual one from that

    @property
    def known_as(self) -> str:
        """What tells this engine's links and rules from those of others on the host."""
        return self.twin or self.bridge_name if self.bridge_name == "docker0" else self.bridge_name

    @property
    def table(self) -> str:
        """The name of this engine's nft table."""
        return "lighterman" if self.known_as == "docker0" else f"lighterman_{self.known_as}"
