"""Where a node is, by what its user says and what its host has."""

import ipaddress

import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.swarm.errors import BadAddress
from lighterman.swarm.node.addresses import (
    HostAddress,
    check_data_path_port,
    check_pools,
    join_port,
    local_address,
    peer_port_beside,
    resolve_advertise,
    resolve_data_path,
    resolve_listen,
    split_port,
    the_address,
    with_defaults,
)


def address(text: str, interface: str = "eth0", *, hardware: bool = True, up: bool = True) -> HostAddress:
    return HostAddress(interface, ipaddress.ip_address(text), hardware, up)


LOOPBACK = address("127.0.0.1", "lo")
ONE = [LOOPBACK, address("192.0.2.7"), address("fe80::1"), address("172.17.0.1", "docker0", hardware=False)]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("0.0.0.0:2377", "0.0.0.0:2377"),
        ("192.0.2.1", "192.0.2.1:2377"),
        (":99", "0.0.0.0:99"),
        ("eth0:1", "eth0:1"),
        ("[2001:db8::1]:2377", "[2001:db8::1]:2377"),
        ("tcp://192.0.2.1:5", "192.0.2.1:5"),
    ],
)
def test_what_is_not_said_of_an_address_has_its_default(text: str, whole: str) -> None:
    assert with_defaults(text) == whole


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(BadAddress, match="invalid empty address"):
        with_defaults("")


@pytest.mark.parametrize("text", ["192.0.2.1:5", "[2001:db8::1]:5"])
def test_hosts_and_ports_come_apart_and_together(text: str) -> None:
    assert join_port(*split_port(text)) == text


def test_an_interface_stands_for_its_address() -> None:
    assert resolve_listen("eth0:2377", ONE) == ("192.0.2.7", "2377")
    assert resolve_advertise("eth0", "2377", "", ONE) == ("192.0.2.7", "2377")
    assert resolve_advertise("eth0:9", "2377", "", ONE) == ("192.0.2.7", "9")
    assert resolve_data_path("eth0", ONE) == "192.0.2.7"
    assert resolve_data_path("", ONE) == ""


def test_an_interface_with_two_addresses_is_no_address() -> None:
    host = [*ONE, address("192.0.2.8")]
    with pytest.raises(BadAddress, match="interface eth0 has more than one IPv4 address"):
        resolve_listen("eth0:2377", host)


def test_a_node_advertises_no_unspecified_address() -> None:
    with pytest.raises(BadAddress, match="advertise address must be a non-zero IP address"):
        resolve_advertise("0.0.0.0", "2377", "", ONE)
    with pytest.raises(BadAddress, match="data path address must be a non-zero IP address"):
        resolve_data_path("0.0.0.0", ONE)
    assert resolve_listen("0.0.0.0:2377", ONE) == ("0.0.0.0", "2377")


def test_the_only_address_is_taken_and_of_several_none() -> None:
    assert str(the_address(ONE)) == "192.0.2.7"
    assert resolve_advertise("", "2377", "", ONE) == ("192.0.2.7", "2377")
    with pytest.raises(BadAddress, match="multiple addresses on interface eth0"):
        the_address([*ONE, address("192.0.2.8")])
    with pytest.raises(BadAddress, match="multiple addresses on different interfaces"):
        the_address([*ONE, address("198.51.100.1", "eth1")])
    with pytest.raises(BadAddress, match="could not find the system's IP address"):
        the_address([LOOPBACK, address("192.0.2.7", up=False)])


def test_a_host_without_hardware_is_a_container_and_has_an_address_all_the_same() -> None:
    bridge = address("172.17.0.1", "docker0", hardware=False)
    host = [LOOPBACK, address("10.1.2.3", "eth0", hardware=False), bridge]
    assert str(the_address(host)) == "10.1.2.3"


def test_who_listens_everywhere_is_found_at_the_advertised_address_if_the_host_has_it() -> None:
    assert local_address("192.0.2.9", "x", ONE) == "192.0.2.9"
    assert local_address("0.0.0.0", "192.0.2.7", ONE) == "192.0.2.7"
    assert local_address("0.0.0.0", "203.0.113.1", ONE) == "192.0.2.7"
    with pytest.raises(BadAddress, match="must specify a listening address"):
        local_address("0.0.0.0", "203.0.113.1", [LOOPBACK])


def test_pools_are_checked() -> None:
    assert check_pools(None, 0) == check_pools([], 0) == (("10.0.0.0/8",), 24)
    assert check_pools([" 10.7.0.0/16 "], 26) == (("10.7.0.0/16",), 26)
    for pools, size, text in (
        (["10.0.0.0/8"], 30, "subnet size is out of range: 30"),
        (["x"], 24, "invalid base pool x"),
        (["10.0.0.0/25"], 24, "Subnet size is too small for pool: 24"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            check_pools(pools, size)


def test_ports_of_the_data_path_are_checked() -> None:
    assert check_data_path_port(0) == 4789
    assert check_data_path_port(7777) == 7777
    with pytest.raises(InvalidParameter, match="Datapath port number"):
        check_data_path_port(80)


@pytest.mark.parametrize(
    ("listen", "peers"), [("2377", 7946), ("2378", 7947), ("59967", 54398), ("65535", 59966)]
)
def test_managers_on_one_host_need_no_more_than_listeners_of_their_own(listen: str, peers: int) -> None:
    assert peer_port_beside(listen) == peers


@pytest.mark.parametrize("text", ["0.0.0.0:http", "0.0.0.0:65536"])
def test_a_listener_has_a_port_that_is_a_number(text: str) -> None:
    with pytest.raises(BadAddress):
        resolve_listen(text, ONE)
