"""What a container wishes of its network, and what came of it: values only.

A *sandbox* is a network namespace with its *endpoints* (one for each network) and *published ports*.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from lighterman.linux.userns import IdMap


class Brought(Struct, frozen=True):
    """What the plugin of a network does for an endpoint: `source`, a link of the host, moves in ("": none)
    and is called `prefix` and a number. `routes` are (destination, next hop); "" is on the link itself."""

    source: str = ""
    prefix: str = "eth"
    gateway: str = ""
    gateway_ipv6: str = ""
    routes: tuple[tuple[str, str], ...] = ()
    is_led_out: bool = True  # by a gateway, a route, or a way of the plugin's own


class Given(Struct, frozen=True):
    """What plugins have decided of an endpoint; addresses with their prefix: "10.0.0.2/24"."""

    endpoint_id: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    brought: Brought | None = None  # where the network itself is a plugin's


class EndpointWish(Struct, frozen=True):
    """A place in one network, which is named by id, name or prefix; empty addresses are chosen for it.

    `links` are names that this container alone has for others: alias -> their name or short id. Of several
    networks the one with the highest `priority` has the default route. `given` is what plugins have decided.
    """

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    link_local: tuple[str, ...] = ()
    priority: int = 0
    given: Given | None = None


class PortWish(Struct, frozen=True):
    """A container's port to publish. `host_port_first` 0 is any free one; "" publishes on every address."""

    container_port: int
    proto: str  # tcp, udp, sctp
    host_ip: str = ""
    host_port_first: int = 0
    host_port_last: int = 0


class SandboxWish(Struct, frozen=True):
    """All of one container: `id` is its full id, `name` its name without the slash.

    No endpoints at all is a namespace that has a loopback only (NetworkDisabled). `dns` are the name
    servers wished; () takes the host's. The places of a `managed` one were given by the swarm already.
    `exposed` are (port, protocol) of all that it listens on, which plugins are told.
    """

    id: str
    name: str
    endpoints: tuple[EndpointWish, ...] = ()
    ports: tuple[PortWish, ...] = ()
    dns: tuple[str, ...] = ()
    managed: bool = False
    exposed: tuple[tuple[int, str], ...] = ()
    id_map: IdMap | None = None  # its user namespace owns the network's


class Endpoint(Struct, frozen=True):
    """An end in one network. Addresses are "" on `host` and `none`, gateways where nothing leads outside."""

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
    driver: str = ""
    has_names: bool = False  # others in this network find it by name, and it finds them
    links: Mapping[str, str] = field(default_factory=dict)
    link_local: tuple[str, ...] = ()
    priority: int = 0
    host_ip: str = ""  # where ports without an address are published; "" is the engine's default
    hidden: bool = False  # nobody wished it: the way out of a container whose networks lead nowhere
    brought: Brought | None = None  # in the network of a plugin

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those it has of IPv4 and IPv6."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address)

    @property
    def has_link(self) -> bool:
        """Whether there is a link for it inside."""
        return bool(self.brought.source if self.brought else self.addresses)


class PublishedPort(Struct, frozen=True):
    """One host address and port that answers; an any-address wish gives one for 0.0.0.0 and one for `::`."""

    container_port: int
    proto: str
    host_ip: str
    host_port: int


class Sandbox(Struct, frozen=True):
    """What was decided. `key` is the path of the namespace, "" for the host's own."""

    id: str
    name: str
    key: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    wished_ports: tuple[PortWish, ...] = ()  # published as soon as an endpoint leads outside
    dns: tuple[str, ...] = ()
    exposed: tuple[tuple[int, str], ...] = ()
    id_map: IdMap | None = None

    @property
    def overlays(self) -> tuple[Endpoint, ...]:
        """Its endpoints in networks of the swarm."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.driver == "overlay")

    @property
    def has_names(self) -> bool:
        """Whether a name server of its own answers in it."""
        return any(endpoint.has_names for endpoint in self.endpoints)

    def in_network(self, network_id: str) -> Endpoint | None:
        """Its endpoint there."""
        return next((each for each in self.endpoints if each.network_id == network_id), None)

    def way_out(self, version: int) -> Endpoint | None:
        """The endpoint with the default route of IPv4 or IPv6: the highest priority, then one that leads
        out by both, then by the network's name. Source: libnetwork's order of endpoints."""
        leading = [each for each in self.endpoints if (each.gateway if version == 4 else each.ipv6_gateway)]
        return min(
            leading,
            key=lambda each: (-each.priority, not (each.gateway and each.ipv6_gateway), each.network_name),
            default=None,
        )
