"""Ports of the host: who has which, and the sockets that hold them.

A published port is held by a socket of the daemon that is bound and listens: no other program can take
it, and one that has it already is found at once. Packets are sent on by nft before they reach the socket;
what does reach it (IPv6, for one) is carried to the container by a relay.
"""

import errno
import ipaddress
import socket
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path

from lighterman.errdefs import InvalidParameter
from lighterman.networks.errors import PortFailed, PortTaken
from lighterman.networks.sandbox import PortWish, PublishedPort

_BACKLOG = 128
Key = tuple[str, str, int]
"""Protocol, host address, host port."""


class HeldPorts:
    """The ports of one container and their sockets (none for SCTP where the kernel has no SCTP)."""

    def __init__(self) -> None:
        self.ports: list[PublishedPort] = []
        self.sockets: list[tuple[PublishedPort, socket.socket]] = []

    def take_over(self, others: "HeldPorts") -> None:
        """Hold what `others` held, who hold nothing any more."""
        self.ports += others.ports
        self.sockets += others.sockets
        others.ports, others.sockets = [], []


class Ports:
    """All ports that this engine holds on the host."""

    def __init__(
        self,
        *,
        ephemeral: range,
        default_host_ip: str = "",
        ipv6: bool | None = None,
        firewall: bool = True,
        own: Iterable[tuple[str, int]] = (),
    ) -> None:
        """`own` are addresses and ports where the daemon itself listens by TCP."""
        self._taken: set[Key] = {("tcp", host, port) for host, port in own}
        self._ephemeral = ephemeral
        self._next = ephemeral.start
        self._default_host_ip = default_host_ip
        self._firewall = firewall
        self._ipv6 = ipv6_is_there() if ipv6 is None else ipv6

    def hold(self, wishes: Iterable[PortWish], *, host_ip: str = "") -> HeldPorts:
        """Hold all that `wishes` ask for, or nothing; those without an address on `host_ip`.

        Raises: PortFailed in dockerd's words, InvalidParameter for what is no address or port.
        """
        held = HeldPorts()
        try:
            for wish in wishes:
                self._hold_one(held, wish, host_ip)
        except BaseException:
            self.release(held)
            raise
        return held

    def hold_again(self, ports: Sequence[PublishedPort]) -> HeldPorts:
        """Hold exactly `ports`, those of a container that outlived the daemon. Raises: PortFailed."""
        held = HeldPorts()
        try:
            for port in ports:
                self._bind(held, port)
        except BaseException:
            self.release(held)
            raise
        return held

    def release(self, held: HeldPorts) -> None:
        """Close the sockets and give the ports back; idempotent."""
        for _port, sock in held.sockets:
            sock.close()
        for port in held.ports:
            self._taken.discard((port.proto, port.host_ip, port.host_port))
        held.sockets, held.ports = [], []

    def keep_only(self, held: HeldPorts, wanted: Collection[tuple[str, int]]) -> None:
        """Release what is none of the `wanted` (protocol, port of the host)."""
        gone = HeldPorts()
        gone.ports = [port for port in held.ports if (port.proto, port.host_port) not in wanted]
        gone.sockets = [each for each in held.sockets if each[0] in gone.ports]
        held.ports = [port for port in held.ports if port not in gone.ports]
        held.sockets = [each for each in held.sockets if each[0] in held.ports]
        self.release(gone)

    def _hold_one(self, held: HeldPorts, wish: PortWish, host_ip: str) -> None:
        addresses = self._addresses(wish.host_ip or host_ip)
        last = max(wish.host_port_first, wish.host_port_last)
        for host_port in range(wish.host_port_first, last + 1) if wish.host_port_first else self._onwards():
            ports = [PublishedPort(wish.container_port, wish.proto, ip, host_port) for ip in addresses]
            try:
                self._bind_all(held, ports)
            except PortTaken:
                if host_port == wish.host_port_first == last:  # there is no other that would do
                    raise
            else:
                self._next = self._next if wish.host_port_first else host_port + 1
                return
        raise PortFailed("all ports are allocated")

    def _onwards(self) -> Iterable[int]:
        """All ephemeral ports from the last given one on: one that was given back rests a while."""
        begin = self._next if self._next in self._ephemeral else self._ephemeral.start
        return chain(range(begin, self._ephemeral.stop), range(self._ephemeral.start, begin))

    def _bind_all(self, held: HeldPorts, ports: Sequence[PublishedPort]) -> None:
        mine = HeldPorts()
        try:
            for port in ports:
                self._bind(mine, port)
        except BaseException:
            self.release(mine)
            raise
        held.take_over(mine)

    def _bind(self, held: HeldPorts, port: PublishedPort) -> None:
        if _key(port) in self._taken:
            raise PortTaken(f"Bind for {port.host_ip}:{port.host_port} failed: port is already allocated")
        if port.proto == "sctp" and not self._firewall:
            raise PortFailed("ports of sctp are led by the firewall, which is left alone (iptables=false)")
        sock = _listen(port)
        self._taken.add(_key(port))
        held.ports.append(port)
        if sock is not None:
            held.sockets.append((port, sock))

    def _addresses(self, host_ip: str) -> list[str]:
        wished = host_ip or self._default_host_ip
        if wished:
            try:
                return [str(ipaddress.ip_address(wished))]
            except ValueError as error:
                raise InvalidParameter(f"invalid IP address: {wished}") from error
        return ["0.0.0.0", "::"] if self._ipv6 else ["0.0.0.0"]


def ephemeral_ports(path: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> range:
    """The ports that the host gives to those who do not mind which."""
    first, last = path.read_text().split()
    return range(int(first), int(last) + 1)


def ipv6_is_there() -> bool:
    """Whether a socket can listen on IPv6 here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _key(port: PublishedPort) -> Key:
    return port.proto, port.host_ip, port.host_port


def _listen(port: PublishedPort) -> socket.socket | None:
    version = 6 if ":" in port.host_ip else 4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.proto == "udp" else socket.SOCK_STREAM
    protocol = socket.IPPROTO_SCTP if port.proto == "sctp" else 0
    try:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        if port.proto == "sctp" and error.errno == errno.EPROTONOSUPPORT:
            return None  # then no program here can hold the port either; nft forwards it all the same
        raise PortFailed(f"{error.strerror}: {port.proto}") from error
    try:
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.proto != "udp":
            # what the relay served lingers in TIME_WAIT; one that listens is a conflict all the same
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((port.host_ip, port.host_port))
        if port.proto != "udp":
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        host = f"[{port.host_ip}]" if version == 6 else port.host_ip
        kind_of_failure = PortTaken if error.errno == errno.EADDRINUSE else PortFailed
        raise kind_of_failure(
            f"Error starting userland proxy: listen {port.proto}{version} {host}:{port.host_port}: "
            f"bind: {(error.strerror or str(error)).lower()}"
        ) from error
    return sock
