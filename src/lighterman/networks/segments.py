"""Overlay networks on this host: one namespace that holds a bridge and a VXLAN link for each. Effects, in the
`Kernel`'s thread only.

The namespace has no addresses and forwards nothing, so a network of the swarm cannot collide with one of the
host's, and a container in it reaches neither the host nor another network. It is pinned in the exec root and
outlives the daemon, as the containers do.

Nothing is learned and nothing is flooded between hosts: who is where is told by the swarm and written into
the VXLAN link (`reach`), which answers ARP for the others by itself. What nobody was told of is dropped.
Source: bridge(8), ip-link(8) on vxlan with `nolearning proxy`.
"""

import errno
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from msgspec import Struct

from lighterman.linux import netns
from lighterman.linux.link_kinds import add_bridge, add_veth, add_vxlan
from lighterman.linux.neighbours import add_neighbour, add_tunnel, delete_neighbour, delete_tunnel
from lighterman.linux.netlink import (
    Netlink,
    Request,
    delete_link,
    set_alias,
    set_learning,
    set_master,
    set_port,
    set_up,
)
from lighterman.networks.ipam import mac_of

log = logging.getLogger(__name__)


class Segment(Struct, frozen=True):
    """One overlay network: the name of its bridge, its number on the wire, and the bytes of its packets."""

    bridge: str
    vni: int
    mtu: int

    @property
    def tunnel(self) -> str:
        """The name of its VXLAN link."""
        return "vx" + self.bridge[2:]


class DataPath(Struct, frozen=True):
    """Where this host's tunnels begin: an address of its own, and the port that all hosts use."""

    address: str
    port: int = 4789


class Segments:
    """All overlay networks of one engine. `pin` is where the namespace is held."""

    def __init__(self, netlink: Netlink, pin: Path) -> None:
        self._host = netlink
        self._pin = str(pin)
        self._fd = -1
        self._inside: Netlink | None = None
        self._told: dict[str, dict[str, str]] = {}  # bridge -> address -> host, as it was written

    def plug(self, segment: Segment, *, veth: str, interface: str, mac: str, namespace: int) -> None:
        """Make a veth pair between the bridge and the namespace of the fd. Raises: OSError."""
        index = self.ensure(segment)
        made = add_veth(veth, master=index, peer=interface, peer_ns=namespace, peer_mac=mac, mtu=segment.mtu)
        self._entered().batch([made, set_port(veth, hairpin=False, isolated=False)])

    def ensure(self, segment: Segment) -> int:
        """The index of the bridge, which is made where it is missing. Raises: OSError."""
        netlink = self._entered()
        found = self._indexes(netlink)
        if segment.bridge not in found:
            mac = mac_of(ip_address(segment.vni | 0x7F000000))  # any: nobody speaks to the bridge itself
            netlink.batch([add_bridge(segment.bridge, mac=mac, mtu=segment.mtu)])
            found = self._indexes(netlink)
        return found[segment.bridge]

    def reach(self, segment: Segment, path: DataPath, hosts: Mapping[str, str]) -> None:
        """Let the others of the network be reached: `hosts` is their address -> the host they are on.

        What was reached before and is not among them is no more. As long as there is nobody elsewhere there
        is no tunnel: the kernel has but one of a number for a port. Raises: OSError.
        """
        if not hosts and segment.tunnel not in self._indexes(self._entered()):
            return
        index = self._tunnel(segment, path)
        before, missing = self._told.get(segment.bridge, {}), []
        for address in before.keys() - hosts.keys():
            missing += _unreach(index, address)
        self._lenient(missing)
        requests: list[Request] = []
        for address, host in hosts.items():
            if before.get(address) != host:
                requests += _reach(index, address, host)
        self._entered().batch(requests)
        self._told[segment.bridge] = dict(hosts)

    def remove(self, bridge: str) -> None:
        """Take one network away; idempotent. Raises: OSError."""
        self._told.pop(bridge, None)
        if self._inside is None and not netns.is_pinned(self._pin):
            return
        found = self._indexes(self._entered())
        for name in (Segment(bridge, 0, 0).tunnel, bridge):
            if name in found:
                self._entered().batch([delete_link(name)])

    def sweep(self, wanted: Collection[str]) -> None:
        """Take away every network whose bridge is not `wanted`; without any, the namespace too."""
        if not netns.is_pinned(self._pin):
            return
        if not wanted:
            self.close()
            netns.unpin(self._pin)
            return
        for link in self._entered().links():
            if link.kind == "bridge" and link.name not in wanted:
                self.remove(link.name)

    def close(self) -> None:
        """Let go of the namespace, which stays for the containers in it."""
        if self._inside is not None:
            self._inside.close()
            os.close(self._fd)
            self._inside, self._fd = None, -1
        self._told.clear()

    def _tunnel(self, segment: Segment, path: DataPath) -> int:
        """The index of the VXLAN link, made anew where it leads by another address, port or number."""
        bridge, netlink = self.ensure(segment), self._entered()
        alias = f"{segment.vni} {path.address} {path.port} {segment.mtu}"
        former = next((link for link in netlink.links() if link.name == segment.tunnel), None)
        if former is not None and former.alias == alias:
            known = {str(there): "" for there in netlink.neighbours(former.index)}
            self._told.setdefault(segment.bridge, known)  # what an engine before this one has written
            return former.index
        self._told.pop(segment.bridge, None)
        if former is not None:
            netlink.batch([delete_link(segment.tunnel)])
        self._host.batch(
            [
                add_vxlan(
                    segment.tunnel,
                    vni=segment.vni,
                    local=ip_address(path.address),
                    port=path.port,
                    namespace=self._fd,
                    mtu=segment.mtu,
                )
            ]
        )
        netlink.batch(
            [
                set_master(segment.tunnel, bridge),
                set_learning(segment.tunnel, learning=False),
                set_up(segment.tunnel),
                set_alias(segment.tunnel, alias),
            ]
        )
        return self._indexes(netlink)[segment.tunnel]

    def _lenient(self, requests: Sequence[Request]) -> None:
        """Do `requests`, each of which may find that there is nothing to do any more."""
        for request in requests:
            try:
                self._entered().batch([request])
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def _indexes(self, netlink: Netlink) -> dict[str, int]:
        return {link.name: link.index for link in netlink.links()}

    def _entered(self) -> Netlink:
        """A socket of the namespace, which is made where it is missing."""
        if self._inside is None:
            if not netns.is_pinned(self._pin):
                self._make()
            self._fd = netns.open_pinned(self._pin)
            with netns.inside(self._fd):
                self._inside = Netlink()
        return self._inside

    def _make(self) -> None:
        fd = netns.new()
        try:
            with netns.inside(fd):
                for conf in ("all", "default"):  # bridges and links of ours speak no IPv6 of their own
                    path = Path(f"/proc/sys/net/ipv6/conf/{conf}/disable_ipv6")
                    if path.exists():
                        path.write_text("1")
            netns.pin(fd, self._pin)
        finally:
            os.close(fd)


def _reach(index: int, address: str, host: str) -> list[Request]:
    there = ip_address(address)
    return [*add_tunnel(index, mac_of(there), ip_address(host)), add_neighbour(index, there, mac_of(there))]


def _unreach(index: int, address: str) -> list[Request]:
    there = ip_address(address)
    return [*delete_tunnel(index, mac_of(there)), delete_neighbour(index, there)]
