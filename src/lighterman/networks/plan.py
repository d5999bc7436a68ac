"""What follows from a network's row and a container's wishes. Pure, but for the addresses it takes."""

from ipaddress import IPv4Interface, IPv4Network

from lighterman.errdefs import InvalidParameter
from lighterman.linux.netlink import mac_bytes
from lighterman.networks.ipam import AddressSpace, mac_of, parse_ipv4
from lighterman.networks.links import Bridge, Plug
from lighterman.networks.row import NetworkRow
from lighterman.networks.ruleset import BridgeRules, Publication
from lighterman.networks.sandbox import Endpoint, EndpointWish, Sandbox

ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
MTU = "com.docker.network.driver.mtu"


def check_wish(row: NetworkRow, wish: EndpointWish) -> None:
    """Raises InvalidParameter for what this network does not offer."""
    on_user_network = row.driver == "bridge" and not row.is_default_bridge
    if wish.aliases and not on_user_network:
        raise InvalidParameter(
            "network-scoped alias is supported only for containers in user defined networks"
        )
    if (wish.ipv4 or wish.ipv6) and not on_user_network:
        raise InvalidParameter("user specified IP address is supported on user defined networks only")
    if wish.ipv6:
        raise InvalidParameter(
            f"Invalid address {wish.ipv6}: It does not belong to any of this network's subnets"
        )
    if wish.mac:
        try:
            mac_bytes(wish.mac)
        except ValueError as error:
            raise InvalidParameter(f"invalid MAC address: {wish.mac}") from error


def plan_endpoint(
    row: NetworkRow,
    wish: EndpointWish,
    space: AddressSpace | None,
    *,
    endpoint_id: str,
    number: int,
    default_route: bool,
) -> Endpoint:
    """The endpoint `number` of a sandbox; a bridge's takes its address from `space`.

    Raises: InvalidParameter, AddressInUse, NoFreeAddress.
    """
    check_wish(row, wish)
    if space is None:
        return Endpoint(endpoint_id, row.id, row.name, driver_opts=wish.driver_opts)
    if wish.ipv4:
        address = parse_ipv4(wish.ipv4)
        space.take_this(address)
    else:
        address = space.take()
    return Endpoint(
        id=endpoint_id,
        network_id=row.id,
        network_name=row.name,
        interface=f"eth{number}",
        mac=wish.mac.lower() or mac_of(address),
        ipv4=str(address),
        ipv4_prefix=space.subnet.prefixlen,
        gateway=row.gateway if default_route and not row.internal else "",
        aliases=wish.aliases,
        driver_opts=wish.driver_opts,
    )


def address_space(row: NetworkRow) -> AddressSpace:
    """The addresses of a bridge network, those of its gateway and its auxiliary hosts taken."""
    subnet = IPv4Network(row.subnet)
    space = AddressSpace(subnet, IPv4Network(row.ip_range) if row.ip_range else None)
    space.take_this(parse_ipv4(row.gateway))
    for address in row.auxiliary.values():
        space.take_this(parse_ipv4(address))
    return space


def bridge_of(row: NetworkRow) -> Bridge:
    """The link of a bridge network."""
    prefix = IPv4Network(row.subnet).prefixlen
    return Bridge(
        name=row.bridge,
        address=IPv4Interface(f"{row.gateway}/{prefix}"),
        mtu=int(row.options.get(MTU, "1500")),
        icc=is_on(row.options, ICC),
    )


def rules_of(row: NetworkRow) -> BridgeRules:
    """A bridge network in the table."""
    return BridgeRules(
        row.bridge, row.subnet, row.internal, is_on(row.options, ICC), is_on(row.options, MASQUERADE)
    )


def is_on(options: dict[str, str], name: str) -> bool:
    """A boolean option that is on when it is absent, as Go reads it."""
    return options.get(name, "true") in ("1", "t", "T", "TRUE", "true", "True")


def plugs_of(sandbox: Sandbox, rows: dict[str, NetworkRow], veth_prefix: str) -> list[Plug]:
    """The links that a sandbox needs."""
    return [
        Plug(endpoint, bridge_of(rows[endpoint.network_id]), veth_name(veth_prefix, endpoint))
        for endpoint in sandbox.endpoints
        if endpoint.ipv4
    ]


def veth_name(prefix: str, endpoint: Endpoint) -> str:
    """The host's end of an endpoint's veth; 15 letters, as long as a link's name may be."""
    return f"{prefix}{endpoint.id[:8]}"


def publication_of(sandbox: Sandbox) -> Publication:
    """The ports of a sandbox as rules. They lead to the endpoint with the default route."""
    address = next((endpoint.ipv4 for endpoint in sandbox.endpoints if endpoint.gateway), "")
    return Publication(address, sandbox.ports)
