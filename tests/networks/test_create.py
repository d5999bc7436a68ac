"""What may be asked of a new network, and what it becomes."""

from ipaddress import IPv4Network, IPv6Network

import pytest

from lighterman.apitypes import network as wire
from lighterman.errdefs import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    Unavailable,
    Unimplemented,
)
from lighterman.networks.config import DEFAULT_POOLS
from lighterman.networks.create import plan_network, warning_of, with_pools
from lighterman.networks.row import NetworkRow, Pool
from lighterman.networks.view import on_the_wire

BRIDGE = NetworkRow(
    "ca32" + "0" * 60,
    "bridge",
    "bridge",
    1,
    link="docker0",
    pools=(Pool("172.17.0.0/16", "172.17.0.1", wished=True),),
)
USERS = NetworkRow(
    "cb" + "1" * 62,
    "ref_z",
    "bridge",
    5,
    link="br-cb1111111111",
    pools=(Pool("10.77.0.0/24", "10.77.0.1", wished=True),),
)
CONFIG = NetworkRow(
    "cc" + "2" * 62,
    "conf",
    "null",
    6,
    pools=(Pool("10.99.0.0/24", "", ip_range="10.99.0.128/25", wished=True),),
    options={"com.docker.network.driver.mtu": "1400"},
    labels={"of": "conf"},
    config_only=True,
)
ULA = IPv6Network("fd12:3456::/64")


def body(
    name: str = "new",
    *pools: wire.IPAMConfig,
    driver: str = "",
    options: dict[str, str] | None = None,
    ipv6: bool = False,
    internal: bool = False,
) -> wire.NetworkCreateBody:
    return wire.NetworkCreateBody(
        name,
        driver=driver,
        options=options,
        enable_ipv6=ipv6,
        internal=internal,
        ipam=wire.IPAM(config=list(pools)),
    )


def pool(subnet: str = "", ip_range: str = "", gateway: str = "", **auxiliary: str) -> wire.IPAMConfig:
    return wire.IPAMConfig(subnet, ip_range, gateway, auxiliary or None)


def planned(wish: wire.NetworkCreateBody, *others: NetworkRow) -> NetworkRow:
    rows = [BRIDGE, USERS, CONFIG, *others]
    return with_pools(
        plan_network(wish, rows, network_id="d" * 64, now_ns=7),
        rows,
        pools=DEFAULT_POOLS,
        taken=[IPv4Network("172.18.0.0/16"), *(subnet for row in rows for subnet in row.subnets)],
        ula=ULA,
    )


MTU, IPV6 = "com.docker.network.driver.mtu", "com.docker.network.enable_ipv6"


@pytest.mark.parametrize(
    ("wish", "options", "ipv6"),
    [
        (wire.NetworkCreateBody("new"), {MTU: "1400", IPV6: "true"}, True),
        (wire.NetworkCreateBody("new", options={MTU: "1450"}), {MTU: "1450", IPV6: "true"}, True),
        (wire.NetworkCreateBody("new", enable_ipv6=False), {MTU: "1400"}, False),
        (wire.NetworkCreateBody("new", driver="macvlan"), {}, False),
        (
            wire.NetworkCreateBody("new", config_from=wire.ConfigReference("conf")),
            {MTU: "1400"},
            False,
        ),
    ],
    ids=["none", "another", "no ipv6", "of another driver", "from a configuration"],
)
def test_options_of_the_engine_are_for_networks_that_do_not_say_otherwise(
    wish: wire.NetworkCreateBody, options: dict[str, str], ipv6: bool
) -> None:
    defaults = {"bridge": {MTU: "1400", IPV6: "true"}}
    row = plan_network(wish, [CONFIG], network_id="cd" * 32, now_ns=7, default_options=defaults).row
    assert (row.options, row.ipv6) == (options, ipv6)


