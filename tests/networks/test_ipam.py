"""Addresses and subnets."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.networks.config import DEFAULT_POOLS, AddressPool, NetworkConfig
from lighterman.networks.defaults import bridge_address, default_rows
from lighterman.networks.errors import AddressInUse, NoFreeAddress, PoolsExhausted
from lighterman.networks.ipam import AddressSpace, choose_subnet, first_host, mac_of
from lighterman.networks.row import NetworkRow, Pool

ULA = IPv6Network("fd12:3456::/64")
SMALL = IPv4Network("10.0.0.0/29")


def test_the_lowest_free_address_is_given() -> None:
    space = AddressSpace(SMALL)
    assert [str(space.take()) for _ in range(3)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    space.release(IPv4Address("10.0.0.2"))
    space.release(IPv4Address("10.0.0.2"))
    assert str(space.take()) == "10.0.0.2"
    assert str(space.take()) == "10.0.0.4"


def test_network_and_broadcast_are_nobodys() -> None:
    space = AddressSpace(SMALL)
    taken = [space.take() for _ in range(6)]
    assert str(taken[-1]) == "10.0.0.6"
    with pytest.raises(NoFreeAddress, match="no available IPv4 addresses on this network's address pools"):
        space.take()


def test_a_range_narrows_the_choice_and_not_the_wish() -> None:
    space = AddressSpace(IPv4Network("10.0.0.0/24"), IPv4Network("10.0.0.128/30"))
    assert str(space.take()) == "10.0.0.128"
    space.take_this(IPv4Address("10.0.0.9"))


def test_a_wish_outside_or_taken_is_refused_in_dockers_words() -> None:
    space = AddressSpace(SMALL)
    space.take_this(IPv4Address("10.0.0.5"))
    with pytest.raises(AddressInUse, match="Address already in use"):
        space.take_this(IPv4Address("10.0.0.5"))
    told = r"Invalid address 10\.78\.0\.99: It does not belong to any of this network's subnets"
    with pytest.raises(InvalidParameter, match=told):
        space.take_this(IPv4Address("10.78.0.99"))


@given(st.lists(st.integers(0, 15), max_size=40))
def test_no_address_is_given_twice(releases: list[int]) -> None:
    space: AddressSpace = AddressSpace(IPv4Network("10.0.0.0/28"))
    held: set[object] = set()
    for number in releases:
        address = IPv4Address("10.0.0.0") + number
        if address in held:
            held.discard(address)
            space.release(address)
        elif len(held) < 14:
            given_out = space.take()
            assert given_out not in held
            held.add(given_out)


def test_pools_avoid_what_the_host_routes() -> None:
    assert str(choose_subnet(DEFAULT_POOLS, [])) == "172.17.0.0/16"
    vpn = IPv4Network("172.16.0.0/14")
    assert str(choose_subnet(DEFAULT_POOLS, [vpn])) == "172.20.0.0/16"
    assert str(choose_subnet(DEFAULT_POOLS, [IPv4Network("172.16.0.0/12")])) == "192.168.0.0/20"


def test_the_default_pools_go_on_where_dockerd_ends() -> None:
    taken: list[IPv4Network] = []
    for _ in range(40):
        taken.append(choose_subnet(DEFAULT_POOLS, taken))
    assert str(taken[30]) == "192.168.240.0/20"
    assert str(taken[31]) == "10.192.0.0/24"
    assert len(set(taken)) == 40


def test_hundreds_of_networks_find_room() -> None:
    taken: list[IPv4Network] = []
    for _ in range(600):
        taken.append(choose_subnet(DEFAULT_POOLS, taken))
    assert len(set(taken)) == 600
    assert not any(one.overlaps(other) for one, other in pairwise(taken))


def test_pools_come_to_an_end() -> None:
    pools = (AddressPool("10.0.0.0/30", 31),)
    with pytest.raises(
        PoolsExhausted, match="could not find an available, non-overlapping IPv4 address pool"
    ):
        choose_subnet(pools, [IPv4Network("10.0.0.0/8")])


def test_a_mac_follows_from_the_address() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"
    assert str(first_host(IPv4Network("172.17.0.0/16"))) == "172.17.0.1"


KEPT = NetworkRow("k" * 64, "bridge", "bridge", 5, pools=(Pool("172.20.0.0/16", "172.20.0.1"),))


@pytest.mark.parametrize(
    ("bip", "on_link", "kept", "address"),
    [
        ("10.9.0.1/24", ["172.30.0.1/16"], KEPT, "10.9.0.1/24"),
        ("", ["172.30.0.1/16"], KEPT, "172.30.0.1/16"),
        ("", [], KEPT, "172.20.0.1/16"),
        ("", [], None, "172.18.0.1/16"),
    ],
)
def test_the_bridge_has_the_address_asked_for_then_its_own_then_the_former(
    bip: str, on_link: list[str], kept: NetworkRow | None, address: str
) -> None:
    chosen = bridge_address(
        NetworkConfig(bip=bip),
        on_link=[IPv4Interface(text) for text in on_link],
        kept=kept,
        taken=[IPv4Network("172.17.0.0/16")],
    )
    assert str(chosen) == address


def test_the_default_bridge_is_as_configured() -> None:
    address = IPv4Interface("172.17.0.1/16")
    config = NetworkConfig(fixed_cidr="172.17.8.0/24", default_gateway="172.17.0.254", ipv6=True)
    rows = default_rows([], address, config, ids=["1", "2", "3"], now_ns=7, ula=ULA)
    four, six = rows[2].pools
    assert (four.ip_range, four.gateway, four.router) == ("172.17.8.0/24", "172.17.0.1", "172.17.0.254")
    assert (six.subnet, six.gateway, rows[2].ipv6) == (str(ULA), "fd12:3456::1", True)
    other = IPv6Network("fd99::/64")
    assert default_rows(rows, address, config, ids=[], now_ns=9, ula=other)[2].pools[1] == six


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(fixed_cidr="10.0.0.0/24"),
        NetworkConfig(default_gateway="10.0.0.1"),
        NetworkConfig(ipv6=True, default_gateway_v6="fd00::1"),
    ],
)
def test_what_is_not_within_the_default_bridge_is_refused(config: NetworkConfig) -> None:
    with pytest.raises(InvalidParameter, match="is not within the default network"):
        default_rows([], IPv4Interface("172.17.0.1/16"), config, ids=["1", "2", "3"], now_ns=7, ula=ULA)


def test_a_bad_bip_is_refused() -> None:
    with pytest.raises(EngineError, match="invalid CIDR address: nonsense"):
        bridge_address(NetworkConfig(bip="nonsense"), on_link=[], kept=None, taken=[])


def test_default_networks_are_made_once() -> None:
    ids = ["1" * 64, "2" * 64, "3" * 64]
    rows = default_rows([], IPv4Interface("172.17.0.1/16"), NetworkConfig(), ids=ids, now_ns=7, ula=ULA)
    assert [(row.name, row.driver, row.id) for row in rows] == [
        ("none", "null", ids[0]),
        ("host", "host", ids[1]),
        ("bridge", "bridge", ids[2]),
    ]
    again = default_rows(
        rows, IPv4Interface("10.9.0.1/24"), NetworkConfig(bip="x"), ids=[], now_ns=9, ula=ULA
    )
    assert [row.id for row in again] == ids
    assert again[2].pools[0].subnet == "10.9.0.0/24"
