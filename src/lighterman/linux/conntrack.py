"""Connection tracking: forgetting flows that lead to an address that is no longer there.

Source: linux/netfilter/nfnetlink_conntrack.h, conntrack -D.
"""

import os
import socket
import struct
from collections.abc import Collection
from ipaddress import IPv4Address

from lighterman.linux.netlink import pack, unpack

_NETLINK_NETFILTER = 12
_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY = 1, 2
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_PROTO_NUM = 1, 1
_HEADER = struct.Struct("=IHHII")
_NFGENMSG = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget(addresses: Collection[IPv4Address], protocol: int) -> int:
    """Delete the IPv4 flows of `protocol` (IPPROTO_UDP) that one of `addresses` answers; how many there were.

    Acts in the namespace of the calling thread. Raises: OSError (EOPNOTSUPP, EPROTONOSUPPORT: the kernel
    has no nf_conntrack_netlink). Blocks for as long as the kernel needs to list its flows.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
        _send(sock, _GET, _NLM_F_DUMP, b"")
        wanted = {address.packed for address in addresses}
        flows = [flow for flow in _dumped(sock) if _answers(flow, wanted, protocol)]
        for flow in flows:
            _send(sock, _DELETE, _NLM_F_ACK, pack([(_CTA_TUPLE_ORIG | 0x8000, flow[_CTA_TUPLE_ORIG])]))
            sock.recv(1 << 16)  # done, or ENOENT: it ended by itself meanwhile
    return len(flows)


def _answers(flow: dict[int, bytes], addresses: Collection[bytes], protocol: int) -> bool:
    reply = unpack(flow.get(_CTA_TUPLE_REPLY, b""))
    source = unpack(reply.get(_CTA_TUPLE_IP, b"")).get(_CTA_IP_V4_SRC)
    number = unpack(reply.get(_CTA_TUPLE_PROTO, b"")).get(_CTA_PROTO_NUM)
    return source in addresses and number == bytes([protocol])


def _send(sock: socket.socket, kind: int, flags: int, attributes: bytes) -> None:
    body = _NFGENMSG + attributes
    sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, 1, 0) + body)


def _dumped(sock: socket.socket) -> list[dict[int, bytes]]:
    flows: list[dict[int, bytes]] = []
    while True:
        data, at = sock.recv(1 << 18), 0
        while at < len(data):
            length, kind, *_rest = _HEADER.unpack_from(data, at)
            if kind == _NLMSG_DONE:
                return flows
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                raise OSError(code, f"list flows: {os.strerror(code)}")
            flows.append(unpack(data[at + _HEADER.size + len(_NFGENMSG) : at + length]))
            at += (length + 3) & ~3
