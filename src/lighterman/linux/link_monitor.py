"""Hearing of links that go away. Source: rtnetlink(7), RTMGRP_LINK."""

import socket
import struct

from lighterman.linux.netlink import IFLA_IFNAME, RTM_DELLINK, unpack

_RTMGRP_LINK = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_IFINFO_SIZE = 16


class LinkMonitor:
    """Hears of all links in the namespace of the thread that made it."""

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            socket.NETLINK_ROUTE,
        )
        self.socket.bind((0, _RTMGRP_LINK))

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()

    def gone(self) -> set[str]:
        """The names of the links that went since the last call.

        Raises: OSError (ENOBUFS: so much happened that some of it is lost).
        """
        names: set[str] = set()
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return names
            at = 0
            while at < len(data):
                length, kind, *_rest = _HEADER.unpack_from(data, at)
                if kind == RTM_DELLINK:
                    attributes = unpack(data[at + _HEADER.size + _IFINFO_SIZE : at + length])
                    names.add(attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"))
                at += (length + 3) & ~3
