"""What a network of the swarm may be."""

import pytest
from tests.swarm.world import Memory, World

from lighterman.api.errors import status_of
from lighterman.apitypes.network import IPAM, IPAMConfig, NetworkCreateBody
from lighterman.errdefs import EngineError
from lighterman.swarm.control import networks


def wish(**changes: object) -> NetworkCreateBody:
    return NetworkCreateBody(**({"name": "net", "driver": "overlay"} | changes))  # type: ignore[arg-type]


def pools(*subnets: str) -> IPAM:
    return IPAM(config=[IPAMConfig(subnet=subnet) for subnet in subnets])


REFUSED: list[tuple[NetworkCreateBody, int, str]] = [
    (
        wish(options={"encrypted": ""}),
        501,
        "encrypted overlay networks are not supported, and are not made in the clear",
    ),
    (
        wish(options={"encrypted": "false"}),
        501,
        "encrypted overlay networks are not supported, and are not made in the clear",
    ),
    (wish(enable_ipv6=True), 501, "overlay networks with IPv6 are not supported"),
    (
        wish(ipam=pools("10.1.0.0/24", "10.2.0.0/24")),
        501,
        "overlay networks with more than one subnet are not supported",
    ),
    (wish(ipam=pools("fd00::/64")), 501, "overlay networks with IPv6 are not supported"),
    (
        wish(driver="macvlan", scope="swarm"),
        501,
        "networks of the driver macvlan with scope swarm are not supported",
    ),
    (
        wish(driver="weave", scope="swarm"),
        400,
        "legacy plugin weave of type NetworkDriver is not supported in swarm mode",
    ),
    (wish(ipam=IPAM(driver="infoblox")), 400, "plugin infoblox not supported"),
    (wish(ipam=pools("x")), 400, "ipam configuration: invalid subnet x"),
    (
        wish(options={"com.docker.network.driver.mtu": "big"}),
        400,
        "invalid MTU number: big",
    ),
]


@pytest.mark.parametrize(("body", "status", "text"), REFUSED)
async def test_what_does_not_act_is_refused_by_name(body: NetworkCreateBody, status: int, text: str) -> None:
    store = Memory()
    with pytest.raises(EngineError) as caught:
        await networks.create(store, body)
    assert status_of(caught.value) == status
    assert str(caught.value).endswith(text)
    assert store.state.networks == {}


def test_a_network_that_was_made_has_a_subnet_of_its_own() -> None:
    world = World()
    for name in ("one", "two"):
        world.network(name)
    world.think()
    subnets = [pool.subnet for status in world.state.network_statuses.values() for pool in status.ipam]
    assert len(set(subnets)) == 2
