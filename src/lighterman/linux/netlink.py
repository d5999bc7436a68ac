"""rtnetlink: links, addresses and routes over one raw socket.

A `Request` is a value: a function named as `ip` names it builds one, nothing happens before a `Netlink`
sends it. `Netlink.batch` sends any number as one write; the kernel works through them in order and answers
each, and the first that failed is raised with its own words and the kernel's. A socket belongs to the
network namespace in which it was opened, whatever thread uses it later, so one can be kept for each.

Attributes are `(type, value)` pairs; `pack` nests them. Source: rtnetlink(7), linux/rtnetlink.h, if_link.h.
"""

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType

from msgspec import Struct

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_GETNEIGH = 30
RTM_NEWRULE = 32

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_IFALIAS, IFLA_NET_NS_FD = 20, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_BRPORT_LEARNING, IFLA_BRPORT_ISOLATED = 4, 8, 33
IFF_UP = 0x1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD = 0x2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN = 254
RT_SCOPE_LINK = 253
RTPROT_BOOT, RTN_UNICAST = 3, 1
NDA_DST, NUD_PERMANENT = 1, 0x80
FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FR_ACT_TO_TBL = 6, 10, 15, 1

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLMSGERR_ATTR_MSG = 1
_NLA_F_NESTED, _NLA_TYPE_MASK = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
IFINFO = struct.Struct("=BxHiII")  # family, device type, index, flags, changed flags
_IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst and src length, tos, table, protocol, scope, type, flags
_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_RULE = struct.Struct("=BBBBBxxBI")  # family, dst and src length, tos, table, action, flags

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Value = bytes | str | int | Sequence[tuple[int, "Value"]]


class NetlinkError(OSError):
    """A request that the kernel refused: errno, and a text that says which one and why."""


class Request(Struct, frozen=True):
    """One message to come; `about` says what it does, for errors and for the log."""

    kind: int
    flags: int
    payload: bytes
    about: str


class Link(Struct, frozen=True):
    """A network device as a dump tells it; `kind` is "" for hardware, `master` an index or 0, `alias` the
    free text that whoever made it may give it."""

    index: int
    name: str
    kind: str
    master: int
    mac: str
    mtu: int
    up: bool
    alias: str = ""


class LinkAddress(Struct, frozen=True):
    """An address on the link `index`."""

    index: int
    interface: Interface


class Route(Struct, frozen=True):
    """A route to `subnet` through the link `index` (0: several or none) in routing table `table`."""

    subnet: Subnet
    index: int
    table: int


def pack(attributes: Sequence[tuple[int, Value]]) -> bytes:
    """Attributes as bytes: text with its NUL, int as 32 bits of the machine, a sequence nested."""
    packed = bytearray()
    for kind, value in attributes:
        if isinstance(value, str):
            value = value.encode() + b"\0"
        elif isinstance(value, int):
            value = struct.pack("=I", value)
        elif not isinstance(value, bytes):
            kind, value = kind | _NLA_F_NESTED, pack(value)
        packed += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return bytes(packed)


def unpack(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by type, the last of each; nested ones are unpacked by calling it again."""
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def set_alias(name: str, alias: str) -> Request:
    """Give the link its free text."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack([(IFLA_IFNAME, name), (IFLA_IFALIAS, alias)])
    return Request(RTM_SETLINK, 0, payload, f"set the alias of {name}")


def set_port(name: str, *, hairpin: bool, isolated: bool) -> Request:
    """Set the bridge port `name`: whether frames may leave by the port they came from, and whether other
    isolated ports are out of its reach (Linux 4.18)."""
    settings: list[tuple[int, Value]] = [
        (IFLA_BRPORT_MODE, bytes([hairpin])),
        (IFLA_BRPORT_ISOLATED, bytes([isolated])),
    ]
    info: list[tuple[int, Value]] = [
        (IFLA_INFO_SLAVE_KIND, "bridge"),
        (IFLA_INFO_SLAVE_DATA, settings),
    ]
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack([(IFLA_IFNAME, name), (IFLA_LINKINFO, info)])
    return Request(RTM_NEWLINK, 0, payload, f"set the bridge port {name}")


def set_learning(name: str, *, learning: bool) -> Request:
    """Say whether the bridge believes the senders' addresses of frames that come in by the port `name`."""
    info: list[tuple[int, Value]] = [
        (IFLA_INFO_SLAVE_KIND, "bridge"),
        (IFLA_INFO_SLAVE_DATA, [(IFLA_BRPORT_LEARNING, bytes([learning]))]),
    ]
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack([(IFLA_IFNAME, name), (IFLA_LINKINFO, info)])
    return Request(RTM_NEWLINK, 0, payload, f"set the bridge port {name}")


def set_master(name: str, master: int) -> Request:
    """Make the link a port of the bridge `master`."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack([(IFLA_IFNAME, name), (IFLA_MASTER, master)])
    return Request(RTM_SETLINK, 0, payload, f"make {name} a port")


def set_up(name: str) -> Request:
    """Bring the link up."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP) + pack([(IFLA_IFNAME, name)])
    return Request(RTM_SETLINK, 0, payload, f"set {name} up")


def move_link(index: int, name: str, *, namespace: int, mac: str = "") -> Request:
    """Move the link into the namespace of the fd, where it is called `name`, is down and has no address; with
    `mac` it has that one. EEXIST: there is a link of that name. EINVAL: it may not leave its namespace."""
    attributes: list[tuple[int, Value]] = [(IFLA_NET_NS_FD, namespace), (IFLA_IFNAME, name)]
    if mac:
        attributes.append((IFLA_ADDRESS, mac_bytes(mac)))
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0) + pack(attributes)
    return Request(RTM_SETLINK, 0, payload, f"move link {index} as {name}")


