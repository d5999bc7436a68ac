"""What follows from a network's row and a container's wishes. Pure, but for the addresses it takes."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from msgspec import Struct
from msgspec.structs import replace

from lighterman.errdefs import InvalidParameter
from lighterman.linux.netlink import mac_bytes
from lighterman.networks import options
from lighterman.networks.errors import Unattached
from lighterman.networks.ipam import Address, Addresses, mac_of
from lighterman.networks.links import Bridge, Plug, Shared, Visitor
from lighterman.networks.row import NetworkRow
from lighterman.networks.ruleset import BridgeRules, Publication
from lighterman.networks.sandbox import Endpoint, EndpointWish, Given, Sandbox
from lighterman.networks.segments import Segment

OVERLAY_MTU = "1450"
"""What is left of 1500 bytes by the head of VXLAN."""


def check_wish(row: NetworkRow, wish: EndpointWish) -> None:
    """Raises InvalidParameter for what this network does not offer."""
    if row.ingress:
        return  # only the swarm can wish for it
    if wish.aliases and not row.has_names:
        raise InvalidParameter(
            "network-scoped alias is supported only for containers in user defined networks"
        )
    if (wish.ipv4 or wish.ipv6) and not row.has_names:
        raise InvalidParameter("user specified IP address is supported on user defined networks only")
    for version, address in ((4, wish.ipv4), (6, wish.ipv6)):
        if address and (row.driver == "bridge" or row.is_remote) and not _is_configured(row, version):
            raise InvalidParameter(
                "user specified IP address is supported only when connecting to networks with user "
                "configured subnets"
            )
    if wish.driver_opts and not row.is_remote:  # dockerd takes and forgets them
        names = ", ".join(sorted(wish.driver_opts))
        raise InvalidParameter(f"the network driver {row.driver} has no options of endpoints: {names}")
    for text in wish.link_local:
        if not _is_link_local(text):
            raise InvalidParameter(f"invalid link-local IP address: {text}")
    if wish.mac:
        try:
            mac_bytes(wish.mac)
        except ValueError as error:
            raise InvalidParameter(f"invalid MAC address: {wish.mac}") from error


def _is_configured(row: NetworkRow, version: int) -> bool:
    return any(pool.wished for pool in row.pools if pool.version == version)


def _is_link_local(text: str) -> bool:
    try:
        return ip_address(text).is_link_local
    except ValueError:
        return False


def plan_endpoint(
    row: NetworkRow,
    wish: EndpointWish,
    addresses: Addresses | None,
    *,
    endpoint_id: str,
    taken_interfaces: Iterable[str] = (),
) -> Endpoint:
    """The endpoint of a sandbox that has `taken_interfaces`; its addresses are taken from `addresses`.

    Raises: InvalidParameter, AddressInUse, NoFreeAddress; then nothing is taken.
    """
    check_wish(row, wish)
    if wish.given is not None:
        return _given_endpoint(row, wish, wish.given, taken_interfaces)
    plain = Endpoint(endpoint_id, row.id, row.name, driver_opts=wish.driver_opts, driver=row.driver)
    if addresses is None:
        return plain
    if row.driver == "overlay" and not wish.ipv4:
        raise Unattached(row.name)
    ends, first = _take(row, wish, addresses)
    return replace(
        _plain_endpoint(row, wish, endpoint_id),
        interface=_free_interface(row.options.get(options.INTERFACE_PREFIX, "eth"), taken_interfaces),
        mac=wish.mac.lower().replace("-", ":") or mac_of(first),
        host_ip=row.options.get(options.HOST_BINDING, "") if row.has_names else "",
        **ends,
    )


def _plain_endpoint(row: NetworkRow, wish: EndpointWish, endpoint_id: str) -> Endpoint:
    """What the network and the wish say of an endpoint before it has a place."""
    return Endpoint(
        id=endpoint_id,
        network_id=row.id,
        network_name=row.name,
        aliases=wish.aliases,
        driver_opts=wish.driver_opts,
        driver=row.driver,
        has_names=row.has_names,
        links=wish.links,
        link_local=wish.link_local,
        priority=wish.priority,
    )


def _given_endpoint(
    row: NetworkRow, wish: EndpointWish, given: Given, taken_interfaces: Iterable[str]
) -> Endpoint:
    """The endpoint that plugins have decided."""
    ends: dict[str, str | int] = {}
    for version, name, gateway in ((4, "ipv4", "gateway"), (6, "ipv6", "ipv6_gateway")):
        text = given.ipv4 if version == 4 else given.ipv6
        if text:
            address = ip_interface(text)
            ends |= {name: str(address.ip), f"{name}_prefix": address.network.prefixlen}
        if given.brought is not None:
            ends[gateway] = given.brought.gateway if version == 4 else given.brought.gateway_ipv6
        elif text and not row.internal:
            ends[gateway] = next(
                pool.router for pool in row.pools if ip_interface(text).ip in ip_network(pool.subnet)
            )
    prefix = given.brought.prefix if given.brought else row.options.get(options.INTERFACE_PREFIX, "eth")
    return replace(
        _plain_endpoint(row, wish, given.endpoint_id),
        interface=_free_interface(prefix, taken_interfaces),
        mac=given.mac,
        host_ip="" if row.is_remote else row.options.get(options.HOST_BINDING, ""),
        brought=given.brought,
        **ends,
    )


def _take(row: NetworkRow, wish: EndpointWish, addresses: Addresses) -> tuple[dict[str, str | int], Address]:
    """The fields of an endpoint that follow from the addresses it takes, and the first of these."""
    taken = addresses.take(4, wish.ipv4)
    try:
        taken6 = addresses.take(6, wish.ipv6)
    except BaseException:
        if taken is not None:
            addresses.release(str(taken[0]))
        raise
    ends: dict[str, str | int] = {}
    for name, gateway, found in (("ipv4", "gateway", taken), ("ipv6", "ipv6_gateway", taken6)):
        if found is not None:
            address, pool = found
            prefix = ip_network(pool.subnet).prefixlen
            router = "" if row.internal or row.driver == "overlay" else pool.router
            ends |= {name: str(address), f"{name}_prefix": prefix, gateway: router}
    first = taken or taken6
    assert first is not None, "a network has a pool"
    return ends, first[0]


def needs_way_out(sandbox: Sandbox, rows: Mapping[str, NetworkRow]) -> bool:
    """Whether it is only in networks of the swarm or of plugins that lead nowhere, and is not meant to stay
    inside.

    Source: needDefaultGW of libnetwork.
    """
    if sandbox.way_out(4) is not None:
        return False
    if any(end.brought.is_led_out for end in sandbox.endpoints if end.brought):
        return False
    return any(
        not rows[end.network_id].internal
        for end in sandbox.endpoints
        if end.driver == "overlay" or end.brought
    )


def idle_way_out(sandbox: Sandbox, rows: Mapping[str, NetworkRow]) -> Endpoint | None:
    """The endpoint that leads outside though nobody has wished it, where nothing needs it any more."""
    for end in sandbox.endpoints:
        rest = tuple(each for each in sandbox.endpoints if each is not end)
        if end.hidden and not needs_way_out(replace(sandbox, endpoints=rest), rows):
            return end
    return None


def _free_interface(prefix: str, taken: Iterable[str]) -> str:
    others = set(taken)
    number = 0
    while f"{prefix}{number}" in others:
        number += 1
    return f"{prefix}{number}"


class Ours(Struct, frozen=True):
    """By what the links of one engine are known on the host, and whether its firewall stands before them."""

    owner: str
    veth_prefix: str
    guarded: bool = True


def bridge_of(row: NetworkRow, ours: Ours) -> Bridge:
    """The link of a bridge network."""
    silent = options.flag(row.options, options.NO_ADDRESS, default=False)
    return Bridge(
        name=row.link,
        addresses=tuple(
            ip_interface(f"{pool.gateway}/{ip_network(pool.subnet).prefixlen}")
            for pool in row.pools
            if not (silent and pool.version == 4)
        ),
        mtu=int(row.options.get(options.MTU, "1500")),
        icc=options.flag(row.options, options.ICC),
        owner=ours.owner if row.own_link else "",
        guarded=ours.guarded,
        closed=row.internal and not ours.guarded,
    )


def shared_of(row: NetworkRow, ours: Ours) -> Shared:
    """The link that the containers of a macvlan or ipvlan network stand on."""
    mode, default = ("ipvlan_mode", "l2") if row.driver == "ipvlan" else (options.MACVLAN_MODE, "bridge")
    return Shared(
        kind=row.driver,
        parent=row.link,
        nowhere=not row.options.get(options.PARENT),
        mode=row.options.get(mode, default),
        mtu=int(row.options.get(options.MTU, "0")),
        owner=ours.owner if row.own_link else "",
    )


def rules_of(row: NetworkRow) -> BridgeRules:
    """A bridge network in the table."""
    return BridgeRules(
        row.link,
        tuple(pool.subnet for pool in row.pools),
        internal=row.internal,
        icc=options.flag(row.options, options.ICC),
        masquerade=options.flag(row.options, options.MASQUERADE),
        source=row.options.get(options.HOST_IPV4, ""),
    )


def segment_of(row: NetworkRow) -> Segment:
    """An overlay network on this host."""
    return Segment(row.link, row.vni, int(row.options.get(options.MTU, OVERLAY_MTU)))


def plug_of(endpoint: Endpoint, row: NetworkRow, ours: Ours) -> Plug:
    """The link of an endpoint that has one."""
    to: Bridge | Segment | Shared | Visitor
    if endpoint.brought is not None:
        to = Visitor(endpoint.brought.source)
    elif row.driver == "overlay":
        to = segment_of(row)
    else:
        to = bridge_of(row, ours) if row.driver == "bridge" else shared_of(row, ours)
    return Plug(endpoint, to, veth_name(ours.veth_prefix, endpoint))


def plugs_of(sandbox: Sandbox, rows: Mapping[str, NetworkRow], ours: Ours) -> list[Plug]:
    """The links that a sandbox needs."""
    return [
        plug_of(endpoint, rows[endpoint.network_id], ours)
        for endpoint in sandbox.endpoints
        if endpoint.has_link
    ]


def veth_name(prefix: str, endpoint: Endpoint) -> str:
    """The host's end of an endpoint's veth; 15 letters, as long as a link's name may be."""
    return f"{prefix}{endpoint.id[:8]}"


def publication_of(sandbox: Sandbox) -> Publication:
    """The ports of a sandbox as rules. They lead to the endpoint with the default route."""
    four, six = sandbox.way_out(4), sandbox.way_out(6)
    return Publication(
        four.ipv4 if four and four.driver == "bridge" else "",
        six.ipv6 if six and six.driver == "bridge" else "",
        sandbox.ports,
    )
