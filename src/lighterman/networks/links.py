"""Bridges, veth pairs, macvlan links and namespaces: the effects of this room on links. All block for about
a millisecond and run in the `Kernel`'s thread.

A veth is named `veth`, three digits that tell this engine from others on the host, and eight of the
endpoint's id. What carries our digits and hangs on our bridge is ours. Bridges and links that we made for
users' networks carry this engine's name as their alias. Nothing else is ever touched.
"""

import errno
import hashlib
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from msgspec import Struct

from lighterman.linux import netns, userns
from lighterman.linux.link_kinds import add_bridge, add_ipvlan, add_macvlan, add_veth, add_vlan
from lighterman.linux.netlink import (
    Address,
    Interface,
    Link,
    Netlink,
    Request,
    add_address,
    add_route,
    delete_link,
    delete_route,
    move_link,
    set_alias,
    set_down,
    set_master,
    set_port,
    set_up,
)
from lighterman.networks.options import split_parent
from lighterman.networks.sandbox import Endpoint
from lighterman.networks.segments import Segment, Segments

WaysOut = tuple[Endpoint | None, Endpoint | None]
"""The endpoints with the default routes of IPv4 and IPv6."""
_ANYWHERE: dict[int, IPv4Network | IPv6Network] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}


class Bridge(Struct, frozen=True):
    """What a bridge's link has to be. `owner` is the alias of one that we make; "": it is somebody else's."""

    name: str
    addresses: tuple[Interface, ...]
    mtu: int
    icc: bool
    owner: str
    guarded: bool  # by the firewall: ports of the host's loopback may be sent on to it
    closed: bool  # the host sends nothing on that comes from it (IPv4)


class Shared(Struct, frozen=True):
    """What macvlan and ipvlan links stand on: a link of the host, a VLAN of it, or one that leads nowhere."""

    kind: str
    parent: str
    nowhere: bool
    mode: str
    mtu: int  # 0: that of the parent
    owner: str


class Visitor(Struct, frozen=True):
    """A link of the host that a plugin has made for an endpoint: it moves in, and out again by its name."""

    name: str


class Plug(Struct, frozen=True):
    """An endpoint and what it is plugged into, a bridge or segment by a veth of this name."""

    endpoint: Endpoint
    to: Bridge | Segment | Shared | Visitor
    veth: str


def veth_prefix(known_as: str) -> str:
    """The first letters of all veths of the engine that is known so on its host."""
    return "veth" + hashlib.sha256(known_as.encode()).hexdigest()[:3]


def ensure_bridge(netlink: Netlink, bridge: Bridge) -> int:
    """The index of the bridge, which is made, given its addresses and brought up where it is missing."""
    index = index_of(bridge.name)
    if index:
        return index
    mac = _mac_of(bridge.owner, bridge.name)
    netlink.batch([add_bridge(bridge.name, mac=mac, mtu=bridge.mtu), set_alias(bridge.name, bridge.owner)])
    index = socket.if_nametoindex(bridge.name)
    _settle(bridge)
    netlink.batch([add_address(index, address) for address in bridge.addresses])
    return index


def _mac_of(owner: str, name: str) -> str:
    """Always the same: who had it as a gateway finds it again when it was deleted and made again."""
    return "02:42:" + hashlib.sha256(f"{owner} {name}".encode()).digest()[:4].hex(":")


def repair_bridges(netlink: Netlink, bridges: Sequence[Bridge]) -> None:
    """`ensure_bridge` each, and for one that was there: up, with its addresses, settings as we want them."""
    known = any(index_of(bridge.name) for bridge in bridges)
    addresses = netlink.addresses() if known else []
    there = {(address.index, address.interface) for address in addresses}
    for bridge in bridges:
        index = index_of(bridge.name)
        if not index:
            ensure_bridge(netlink, bridge)
            continue
        _settle(bridge)
        missing = [address for address in bridge.addresses if (index, address) not in there]
        netlink.batch([*(add_address(index, address) for address in missing), set_up(bridge.name)])


def _settle(bridge: Bridge) -> None:
    # published ports on 127.0.0.1 are sent to containers; the chain `martians` guards the way back
    _write(f"/proc/sys/net/ipv4/conf/{bridge.name}/route_localnet", str(int(bridge.guarded)))
    if bridge.closed:
        _write(f"/proc/sys/net/ipv4/conf/{bridge.name}/forwarding", "0")
    ipv6 = any(address.version == 6 for address in bridge.addresses)
    for name, value in (("disable_ipv6", str(int(not ipv6))), ("accept_ra", "0")):
        _write_if_there(f"/proc/sys/net/ipv6/conf/{bridge.name}/{name}", value)


