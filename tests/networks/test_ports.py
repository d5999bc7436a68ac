"""Which ports of the host are held, and for whom."""

import socket
from pathlib import Path

import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.networks.errors import PortFailed
from lighterman.networks.ports import Ports, ephemeral_ports
from lighterman.networks.sandbox import PortWish, PublishedPort

FREE = range(23100, 23130)


def ports_of(ephemeral: range = FREE, default_host_ip: str = "127.0.0.1") -> Ports:
    return Ports(ephemeral=ephemeral, default_host_ip=default_host_ip, ipv6=True)


def test_without_an_address_a_port_is_held_for_both_families() -> None:
    ports = ports_of(default_host_ip="")
    held = ports.hold([PortWish(80, "tcp", "", 23101, 23101)])
    assert held.ports == [
        PublishedPort(80, "tcp", "0.0.0.0", 23101),
        PublishedPort(80, "tcp", "::", 23101),
    ]
    ports.release(held)


def test_an_address_given_is_the_only_one() -> None:
    ports = ports_of()
    held = ports.hold([PortWish(80, "udp", "127.0.0.2", 23101, 23101)])
    assert held.ports == [PublishedPort(80, "udp", "127.0.0.2", 23101)]
    ports.release(held)


def test_a_port_of_the_daemon_itself_is_allocated() -> None:
    ports = Ports(ephemeral=FREE, ipv6=False, own=[("0.0.0.0", 23103)])
    with pytest.raises(PortFailed, match=r"^Bind for 0\.0\.0\.0:23103 failed: port is already allocated$"):
        ports.hold([PortWish(80, "tcp", "", 23103, 23103)])
    held = ports.hold([PortWish(80, "tcp", "", 23103, 23104)])
    assert [port.host_port for port in held.ports] == [23104]
    ports.release(held)


def test_a_port_of_ours_is_allocated_and_a_foreign_one_in_use() -> None:
    ports = ports_of()
    held = ports.hold([PortWish(80, "tcp", "", 23102, 23102)])
    with pytest.raises(PortFailed, match=r"^Bind for 127\.0\.0\.1:23102 failed: port is already allocated$"):
        ports.hold([PortWish(80, "tcp", "", 23102, 23102)])
    ports.release(held)
    ports.release(held)
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 23102))
        told = (
            r"^Error starting userland proxy: listen tcp4 127\.0\.0\.1:23102: bind: address already in use$"
        )
        with pytest.raises(PortFailed, match=told):
            ports.hold([PortWish(80, "tcp", "", 23102, 23102)])
    ports.release(ports.hold([PortWish(80, "tcp", "", 23102, 23102)]))


def test_an_ipv6_conflict_is_told_with_brackets() -> None:
    ports = ports_of()
    with socket.socket(socket.AF_INET6) as foreign:
        foreign.bind(("::1", 23103))
        with pytest.raises(PortFailed, match=r"listen tcp6 \[::1\]:23103: bind: address already in use$"):
            ports.hold([PortWish(80, "tcp", "::1", 23103, 23103)])


def test_a_port_whose_connections_linger_can_be_held_again() -> None:
    ports = ports_of()
    held = ports.hold([PortWish(80, "tcp", "", 23105, 23105)])
    with socket.create_connection(("127.0.0.1", 23105)) as client:
        served, _ = held.sockets[0][1].accept()
        served.close()  # the side that closes first lingers in TIME_WAIT
        assert client.recv(1) == b""
    ports.release(held)
    ports.release(ports.hold([PortWish(80, "tcp", "", 23105, 23105)]))


def test_one_that_fails_gives_all_back() -> None:
    ports = ports_of()
    with pytest.raises(PortFailed):
        ports.hold([PortWish(80, "tcp", "", 23104, 23104), PortWish(81, "tcp", "", 23104, 23104)])
    ports.release(ports.hold([PortWish(80, "tcp", "", 23104, 23104)]))


def test_a_range_gives_its_first_free_port() -> None:
    ports = ports_of()
    wish = PortWish(80, "tcp", "", 23105, 23107)
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 23106))
        one, two = ports.hold([wish]), ports.hold([wish])
        assert [held.ports[0].host_port for held in (one, two)] == [23105, 23107]
        with pytest.raises(PortFailed, match="all ports are allocated"):
            ports.hold([wish])
    ports.release(one)
    ports.release(two)


def test_ephemeral_ports_go_round_and_skip_what_is_taken() -> None:
    ports = ports_of(range(23110, 23113))
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 23111))
        one, two = ports.hold([PortWish(80, "tcp")]), ports.hold([PortWish(81, "tcp")])
        assert [held.ports[0].host_port for held in (one, two)] == [23110, 23112]
        with pytest.raises(PortFailed, match="all ports are allocated"):
            ports.hold([PortWish(82, "tcp")])
        ports.release(one)
        again = ports.hold([PortWish(82, "tcp")])
        assert again.ports[0].host_port == 23110
    ports.release(two)
    ports.release(again)


def test_protocols_do_not_meet() -> None:
    ports = ports_of()
    wishes = [PortWish(80, proto, "", 23115, 23115) for proto in ("tcp", "udp", "sctp")]
    held = ports.hold(wishes)
    assert [port.proto for port in held.ports] == ["tcp", "udp", "sctp"]
    ports.release(held)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="invalid IP address: nonsense"):
        ports_of().hold([PortWish(80, "tcp", "nonsense", 23116, 23116)])


def test_the_hosts_own_range_is_used() -> None:
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert ephemeral_ports() == range(int(first), int(last) + 1)
