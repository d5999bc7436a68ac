"""Bridges, veth pairs and namespaces: the effects of this room on links. All block for about a
millisecond and run in the `Kernel`'s thread.

A veth is named `veth`, three digits that tell this engine from others on the host, and eight of the
endpoint's id. What carries our digits and hangs on our bridge is ours; nothing else is ever touched.
"""

import errno
import hashlib
import ipaddress
import os
import secrets
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from lighterman.linux import netns
from lighterman.linux.netlink import (
    Netlink,
    Request,
    add_address,
    add_bridge,
    add_route,
    add_veth,
    delete_link,
    set_port,
    set_up,
)
from lighterman.networks.sandbox import Endpoint

_ANYWHERE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True)
class Bridge:
    """What a bridge's link has to be."""

    name: str
    address: IPv4Interface
    mtu: int
    icc: bool


@dataclass(frozen=True)
class Plug:
    """An endpoint and the bridge it is plugged into, by a veth of this name."""

    endpoint: Endpoint
    bridge: Bridge
    veth: str


def veth_prefix(bridge_name: str) -> str:
    """The first letters of all veths of the engine whose default bridge has this name."""
    return "veth" + hashlib.sha256(bridge_name.encode()).hexdigest()[:3]


def ensure_bridge(netlink: Netlink, bridge: Bridge) -> int:
    """The index of the bridge, which is made, given its address and brought up where that is missing."""
    index = index_of(bridge.name)
    if index:
        return index
    mac = "02:42:" + secrets.token_bytes(4).hex(":")
    netlink.batch([add_bridge(bridge.name, mac=mac, mtu=bridge.mtu)])
    index = socket.if_nametoindex(bridge.name)
    netlink.batch([add_address(index, bridge.address)])
    # published ports on 127.0.0.1 are sent to containers; the chain `martians` guards the way back
    _write(f"/proc/sys/net/ipv4/conf/{bridge.name}/route_localnet", "1")
    return index


def repair_bridge(netlink: Netlink, bridge: Bridge) -> None:
    """`ensure_bridge`, and for one that was there: up, with its address, settings as we want them."""
    index = ensure_bridge(netlink, bridge)
    if all(address.interface != bridge.address for address in netlink.addresses() if address.index == index):
        netlink.batch([add_address(index, bridge.address)])
    netlink.batch([set_up(bridge.name)])
    _write(f"/proc/sys/net/ipv4/conf/{bridge.name}/route_localnet", "1")


def make_sandbox(netlink: Netlink, key: str, plugs: Sequence[Plug]) -> None:
    """A namespace pinned at `key` with its loopback up and plugged into its bridges.

    Raises: OSError; then what was made so far is there still: `remove_sandbox` takes it away.
    """
    fd = netns.new()
    try:
        netns.pin(fd, key)
        furnish(netlink, fd, plugs)
    finally:
        os.close(fd)


def furnish(netlink: Netlink, fd: int, plugs: Sequence[Plug]) -> None:
    """Set up the namespace of `fd`: sysctls, loopback, links, addresses, routes."""
    with netns.inside(fd):
        if not any(plug.endpoint.ipv6 for plug in plugs):
            # no address, no router's advertisement, no link-local neighbour: IPv4 is all there is
            for conf in ("all", "default"):
                _write_if_there(f"/proc/sys/net/ipv6/conf/{conf}/disable_ipv6", "1")
        _write_if_there("/proc/sys/net/ipv6/conf/default/accept_ra", "0")
        inner = Netlink()
    with inner:
        netlink.batch([request for plug in plugs for request in _outside(netlink, plug, fd)])
        indexes = {link.name: link.index for link in inner.links()} if plugs else {}
        requests = [set_up("lo")]
        for plug in plugs:
            requests += _inside(plug.endpoint, indexes[plug.endpoint.interface])
        inner.batch(requests)


def repair_sandbox(netlink: Netlink, key: str, pid: int, plugs: Sequence[Plug]) -> None:
    """Pin the namespace of the running process `pid` again and plug in what is unplugged. Raises: OSError."""
    if not netns.is_pinned(key):
        fd = netns.open_pinned(f"/proc/{pid}/ns/net")
        try:
            netns.pin(fd, key)
        finally:
            os.close(fd)
    unplugged = [plug for plug in plugs if not index_of(plug.veth)]
    if unplugged:
        fd = netns.open_pinned(key)
        try:
            furnish(netlink, fd, unplugged)
        finally:
            os.close(fd)


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


def index_of(name: str) -> int:
    """The index of a link of the host, 0 when it is not there."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def enable_forwarding() -> bool:
    """Let the host forward IPv4; whether that was off."""
    path = "/proc/sys/net/ipv4/ip_forward"
    with open(path) as file:
        if file.read().strip() == "1":
            return False
    _write(path, "1")
    return True


def _outside(netlink: Netlink, plug: Plug, fd: int) -> list[Request]:
    veth = add_veth(
        plug.veth,
        master=ensure_bridge(netlink, plug.bridge),
        peer=plug.endpoint.interface,
        peer_ns=fd,
        peer_mac=plug.endpoint.mac,
        mtu=plug.bridge.mtu,
    )
    # with br_netfilter a container's way to its own published port is bridged, not routed: hence hairpin
    return [veth, set_port(plug.veth, hairpin=True, isolated=not plug.bridge.icc)]


def _inside(endpoint: Endpoint, index: int) -> list[Request]:
    requests = [
        set_up(endpoint.interface),
        add_address(index, IPv4Interface(f"{endpoint.ipv4}/{endpoint.ipv4_prefix}")),
    ]
    if endpoint.gateway:
        requests.append(add_route(_ANYWHERE, ipaddress.ip_address(endpoint.gateway), index))
    return requests


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _write_if_there(path: str, text: str) -> None:
    """A kernel without IPv6 has no such file, and needs no such setting."""
    if os.path.exists(path):
        _write(path, text)