def ensure_shared(netlink: Netlink, shared: Shared) -> int:
    """The index of the link that others stand on; a VLAN, or one that leads nowhere, is made.

    Raises: OSError (ENODEV: the host has no such link).
    """
    index = index_of(shared.parent)
    if index:
        return index
    if shared.nowhere:  # a bridge without ports: every kernel that has containers has it
        mac = _mac_of(shared.owner, shared.parent)
        netlink.batch(
            [
                add_bridge(shared.parent, mac=mac, mtu=shared.mtu or 1500),
                set_alias(shared.parent, shared.owner),
            ]
        )
    else:
        below, vlan = split_parent(shared.parent)
        parent = index_of(below)
        if not vlan or not parent:
            raise OSError(errno.ENODEV, f"-o parent interface was not found on the host: {below}")
        netlink.batch(
            [add_vlan(shared.parent, parent=parent, number=vlan), set_alias(shared.parent, shared.owner)]
        )
    return socket.if_nametoindex(shared.parent)


def try_shared(netlink: Netlink, shared: Shared) -> None:
    """See whether this kernel has such links, by one that is made and thrown away. Raises: OSError."""
    parent = ensure_shared(netlink, shared)
    fd = netns.new()
    try:
        endpoint = Endpoint("", "", "", interface="try0", mac="02:42:00:00:00:01")
        netlink.batch([_shared_link(shared, endpoint, parent, fd)])
    finally:
        os.close(fd)


def our_links(netlink: Netlink, owner: str) -> set[str]:
    """The names of the links that were made for users' networks of this engine."""
    return {link.name for link in netlink.links() if link.alias == owner}


def make_sandbox(
    netlink: Netlink, segments: Segments, key: str, plugs: Sequence[Plug], id_map: userns.IdMap | None = None
) -> None:
    """A namespace pinned at `key` with its loopback up and plugged into its networks; without routes.

    With a map it belongs to a new user namespace, which lives as long as it does.
    Raises: OSError; then what was made so far is there still: `remove_sandbox` takes it away.
    """
    fd = _new_namespace(id_map)
    try:
        netns.pin(fd, key)
        with netns.inside(fd):
            # no address, no router's advertisement, no link-local neighbour: IPv4 is all there is
            for conf in ("all", "default"):
                _write_if_there(f"/proc/sys/net/ipv6/conf/{conf}/disable_ipv6", "1")
            _write_if_there("/proc/sys/net/ipv6/conf/default/accept_ra", "0")
            with Netlink() as inner:
                inner.batch([set_up("lo")])
        furnish(netlink, segments, fd, plugs)
    finally:
        os.close(fd)


def _new_namespace(id_map: userns.IdMap | None) -> int:
    if id_map is None:
        return netns.new()
    user, fd = userns.create(id_map, network=True)
    os.close(user)
    return fd


