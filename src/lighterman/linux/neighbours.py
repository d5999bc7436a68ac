"""Who is where behind a link: neighbours, and the tunnels of VXLAN links.

Requests for `Netlink.batch`, as everything there. Source: rtnetlink(7), bridge(8), linux/neighbour.h.
"""

import socket
import struct

from lighterman.linux.netlink import (
    NDA_DST,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NUD_PERMANENT,
    Address,
    Request,
    Value,
    mac_bytes,
    pack,
)

RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
NDA_LLADDR = 2
NTF_SELF, NTF_MASTER = 0x02, 0x04
NUD_REACHABLE, NUD_NOARP = 0x02, 0x40
_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type


def add_tunnel(index: int, mac: str, remote: Address) -> list[Request]:
    """Let the VXLAN link `index`, a port of a bridge, send frames for `mac` to the host `remote`, in place of
    where it sent them before."""
    tunnel = _NDMSG.pack(socket.AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF, 0)
    port = _NDMSG.pack(socket.AF_BRIDGE, index, NUD_REACHABLE | NUD_NOARP, NTF_MASTER, 0)
    lladdr: list[tuple[int, Value]] = [(NDA_LLADDR, mac_bytes(mac))]
    flags, about = NLM_F_CREATE | NLM_F_REPLACE, f"add tunnel for {mac} to {remote}"
    return [
        Request(RTM_NEWNEIGH, flags, tunnel + pack([*lladdr, (NDA_DST, remote.packed)]), about),
        Request(RTM_NEWNEIGH, flags, port + pack(lladdr), about),
    ]


def delete_tunnel(index: int, mac: str) -> list[Request]:
    """Take that away. ENOENT when it is not there."""
    return [
        Request(
            RTM_DELNEIGH,
            0,
            _NDMSG.pack(socket.AF_BRIDGE, index, NUD_PERMANENT, flag, 0)
            + pack([(NDA_LLADDR, mac_bytes(mac))]),
            f"delete tunnel for {mac}",
        )
        for flag in (NTF_SELF, NTF_MASTER)
    ]


def add_neighbour(index: int, address: Address, mac: str) -> Request:
    """Know for good who has `address` behind the link `index`."""
    payload = _NDMSG.pack(_family_of(address), index, NUD_PERMANENT, 0, 0)
    attributes: list[tuple[int, Value]] = [(NDA_DST, address.packed), (NDA_LLADDR, mac_bytes(mac))]
    return Request(
        RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload + pack(attributes), f"add neighbour {address}"
    )


def delete_neighbour(index: int, address: Address) -> Request:
    """Take that away. ENOENT when it is not there."""
    payload = _NDMSG.pack(_family_of(address), index, 0, 0, 0)
    return Request(
        RTM_DELNEIGH, 0, payload + pack([(NDA_DST, address.packed)]), f"delete neighbour {address}"
    )


def _family_of(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
