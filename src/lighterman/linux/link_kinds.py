"""A link of each kind that there is: what `ip link add` says, as a `Request` of rtnetlink.

Source: ip-link(8), linux/if_link.h, linux/veth.h.
"""

import socket
import struct
from collections.abc import Sequence

from lighterman.linux.netlink import (
    IFF_UP,
    IFINFO,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_NEWLINK,
    Address,
    Request,
    Value,
    mac_bytes,
    pack,
)

IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PROXY = 1, 4, 7, 11
IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6 = 15, 17
VETH_INFO_PEER, IFLA_VLAN_ID, IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE = 1, 1, 1, 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}


def add_veth(
    name: str,
    *,
    master: int,
    peer: str,
    peer_ns: int,
    peer_mac: str,
    mtu: int,
) -> Request:
    """A veth pair: `name` here, up, as a port of the bridge `master`; its peer, still down, made directly
    in the namespace of the fd `peer_ns` with the index and MAC given. EEXIST when a name or index is taken.
    """
    # the peer cannot be made up: it is configured before the kernel joins the two (ENOTCONN)
    peer_info = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack(
        [
            (IFLA_IFNAME, peer),
            (IFLA_MTU, mtu),
            (IFLA_ADDRESS, mac_bytes(peer_mac)),
            (IFLA_NET_NS_FD, peer_ns),
        ]
    )
    attributes: list[tuple[int, Value]] = [
        (IFLA_IFNAME, name),
        (IFLA_MTU, mtu),
        (IFLA_MASTER, master),
        (IFLA_LINKINFO, [(IFLA_INFO_KIND, "veth"), (IFLA_INFO_DATA, [(VETH_INFO_PEER, peer_info)])]),
    ]
    return _new_link(attributes, f"add veth {name}")


def add_bridge(name: str, *, mac: str, mtu: int) -> Request:
    """A bridge that is up and keeps its MAC whatever ports come and go."""
    attributes: list[tuple[int, Value]] = [
        (IFLA_IFNAME, name),
        (IFLA_MTU, mtu),
        (IFLA_ADDRESS, mac_bytes(mac)),
        (IFLA_LINKINFO, [(IFLA_INFO_KIND, "bridge")]),
    ]
    return _new_link(attributes, f"add bridge {name}")


def add_vlan(name: str, *, parent: int, number: int) -> Request:
    """The VLAN `number` of the link `parent`, up."""
    data: list[tuple[int, Value]] = [(IFLA_VLAN_ID, struct.pack("=H", number))]
    attributes: list[tuple[int, Value]] = [
        (IFLA_IFNAME, name),
        (IFLA_LINK, parent),
        (IFLA_LINKINFO, [(IFLA_INFO_KIND, "vlan"), (IFLA_INFO_DATA, data)]),
    ]
    return _new_link(attributes, f"add vlan {name}")


def add_macvlan(name: str, *, parent: int, mode: str, mac: str, namespace: int, mtu: int) -> Request:
    """A link of its own MAC on `parent`, made directly in the namespace of the fd, up. MTU 0: the parent's.

    EOPNOTSUPP: this kernel has no macvlan.
    """
    data: list[tuple[int, Value]] = [(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode])]
    return _new_link(
        [
            (IFLA_IFNAME, name),
            (IFLA_LINK, parent),
            (IFLA_ADDRESS, mac_bytes(mac)),
            (IFLA_NET_NS_FD, namespace),
            *_mtu(mtu),
            (IFLA_LINKINFO, [(IFLA_INFO_KIND, "macvlan"), (IFLA_INFO_DATA, data)]),
        ],
        f"add macvlan {name}",
    )


def add_ipvlan(name: str, *, parent: int, mode: str, namespace: int, mtu: int) -> Request:
    """A link that shares the MAC of `parent`, made directly in the namespace of the fd, up. MTU 0: the
    parent's.

    EOPNOTSUPP: this kernel has no ipvlan.
    """
    data: list[tuple[int, Value]] = [(IFLA_IPVLAN_MODE, struct.pack("=H", IPVLAN_MODES[mode]))]
    return _new_link(
        [
            (IFLA_IFNAME, name),
            (IFLA_LINK, parent),
            (IFLA_NET_NS_FD, namespace),
            *_mtu(mtu),
            (IFLA_LINKINFO, [(IFLA_INFO_KIND, "ipvlan"), (IFLA_INFO_DATA, data)]),
        ],
        f"add ipvlan {name}",
    )


def add_vxlan(name: str, *, vni: int, local: Address, port: int, namespace: int, mtu: int) -> Request:
    """A VXLAN link made directly in the namespace of the fd, up; its packets come and go by `local` in the
    namespace of the socket that this is sent on. It learns nothing and floods nothing: `add_tunnel` says what
    is where, and `add_neighbour` lets it answer ARP itself.

    EEXIST: this namespace has a link of this VNI on this port.
    """
    where = IFLA_VXLAN_LOCAL if local.version == 4 else IFLA_VXLAN_LOCAL6
    data: list[tuple[int, Value]] = [
        (IFLA_VXLAN_ID, vni),
        (where, local.packed),
        (IFLA_VXLAN_LEARNING, b"\0"),
        (IFLA_VXLAN_PROXY, b"\1"),
        (IFLA_VXLAN_PORT, struct.pack(">H", port)),
    ]
    attributes: list[tuple[int, Value]] = [
        (IFLA_IFNAME, name),
        (IFLA_NET_NS_FD, namespace),
        *_mtu(mtu),
        (IFLA_LINKINFO, [(IFLA_INFO_KIND, "vxlan"), (IFLA_INFO_DATA, data)]),
    ]
    return _new_link(attributes, f"add vxlan {name}")


def _mtu(mtu: int) -> list[tuple[int, Value]]:
    return [(IFLA_MTU, mtu)] if mtu else []


def _new_link(attributes: Sequence[tuple[int, Value]], about: str) -> Request:
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP) + pack(attributes)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, about)
