"""Networks on the wire, and what may be asked of new ones."""

import msgspec
import pytest

from lighterman.apitypes import network as wire
from lighterman.errdefs import Conflict, EngineError, Forbidden, InvalidParameter, NotFound, Unavailable
from lighterman.lib.filters import Filters
from lighterman.networks.catalog import Catalog
from lighterman.networks.config import NetworkConfig
from lighterman.networks.create import check_create
from lighterman.networks.defaults import bridge_options
from lighterman.networks.errors import AmbiguousNetwork, NoSuchNetwork
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import Endpoint, Sandbox
from lighterman.networks.view import is_asked_for, on_the_wire

BRIDGE = NetworkRow(
    "ca32" + "0" * 60,
    "bridge",
    "bridge",
    1795421875859108238,
    bridge="docker0",
    subnet="172.17.0.0/16",
    gateway="172.17.0.1",
    options=bridge_options(NetworkConfig()),
)
USERS = NetworkRow(
    "cb" + "1" * 62, "ref_z", "bridge", 5, subnet="10.77.0.0/24", gateway="10.77.0.1", labels={"a": "b"}
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


def body(
    name: str = "new", *, driver: str = "", subnet: str = "", gateway: str = ""
) -> wire.NetworkCreateBody:
    pools = [wire.IPAMConfig(subnet, gateway=gateway)] if subnet else None
    return wire.NetworkCreateBody(name, driver=driver, ipam=wire.IPAM(config=pools))


@pytest.mark.parametrize(
    ("wish", "kind", "text"),
    [
        (body(""), InvalidParameter, "invalid name: "),
        (body("  "), InvalidParameter, "invalid name:   "),
        (body("bridge"), Forbidden, "operation is not permitted on predefined bridge network "),
        (body("default"), Forbidden, "operation is not permitted on predefined default network "),
        (body("ref_z"), Conflict, "network with name ref_z already exists"),
        (body(driver="nope"), NotFound, 'plugin "nope" not found'),
        (body(driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (
            body(driver="overlay"),
            Unavailable,
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again.",
        ),
        (
            body(subnet="10.0.0.0/33"),
            InvalidParameter,
            "Invalid subnet 10.0.0.0/33 : invalid CIDR address: 10.0.0.0/33",
        ),
        (body(subnet="172.17.0.0/16"), Forbidden, "Pool overlaps with other one on this address space"),
        (
            body(subnet="10.78.0.0/24", gateway="10.88.0.1"),
            InvalidParameter,
            "failed to allocate gateway (10.88.0.1): Requested address is out of range",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_dockers_words(
    wish: wire.NetworkCreateBody, kind: type[EngineError], text: str
) -> None:
    with pytest.raises(kind) as refused:
        check_create(wish, [BRIDGE, USERS])
    assert str(refused.value) == text