def set_down(name: str) -> Request:
    """Take the link down; its routes go. ENODEV when it is not there."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, IFF_UP) + pack([(IFLA_IFNAME, name)])
    return Request(RTM_SETLINK, 0, payload, f"set {name} down")


def delete_link(name: str) -> Request:
    """Remove the link; of a veth the peer goes too. ENODEV when it is not there."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + pack([(IFLA_IFNAME, name)])
    return Request(RTM_DELLINK, 0, payload, f"delete {name}")


def add_address(index: int, interface: Interface) -> Request:
    """Give the link an address, with the broadcast address of its subnet for IPv4; IPv6 is used at once,
    without asking whether somebody has it."""
    attributes: list[tuple[int, Value]] = [
        (IFA_LOCAL, interface.ip.packed),
        (IFA_ADDRESS, interface.ip.packed),
    ]
    if interface.version == 4 and interface.network.prefixlen < 31:
        attributes.append((IFA_BROADCAST, interface.network.broadcast_address.packed))
    flags = IFA_F_NODAD if interface.version == 6 else 0
    header = _IFADDR.pack(_family_of(interface.version), interface.network.prefixlen, flags, 0, index)
    return Request(
        RTM_NEWADDR,
        NLM_F_CREATE | NLM_F_EXCL,
        header + pack(attributes),
        f"add address {interface} to link {index}",
    )


def add_rule(mark: int, *, table: int, priority: int) -> Request:
    """Let IPv4 packets with the firewall's `mark` be led by the routing `table`. EEXIST when it is there."""
    payload = _RULE.pack(socket.AF_INET, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    attributes: list[tuple[int, Value]] = [(FRA_PRIORITY, priority), (FRA_FWMARK, mark), (FRA_TABLE, table)]
    return Request(
        RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, payload + pack(attributes), f"add rule for mark {mark}"
    )


def add_route(subnet: Subnet, gateway: Address | None, index: int, *, table: int = RT_TABLE_MAIN) -> Request:
    """A route to `subnet` by `gateway` on the link `index`; without one it is on that link itself."""
    payload = _route_payload(subnet, gateway, index, table)
    way = f"via {gateway}" if gateway else f"on link {index}"
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, payload, f"add route {subnet} {way}")


def delete_route(subnet: Subnet, gateway: Address, index: int) -> Request:
    """Take that route away. ESRCH when it is not there."""
    return Request(
        RTM_DELROUTE, 0, _route_payload(subnet, gateway, index), f"delete route {subnet} via {gateway}"
    )


def _route_payload(subnet: Subnet, gateway: Address | None, index: int, table: int = RT_TABLE_MAIN) -> bytes:
    attributes: list[tuple[int, Value]] = [(RTA_OIF, index)]
    if gateway is not None:
        attributes.append((RTA_GATEWAY, gateway.packed))
    if table != RT_TABLE_MAIN:
        attributes.append((RTA_TABLE, table))
    if subnet.prefixlen:
        attributes.append((RTA_DST, subnet.network_address.packed))
    header = _RTMSG.pack(
        _family_of(subnet.version),
        subnet.prefixlen,
        0,
        0,
        table if table < 256 else 0,
        RTPROT_BOOT,
        0 if gateway is not None else RT_SCOPE_LINK,
        RTN_UNICAST,
        0,
    )
    return header + pack(attributes)


def mac_bytes(mac: str) -> bytes:
    """The six bytes of "02:42:ac:11:00:02". Raises ValueError."""
    octets = bytes.fromhex(mac.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"address {mac}: invalid MAC address")
    return octets