@pytest.mark.parametrize(
    ("wish", "kind", "text"),
    [
        (body(""), InvalidParameter, "invalid name: "),
        (body("  "), InvalidParameter, "invalid name:   "),
        (body("bridge"), Forbidden, "operation is not permitted on predefined bridge network "),
        (body("default"), Forbidden, "operation is not permitted on predefined default network "),
        (body("ref_z"), Conflict, "network with name ref_z already exists"),
        (body(driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (
            body(driver="overlay"),
            Unavailable,
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again.",
        ),
        (
            body("new", pool("10.0.0.0/33")),
            InvalidParameter,
            "Invalid subnet 10.0.0.0/33 : invalid CIDR address: 10.0.0.0/33",
        ),
        (
            body("new", pool("172.17.0.0/16")),
            Forbidden,
            "Pool overlaps with other one on this address space",
        ),
        (
            body("new", pool("10.78.0.0/24", gateway="10.88.0.1")),
            InvalidParameter,
            "failed to allocate gateway (10.88.0.1): Requested address is out of range",
        ),
        (
            body("new", pool("10.78.0.0/24", db="10.88.0.1")),
            InvalidParameter,
            "failed to allocate secondary ip address (db:10.88.0.1): Requested address is out of range",
        ),
        (
            body("new", pool("10.78.0.0/24", "10.79.0.0/25")),
            InvalidParameter,
            "Invalid Address SubPool",
        ),
        (
            body("new", pool("10.78.0.0/24"), pool("10.79.0.0/24")),
            Forbidden,
            "bridge driver doesn't support multiple subnets",
        ),
        (
            body(options={"com.docker.network.driver.mtu": "x"}),
            InvalidParameter,
            'failed to parse com.docker.network.driver.mtu value: x (strconv.Atoi: parsing "x": invalid '
            "syntax)",
        ),
        (
            body(options={"com.docker.network.bridge.enable_icc": "maybe"}),
            InvalidParameter,
            "failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing "
            '"maybe": invalid syntax)',
        ),
        (
            body(options={"com.docker.network.bridge.gateway_mode_ipv4": "routed"}),
            Unimplemented,
            "com.docker.network.bridge.gateway_mode_ipv4: "
            "the gateway mode routed is not implemented, only nat is",
        ),
        (
            body(options={"com.docker.network.bridge.gateway_mode_ipv6": "x"}),
            InvalidParameter,
            "unknown gateway mode x",
        ),
        (
            body(options={"com.docker.network.host_ipv6": "fd00::1"}),
            Unimplemented,
            "network option com.docker.network.host_ipv6 is not implemented yet",
        ),
        (
            body(options={"com.docker.network.host_ipv4": "x"}),
            InvalidParameter,
            "invalid IPv4 address: x",
        ),
        (
            body(driver="macvlan", options={"macvlan_mode": "x"}),
            InvalidParameter,
            "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            body(driver="macvlan", options={"parent": "eth0.5000"}),
            InvalidParameter,
            "vlan id must be between 1-4094, received: 5000",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_dockers_words(
    wish: wire.NetworkCreateBody, kind: type[EngineError], text: str
) -> None:
    with pytest.raises(kind) as refused:
        planned(wish)
    assert str(refused.value) == text


def test_a_bridge_is_named_after_its_id_and_gets_a_free_pool() -> None:
    row = planned(body(options={"x": "y"}))
    assert (row.driver, row.link, row.options) == ("bridge", "br-dddddddddddd", {"x": "y"})
    assert row.pools == (Pool("172.19.0.0/16", "172.19.0.1"),)


def test_a_bridge_is_named_as_wished_and_once() -> None:
    wish = body(options={"com.docker.network.bridge.name": "mine0"})
    first = planned(wish)
    assert first.link == "mine0"
    with pytest.raises(Forbidden, match="networks have same bridge name"):
        planned(wire.NetworkCreateBody("other", options=wish.options), first)


def test_the_gateway_is_the_first_address_that_may_be_chosen() -> None:
    assert planned(body("new", pool("10.78.0.0/24"))).pools[0].gateway == "10.78.0.1"
    assert planned(body("new", pool("10.78.0.0/24", "10.78.0.128/25"))).pools[0].gateway == "10.78.0.128"
    assert planned(body("new", pool("10.78.0.0/24", db="10.78.0.1"))).pools[0].gateway == "10.78.0.2"


def test_ipv6_has_its_own_pool_or_a_local_one() -> None:
    asked = planned(body("new", pool("10.78.0.0/24"), pool("2001:db8::/64"), ipv6=True))
    assert [each.gateway for each in asked.pools] == ["10.78.0.1", "2001:db8::1"]
    chosen = planned(body(ipv6=True))
    assert [each.subnet for each in chosen.pools] == ["172.19.0.0/16", "fd12:3456::/64"]


def test_the_one_gateway_mode_that_there_is_may_be_named() -> None:
    assert planned(body(options={"com.docker.network.bridge.gateway_mode_ipv4": "nat"})).driver == "bridge"


def test_without_ipv6_its_pools_are_told_and_not_used_and_that_is_said() -> None:
    row = planned(body("new", pool("10.78.0.0/24"), pool("2001:db8::/64")))
    assert [each.subnet for each in row.pools] == ["10.78.0.0/24"]
    assert [each.subnet for each in on_the_wire(row).ipam.config or ()] == ["10.78.0.0/24", "2001:db8::/64"]
    assert warning_of(row) == "IPv6 is not enabled for network new: 2001:db8::/64 is not used"
    assert warning_of(planned(body("new", pool("10.78.0.0/24"), ipv6=True))) == ""


def test_macvlan_without_a_parent_leads_nowhere() -> None:
    row = planned(body(driver="macvlan"))
    assert (row.link, row.internal) == ("dm-dddddddddddd", True)


def test_macvlan_has_several_subnets() -> None:
    wish = body("new", pool("10.78.0.0/24"), pool("10.79.0.0/24"), driver="macvlan")
    assert len(planned(wish).pools) == 2


def test_a_parent_in_passthru_has_one_network() -> None:
    first = planned(body(driver="macvlan", options={"parent": "eth0", "macvlan_mode": "passthru"}))
    with pytest.raises(Forbidden, match="is already using parent interface eth0"):
        planned(wire.NetworkCreateBody("other", driver="macvlan", options={"parent": "eth0"}), first)


def test_a_configuration_is_taken_over() -> None:
    row = planned(wire.NetworkCreateBody("new", config_from=wire.ConfigReference("conf")))
    assert row.config_from == "conf"
    assert row.pools[0].ip_range == "10.99.0.128/25"
    assert (row.options, row.labels) == (CONFIG.options, CONFIG.labels)


def test_a_configuration_takes_nothing_from_others() -> None:
    row = planned(wire.NetworkCreateBody("c", config_only=True, ipam=body("c", pool("10.77.0.0/24")).ipam))
    assert (row.driver, row.link, row.subnets) == ("null", "", [])


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (
            wire.NetworkCreateBody("c", config_only=True, internal=True),
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported.",
        ),
        (
            wire.NetworkCreateBody("c", config_only=True, config_from=wire.ConfigReference("conf")),
            "a configuration network cannot depend on another configuration network",
        ),
        (
            wire.NetworkCreateBody("c", labels={"a": "b"}, config_from=wire.ConfigReference("conf")),
            "user-specified configurations are not supported if the network depends on a configuration "
            "network",
        ),
    ],
)
def test_a_configuration_is_nothing_else(wish: wire.NetworkCreateBody, text: str) -> None:
    with pytest.raises(Forbidden) as refused:
        planned(wish)
    assert str(refused.value) == text


def test_a_configuration_must_be_there() -> None:
    with pytest.raises(NotFound, match='configuration network "ref_z" not found'):
        planned(wire.NetworkCreateBody("new", config_from=wire.ConfigReference("ref_z")))