def furnish(netlink: Netlink, segments: Segments, fd: int, plugs: Sequence[Plug]) -> None:
    """Plug the namespace of `fd` into networks: links and addresses."""
    if not plugs:
        return
    netlink.batch([request for plug in plugs for request in _outside(netlink, plug, fd)])
    for plug in plugs:
        if isinstance(plug.to, Segment):
            end = plug.endpoint
            segments.plug(plug.to, veth=plug.veth, interface=end.interface, mac=end.mac, namespace=fd)
    with netns.inside(fd):
        if any(plug.endpoint.ipv6 for plug in plugs):
            for name in ("lo", *(plug.endpoint.interface for plug in plugs if plug.endpoint.ipv6)):
                _write_if_there(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0")
        with Netlink() as inner:
            indexes = {link.name: link.index for link in inner.links()}
            inner.batch(
                [
                    request
                    for plug in plugs
                    for request in _inside(plug.endpoint, indexes[plug.endpoint.interface])
                ]
            )


def route(fd: int, ways_out: WaysOut, former: WaysOut = (None, None), *, missing_only: bool = False) -> None:
    """Lead the namespace of `fd` outside by `ways_out`, no longer by `former`; with `missing_only` what is
    there already is no failure."""
    wanted, gone = _default_routes(ways_out), _default_routes(former)
    if wanted == gone:
        return
    with netns.inside(fd), Netlink() as inner:
        indexes = {link.name: link.index for link in inner.links()}
        for interface, gateway in gone - wanted:
            if interface in indexes:
                _do(inner, delete_route(_ANYWHERE[gateway.version], gateway, indexes[interface]), errno.ESRCH)
        for interface, gateway in wanted - gone:
            add = add_route(_ANYWHERE[gateway.version], gateway, indexes[interface])
            _do(inner, add, errno.EEXIST if missing_only else 0)


def _default_routes(ways_out: WaysOut) -> set[tuple[str, Address]]:
    four, six = ways_out
    found: set[tuple[str, Address]] = set()
    if four is not None:
        found.add((four.interface, ip_address(four.gateway)))
    if six is not None:
        found.add((six.interface, ip_address(six.ipv6_gateway)))
    return found


def _do(netlink: Netlink, request: Request, excused: int) -> None:
    """`request`, which a container with the right to change its routes may have done itself."""
    try:
        netlink.batch([request])
    except OSError as error:
        if error.errno != excused:
            raise


def unplug(netlink: Netlink, key: str, plug: Plug) -> None:
    """Take one link out of a namespace that lives on; idempotent. 30 ms."""
    if isinstance(plug.to, Bridge):
        remove_links(netlink, [plug.veth])
        return
    if isinstance(plug.to, Visitor):
        see_off(key, [plug.endpoint])
        return
    fd = netns.open_pinned(key)
    try:
        with netns.inside(fd), Netlink() as inner:
            remove_links(inner, [plug.endpoint.interface])
    finally:
        os.close(fd)


def see_off(key: str, endpoints: Sequence[Endpoint]) -> None:
    """Move links that plugins lent from a namespace back to the host; idempotent. Raises: OSError."""
    visitors = [(end.interface, end.brought.source) for end in endpoints if end.brought and end.has_link]
    if not visitors or not netns.is_pinned(key):
        return
    home = netns.open_pinned("/proc/thread-self/ns/net")
    fd = netns.open_pinned(key)
    try:
        with netns.inside(fd), Netlink() as inner:
            for interface, name in visitors:
                if index := index_of(interface):  # of the namespace that we are in
                    inner.batch([set_down(interface), move_link(index, name, namespace=home)])
    finally:
        os.close(fd)
        os.close(home)


def mac_of_link(netlink: Netlink, name: str) -> str:
    """The MAC of a link of the host. Raises: OSError (ENODEV)."""
    return _known(netlink, name).mac


def _known(netlink: Netlink, name: str) -> Link:
    for link in netlink.links():
        if link.name == name:
            return link
    raise OSError(errno.ENODEV, f"failed to add interface {name} to sandbox: Link not found")


def repair_sandbox(
    netlink: Netlink,
    segments: Segments,
    key: str,
    pid: int,
    plugs: Sequence[Plug],
    on_host: Mapping[str, Link],
) -> None:
    """Pin the namespace of the running process `pid` again and plug in what is unplugged; without routes.

    `on_host` are the links of the host by name, the bridges repaired. Raises: OSError.
    """
    if not netns.is_pinned(key):
        fd = netns.open_pinned(f"/proc/{pid}/ns/net")
        try:
            netns.pin(fd, key)
        finally:
            os.close(fd)
    fd = netns.open_pinned(key)
    try:
        with netns.inside(fd), Netlink() as inner:
            inside = {link.name for link in inner.links()}
        unplugged = [
            plug
            for plug in plugs
            if plug.endpoint.interface not in inside
            and not (
                isinstance(plug.to, Visitor) and not index_of(plug.to.name)
            )  # the plugin has it, or none
        ]
        furnish(netlink, segments, fd, unplugged)
    finally:
        os.close(fd)
    plug_again(netlink, [plug for plug in plugs if plug not in unplugged], on_host)


def plug_again(netlink: Netlink, plugs: Sequence[Plug], on_host: Mapping[str, Link]) -> None:
    """Make the veths that are `on_host` ports of their bridges, where these were deleted and made again."""
    for plug in plugs:
        bridge = index_of(plug.to.name) if isinstance(plug.to, Bridge) else 0
        if bridge and plug.veth in on_host and on_host[plug.veth].master != bridge:
            netlink.batch([set_master(plug.veth, bridge), *_port(plug)])


def _port(plug: Plug) -> list[Request]:
    assert isinstance(plug.to, Bridge)
    # with br_netfilter a container's way to its own published port is bridged, not routed: hence hairpin
    return [set_port(plug.veth, hairpin=True, isolated=not plug.to.icc)]


def our_veths(netlink: Netlink, prefix: str, bridges: Collection[str]) -> set[str]:
    """The names of the links that begin with `prefix` and are ports of `bridges`."""
    found = netlink.links()
    indexes = {link.index for link in found if link.name in bridges}
    return {link.name for link in found if link.name.startswith(prefix) and link.master in indexes}


def remove_sandbox(key: str) -> None:
    """Let go of the namespace; idempotent. The kernel destroys it and its veths some 25 ms later."""
    netns.unpin(key)


def remove_links(netlink: Netlink, names: Collection[str]) -> None:
    """Delete those links that are there; 30 ms each, so only for what did not go by itself."""
    for name in names:
        if index_of(name):
            try:
                netlink.batch([delete_link(name)])
            except OSError as error:
                if error.errno != errno.ENODEV:  # it went by itself meanwhile
                    raise


def take_down(netlink: Netlink, name: str) -> None:
    """Take a link down, with its routes, if it is there: what is left of it is nothing but its name."""
    if index_of(name):
        try:
            netlink.batch([set_down(name)])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def index_of(name: str) -> int:
    """The index of a link of the host, 0 when it is not there."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def enable_forwarding() -> bool:
    """Let the host forward IPv4; whether that was off."""
    return _switch_on("/proc/sys/net/ipv4/ip_forward")


def enable_ipv6_forwarding() -> bool:
    """Let the host forward IPv6; whether that was off. Links that listen to routers go on doing so: a host
    that forwards would become deaf to them."""
    conf = "/proc/sys/net/ipv6/conf"
    if not os.path.exists(conf):
        return False
    with open(f"{conf}/all/forwarding") as file:
        if file.read().strip() == "1":
            return False
    for name in os.listdir(conf):
        with open(f"{conf}/{name}/accept_ra") as file:
            listens = file.read().strip() == "1"
        if listens and name not in ("all", "lo"):
            _write(f"{conf}/{name}/accept_ra", "2")
    return _switch_on(f"{conf}/all/forwarding")


def _switch_on(path: str) -> bool:
    with open(path) as file:
        if file.read().strip() == "1":
            return False
    _write(path, "1")
    return True


def _outside(netlink: Netlink, plug: Plug, fd: int) -> list[Request]:
    """What is to be done in the host's namespace."""
    if isinstance(plug.to, Segment):
        return []
    if isinstance(plug.to, Visitor):
        link, end = _known(netlink, plug.to.name), plug.endpoint
        return [
            move_link(link.index, end.interface, namespace=fd, mac=end.mac if end.mac != link.mac else "")
        ]
    if isinstance(plug.to, Shared):
        return [_shared_link(plug.to, plug.endpoint, ensure_shared(netlink, plug.to), fd)]
    veth = add_veth(
        plug.veth,
        master=ensure_bridge(netlink, plug.to),
        peer=plug.endpoint.interface,
        peer_ns=fd,
        peer_mac=plug.endpoint.mac,
        mtu=plug.to.mtu,
    )
    return [veth, *_port(plug)]


def _shared_link(shared: Shared, endpoint: Endpoint, parent: int, fd: int) -> Request:
    name = endpoint.interface
    if shared.kind == "ipvlan":
        return add_ipvlan(name, parent=parent, mode=shared.mode, namespace=fd, mtu=shared.mtu)
    return add_macvlan(name, parent=parent, mode=shared.mode, mac=endpoint.mac, namespace=fd, mtu=shared.mtu)


def _inside(endpoint: Endpoint, index: int) -> list[Request]:
    requests = [set_up(endpoint.interface)]
    if endpoint.ipv4:
        requests.append(add_address(index, ip_interface(f"{endpoint.ipv4}/{endpoint.ipv4_prefix}")))
    if endpoint.ipv6:
        requests.append(add_address(index, ip_interface(f"{endpoint.ipv6}/{endpoint.ipv6_prefix}")))
    for text in endpoint.link_local:
        prefix = 16 if isinstance(ip_address(text), IPv4Address) else 64
        requests.append(add_address(index, ip_interface(f"{text}/{prefix}")))
    for destination, next_hop in endpoint.brought.routes if endpoint.brought else ():
        gateway = ip_address(next_hop) if next_hop else None
        requests.append(add_route(ip_network(destination), gateway, index))
    return requests


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _write_if_there(path: str, text: str) -> None:
    """A kernel without IPv6 has no such file, and needs no such setting."""
    if os.path.exists(path):
        _write(path, text)