class Netlink:
    """A rtnetlink socket of the namespace in which the calling thread is now. For one thread at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def batch(self, requests: Sequence[Request]) -> None:
        """Do all `requests` in order.

        Raises: NetlinkError for the first that failed; those behind it were tried as well.
        """
        if not requests:
            return
        first = self._sequence + 1
        messages = [self._message(request, NLM_F_ACK) for request in requests]
        self._socket.send(b"".join(messages))
        errors: dict[int, tuple[int, str]] = {}
        answered = 0
        while answered < len(requests):
            for kind, flags, sequence, body in self._receive():
                if kind == NLMSG_ERROR and sequence >= first:
                    answered += 1
                    errors[sequence - first] = _error(flags, body)
        for at, request in enumerate(requests):
            code, words = errors[at]
            if code:
                raise NetlinkError(code, f"{request.about}: {words or os.strerror(code).lower()}")

    def links(self) -> list[Link]:
        """All links of this namespace."""
        payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [_link(body) for body in self._dump(Request(RTM_GETLINK, 0, payload, "list links"))]

    def addresses(self) -> list[LinkAddress]:
        """All IPv4 and IPv6 addresses of this namespace."""
        request = Request(RTM_GETADDR, 0, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "list addresses")
        return [_address(body) for body in self._dump(request)]

    def routes(self) -> list[Route]:
        """All IPv4 routes of this namespace, those of the local table too."""
        payload = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        return [_route(body) for body in self._dump(Request(RTM_GETROUTE, 0, payload, "list routes"))]

    def neighbours(self, index: int) -> list[Address]:
        """The IPv4 addresses that are known for good to be behind the link `index`."""
        request = Request(RTM_GETNEIGH, 0, _NDMSG.pack(socket.AF_INET, 0, 0, 0, 0), "list neighbours")
        found = []
        for body in self._dump(request):
            _family, behind, state, _flags, _type = _NDMSG.unpack_from(body)
            address = unpack(body[_NDMSG.size :]).get(NDA_DST)
            if behind == index and state & NUD_PERMANENT and address:
                found.append(ipaddress.ip_address(address))
        return found

    def _message(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(request.payload)
        head = _HEADER.pack(length, request.kind, NLM_F_REQUEST | flags | request.flags, self._sequence, 0)
        return head + request.payload + bytes(-length % 4)

    def _dump(self, request: Request) -> Iterator[bytes]:
        self._socket.send(self._message(request, NLM_F_DUMP))
        while True:
            for kind, _flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise NetlinkError(code, f"{request.about}: {os.strerror(code).lower()}")
                yield body

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data, at = self._socket.recv(1 << 18), 0
        while at < len(data):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(data, at)
            yield kind, flags, sequence, data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3


def _error(flags: int, body: bytes) -> tuple[int, str]:
    (code,) = struct.unpack_from("=i", body)
    words = b""
    if flags & NLM_F_ACK_TLVS:  # with CAP_ACK the body is errno and the header of the request, no more
        words = unpack(body[4 + _HEADER.size :]).get(_NLMSGERR_ATTR_MSG, b"")
    return -code, words.rstrip(b"\0").decode(errors="replace")


def _link(body: bytes) -> Link:
    _family, _type, index, flags, _changed = IFINFO.unpack_from(body)
    attributes = unpack(body[IFINFO.size :])
    info = unpack(attributes.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=_text(attributes[IFLA_IFNAME]),
        kind=_text(info.get(IFLA_INFO_KIND, b"")),
        master=_u32(attributes.get(IFLA_MASTER)),
        mac=attributes.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=_u32(attributes.get(IFLA_MTU)),
        up=bool(flags & IFF_UP),
        alias=_text(attributes.get(IFLA_IFALIAS, b"")),
    )


def _address(body: bytes) -> LinkAddress:
    _family, prefix, _flags, _scope, index = _IFADDR.unpack_from(body)
    attributes = unpack(body[_IFADDR.size :])
    packed = attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS]
    return LinkAddress(index, ipaddress.ip_interface((packed, prefix)))


def _route(body: bytes) -> Route:
    header = _RTMSG.unpack_from(body)
    attributes = unpack(body[_RTMSG.size :])
    packed = attributes.get(RTA_DST, bytes(4))
    table = _u32(attributes.get(RTA_TABLE)) or header[4]
    return Route(ipaddress.ip_network((packed, header[1])), _u32(attributes.get(RTA_OIF)), table)


def _family_of(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _u32(value: bytes | None) -> int:
    return int.from_bytes(value, sys.byteorder) if value else 0
