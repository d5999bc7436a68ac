"""Networks on the wire, and what may be asked of new ones."""

import msgspec
import pytest

from lighterman.apitypes import network as wire
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters
from lighterman.networks.catalog import Catalog
from lighterman.networks.config import NetworkConfig
from lighterman.networks.defaults import bridge_options
from lighterman.networks.errors import AmbiguousNetwork, NoSuchNetwork
from lighterman.networks.row import NetworkRow, Pool
from lighterman.networks.sandbox import Endpoint, Sandbox
from lighterman.networks.view import is_asked_for, on_the_wire

BRIDGE = NetworkRow(
    "ca32" + "0" * 60,
    "bridge",
    "bridge",
    1795421875859108238,
    link="docker0",
    pools=(Pool("172.17.0.0/16", "172.17.0.1", wished=True),),
    options=bridge_options(NetworkConfig()),
)
USERS = NetworkRow(
    "cb" + "1" * 62,
    "ref_z",
    "bridge",
    5,
    link="br-cb1111111111",
    pools=(Pool("10.77.0.0/24", "10.77.0.1", wished=True),),
    labels={"a": "b"},
)
RECORDED = (
    '{"Name":"bridge","Id":"ca32%s","Created":"2026-11-23T08:17:55.859108238Z","Scope":"local","Driver":'
    '"bridge","EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":'
    '"172.17.0.0/16"}]},"Internal":false,"Attachable":false,"Ingress":false,"ConfigFrom":{"Network":""},'
    '"ConfigOnly":false,"Containers":{},"Options":{"com.docker.network.bridge.default_bridge":"true",'
    '"com.docker.network.bridge.enable_icc":"true","com.docker.network.bridge.enable_ip_masquerade":"true",'
    '"com.docker.network.bridge.host_binding_ipv4":"0.0.0.0","com.docker.network.bridge.name":"docker0",'
    '"com.docker.network.driver.mtu":"1500"},"Labels":{}}'
) % ("0" * 60)


def test_the_bridge_looks_as_dockerd_shows_it() -> None:
    assert msgspec.json.encode(on_the_wire(BRIDGE)).decode() == RECORDED


def test_subnets_of_ipv4_are_told_before_those_of_ipv6() -> None:
    row = NetworkRow("a" * 64, "x", "bridge", 5, pools=(Pool("fd00::/64", ""), Pool("10.1.0.0/24", "")))
    assert [config.subnet for config in on_the_wire(row).ipam.config or ()] == ["10.1.0.0/24", "fd00::/64"]


def test_inspect_names_who_is_in_it() -> None:
    endpoint = Endpoint("e" * 64, BRIDGE.id, "bridge", "eth0", "02:42:ac:11:00:02", "172.17.0.2", 16)
    other = Endpoint("f" * 64, USERS.id, "ref_z")
    shown = on_the_wire(BRIDGE, [Sandbox("c" * 64, "web", "/x", (endpoint, other))]).containers
    assert shown == {
        "c" * 64: wire.NetworkContainer("web", "e" * 64, "02:42:ac:11:00:02", "172.17.0.2/16", "")
    }


@pytest.mark.parametrize(
    ("filters", "bridge", "users"),
    [
        ({}, True, True),
        ({"name": ("ref",)}, False, True),
        ({"name": ("brid", "z$")}, True, True),
        ({"id": ("ca3",)}, True, False),
        ({"type": ("builtin",)}, True, False),
        ({"type": ("custom",)}, False, True),
        ({"label": ("a=b",)}, False, True),
        ({"driver": ("null",)}, False, False),
        ({"scope": ("swarm",)}, False, False),
        ({"dangling": ("true",)}, False, True),
        ({"dangling": ("false",)}, True, False),
    ],
)
def test_the_list_is_filtered(filters: dict[str, tuple[str, ...]], bridge: bool, users: bool) -> None:
    wanted = Filters(filters)
    assert is_asked_for(BRIDGE, wanted, used=False) == bridge
    assert is_asked_for(USERS, wanted, used=False) == users


def test_a_type_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="Invalid filter: 'type'='x'"):
        is_asked_for(BRIDGE, Filters({"type": ("x",)}), used=False)


def test_a_network_is_found_by_id_then_name_then_prefix() -> None:
    catalog = Catalog([BRIDGE, USERS])
    assert catalog.find(USERS.id) is USERS
    assert catalog.find("ref_z") is USERS
    assert catalog.find("ca") is BRIDGE
    with pytest.raises(AmbiguousNetwork, match="network c is ambiguous"):
        catalog.find("c")
    for ref in ("nope", ""):
        with pytest.raises(NoSuchNetwork, match=f"network {ref} not found"):
            catalog.find(ref)
