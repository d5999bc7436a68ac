"""What plugins of networks are told, and what their answers mean."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from lighterman.apitypes import network as wire
from lighterman.db import Database
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.networks import remote_words as words
from lighterman.networks.catalog import Catalog
from lighterman.networks.create import NetworkPlan, idle_pools, plan_network
from lighterman.networks.plan import needs_way_out, plan_endpoint
from lighterman.networks.remote import LEASES, Remote
from lighterman.networks.remote_pools import ATTEMPTS, request_pools
from lighterman.networks.row import NetworkRow, Pool
from lighterman.networks.sandbox import (
    Brought,
    EndpointWish,
    Given,
    PortWish,
    PublishedPort,
    Sandbox,
    SandboxWish,
)
from lighterman.plugins.errors import CallFailed, DriverRefused, NoAnswer, NoSuchPlugin
from lighterman.plugins.interfaces import (
    AddressPool,
    IpamCapabilities,
    Joined,
    NetworkDriver,
    StaticRoute,
)

ROW = NetworkRow(
    "a" * 64,
    "net",
    "plugin",
    1,
    pools=(Pool("10.5.0.0/24", "10.5.0.1", auxiliary={"host": "10.5.0.9"}, id="five"),),
    ipam_driver="plugin",
    options={"k": "v"},
)


def joined(source: str = "veth7", prefix: str = "eth", **more: object) -> Joined:
    return Joined(source, prefix, **more)  # type: ignore[arg-type]


def test_a_network_is_told_as_libnetwork_tells_it() -> None:
    told = {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": {"k": "v"}}
    assert words.network_options(ROW) == told
    (data,) = words.ipam_data(ROW.pools, "here", 4)
    assert (data.pool, data.gateway, data.aux_addresses) == (
        "10.5.0.0/24",
        "10.5.0.1/24",
        {"host": "10.5.0.9/24"},
    )
    assert words.ipam_data(ROW.pools, "here", 6) == []


def test_ports_are_told_by_the_numbers_of_their_protocols() -> None:
    told = words.port_options([PortWish(53, "udp", "127.0.0.1", 5300, 5310)], [(53, "udp"), (7, "sctp")])
    assert told == {
        "com.docker.network.endpoint.exposedports": [{"Proto": 17, "Port": 53}, {"Proto": 132, "Port": 7}],
        "com.docker.network.portmap": [
            {"Proto": 17, "IP": "", "Port": 53, "HostIP": "127.0.0.1", "HostPort": 5300, "HostPortEnd": 5310}
        ],
    }


def test_a_mac_is_told_as_go_writes_bytes() -> None:
    options = words.endpoint_options({}, {"x": "y"}, "02:42:00:00:00:01")
    assert options == {"x": "y", "com.docker.network.endpoint.macaddress": "AkIAAAAB"}


@pytest.mark.parametrize(
    ("told", "asked", "after"), [("", "10.5.0.2/24", "10.5.0.2/24"), ("10.5.0.2/24", "", "10.5.0.2/24")]
)
def test_a_driver_decides_only_what_nobody_has(told: str, asked: str, after: str) -> None:
    assert words.decided(told, asked, 4, "p") == after


def test_what_was_decided_stays() -> None:
    with pytest.raises(CallFailed, match="driver modified interface address"):
        words.decided("10.5.0.3/24", "10.5.0.2/24", 4, "p")
    with pytest.raises(CallFailed, match="driver modified interface MAC address"):
        words.decided_mac("02:42:00:00:00:02", "02:42:00:00:00:01", "p")
    assert words.decided_mac("02-42-00-00-00-02", "", "p") == "02:42:00:00:00:02"


@pytest.mark.parametrize(
    "answer",
    [
        joined(source="../x"),
        joined(source="x" * 16),
        joined(prefix="much-too-long"),
        joined(gateway="10.5.0"),
        joined(gateway_ipv6="x"),
        joined(routes=(StaticRoute("10.0.0.0/33"),)),
        joined(routes=(StaticRoute("10.0.0.0/8", "nobody"),)),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_by_name(answer: Joined) -> None:
    with pytest.raises(CallFailed, match="the plugin p answered nonsense: "):
        words.brought(answer, ROW, "p")


@pytest.mark.parametrize("text", ["10.5.0.2", "10.5.0.2/33", "fd00::1/64", ""])
def test_an_address_has_a_prefix_and_the_right_version(text: str) -> None:
    with pytest.raises(CallFailed, match="answered nonsense"):
        words.interface(text, 4, "p")


def test_ports_that_a_plugin_answers_on_are_told_by_it() -> None:
    told = {"com.docker.network.portmap": [{"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 8080}]}
    assert words.told_ports(told, "p") == (PublishedPort(80, "tcp", "0.0.0.0", 8080),)
    assert words.told_ports({}, "p") == ()
    for wrong in (
        [{"Proto": 99, "Port": 1, "HostPort": 1}],
        ["x"],
        7,
        [{"Proto": 6, "Port": "x", "HostPort": 1}],
    ):
        with pytest.raises(CallFailed, match="answered nonsense"):
            words.told_ports({"com.docker.network.portmap": wrong}, "p")


@pytest.mark.parametrize(
    ("answer", "needs"),
    [
        (joined(), True),
        (joined(gateway="10.5.0.1"), False),
        (joined(routes=(StaticRoute("0.0.0.0/0", "10.5.0.1"),)), False),
        (joined(disable_gateway_service=True), False),
    ],
)
def test_the_engine_leads_out_whom_the_plugin_leads_nowhere(answer: Joined, needs: bool) -> None:
    given = Given("e" * 64, "10.5.0.2/24", mac="02:42:0a:05:00:02", brought=words.brought(answer, ROW, "p"))
    endpoint = plan_endpoint(ROW, EndpointWish("net", given=given), None, endpoint_id="")
    assert (endpoint.id, endpoint.ipv4, endpoint.ipv4_prefix) == ("e" * 64, "10.5.0.2", 24)
    assert needs_way_out(Sandbox("c", "c", "", (endpoint,)), {ROW.id: ROW}) is needs


def test_an_internal_network_has_no_gateway_whatever_its_plugin_says() -> None:
    inside = NetworkRow("a" * 64, "net", "plugin", 1, internal=True)
    assert words.brought(joined(gateway="10.5.0.1"), inside, "p").gateway == ""


def test_an_endpoint_is_called_by_the_prefix_of_its_plugin() -> None:
    given = Given("e" * 64, brought=Brought("veth7", "lan"))
    wish = EndpointWish("net", given=given)
    endpoint = plan_endpoint(ROW, wish, None, endpoint_id="", taken_interfaces=["eth0", "lan0"])
    assert (endpoint.interface, endpoint.addresses, endpoint.has_link) == ("lan1", (), True)


def planned(*configs: wire.IPAMConfig, driver: str = "", **more: object) -> NetworkPlan:
    ipam = wire.IPAM("plugin", None, list(configs))
    body = wire.NetworkCreateBody("net", driver=driver, ipam=ipam, **more)  # type: ignore[arg-type]
    return plan_network(body, [], network_id="a" * 64, now_ns=1)


def test_addresses_that_nobody_gives_are_for_networks_of_plugins() -> None:
    nobody = wire.IPAM("null")
    for body, kind in (
        (wire.NetworkCreateBody("net", ipam=nobody), Unimplemented),
        (wire.NetworkCreateBody("net", driver="plugin", ipam=nobody, enable_ipv6=True), InvalidParameter),
    ):
        with pytest.raises(kind):
            plan_network(body, [], network_id="a" * 64, now_ns=1)


class Pools:
    """A driver of addresses in memory: what is requested and not released is `held`."""

    def __init__(self, *offered: str) -> None:
        self.offered = list(offered)
        self.held: list[str] = []
        self.waited_for: list[bool] = []
        """For each time that it was looked for, whether somebody would have waited."""

    async def capabilities(self) -> IpamCapabilities:
        return IpamCapabilities()

    async def default_address_spaces(self) -> tuple[str, str]:
        return "local", "global"

    async def request_pool(
        self, space: str, pool: str, sub_pool: str, options: object, *, v6: bool
    ) -> AddressPool:
        found = pool or (self.offered.pop(0) if len(self.offered) > 1 else self.offered[0])
        self.held.append(found)
        return AddressPool(found, found)

    async def release_pool(self, pool: str) -> None:
        self.held.remove(pool)

    async def request_address(self, pool: str, address: str, options: object) -> tuple[str, dict[str, str]]:
        if address.endswith(".66"):
            raise DriverRefused("remote: not that one")
        return f"{address or str(IPv4Network(pool)[1])}/{pool.rpartition('/')[2]}", {}

    async def release_address(self, pool: str, address: str) -> None: ...


class Shop:
    """Where drivers are found: this one alone."""

    def __init__(self, driver: Pools) -> None:
        self.driver = driver

    async def ipam_driver(self, name: str, *, patient: bool = True) -> Pools:
        self.driver.waited_for.append(patient)
        return self.driver

    async def network_driver(self, name: str, *, patient: bool = True) -> NetworkDriver:
        raise NoSuchPlugin(name)


class Deaf(Pools):
    """It does not hear of what it gets back as long as `deaf` is set."""

    deaf = True

    def __init__(self) -> None:
        super().__init__()
        self.released: list[str] = []

    async def release_address(self, pool: str, address: str) -> None:
        if self.deaf:
            raise NoAnswer("context deadline exceeded")
        self.released.append(address)


BRIDGE = NetworkRow(
    "b" * 64,
    "net",
    "bridge",
    1,
    pools=(Pool("10.5.0.0/24", "10.5.0.1", wished=True, id="10.5.0.0/24"),),
    ipam_driver="p",
)


def opened(driver: Pools, db: Database) -> Remote:
    """With the one network, and what `db` remembers; the kernel is not asked for addresses."""
    nothing: Any = None
    leases = LEASES.load(db).values()
    return Remote(Shop(driver), db, nothing, nothing, Catalog([BRIDGE]), leases=leases, unfinished=())


async def test_what_a_plugin_did_not_hear_of_is_told_again_once(tmp_path: Path) -> None:
    driver, db = Deaf(), Database(tmp_path / "state.db")
    remote = opened(driver, db)
    wish = await remote.attach(SandboxWish("c", "c"), "/key", BRIDGE, EndpointWish("net"))
    assert wish.given is not None
    assert (wish.given.ipv4, wish.given.mac) == ("10.5.0.1/24", "02:42:0a:05:00:01")
    assert remote.is_used(BRIDGE.id)
    assert all(driver.waited_for)
    await remote.give_back("c")
    assert not driver.waited_for[-1]  # an end waits for nobody: it is told again
    assert not remote.is_used(BRIDGE.id)
    assert [lease.addresses for lease in LEASES.load(db).values()] == [(("10.5.0.0/24", "10.5.0.1"),)]
    driver.deaf = False
    await remote.give_back("c")
    assert driver.released == []  # nobody is asked in vain for each end of the same container
    await remote.settle(BRIDGE.id)
    await remote.settle(BRIDGE.id)
    assert driver.released == ["10.5.0.1"]
    assert LEASES.load(db) == {}
    await remote.close()
    db.close()


async def test_the_next_engine_returns_what_the_last_was_given(tmp_path: Path) -> None:
    driver, db = Deaf(), Database(tmp_path / "state.db")
    killed = opened(driver, db)
    kept = await killed.attach(SandboxWish("c", "c"), "/key", BRIDGE, EndpointWish("net", ipv4="10.5.0.7"))
    await killed.attach(SandboxWish("d", "d"), "/key", BRIDGE, EndpointWish("net", ipv4="10.5.0.8"))
    driver.deaf = False
    remote = opened(driver, db)
    end = plan_endpoint(BRIDGE, kept, None, endpoint_id="")
    remote.begin([Sandbox("c", "c", "/key", (end,))])
    await remote.settle(BRIDGE.id)
    assert driver.released == ["10.5.0.8"]
    await remote.give_back("c")
    assert driver.released == ["10.5.0.8", "10.5.0.7"]
    await remote.close()
    db.close()


async def requested(driver: Pools, plan: NetworkPlan, *taken: str) -> list[tuple[Pool, ...]]:
    """What was noted, in turn."""
    notes: list[tuple[Pool, ...]] = []

    async def note(pools: tuple[Pool, ...]) -> None:
        notes.append(pools)

    await request_pools(driver, plan, taken=[IPv4Network(each) for each in taken], note=note)
    return notes


async def test_subnets_that_the_host_has_are_held_until_another_comes() -> None:
    driver = Pools("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24")
    notes = await requested(driver, planned(), "10.0.0.0/15", "10.2.0.0/16")
    assert [pool.subnet for pool in notes[-1]] == ["10.3.0.0/24"]
    assert driver.held == ["10.3.0.0/24"]


async def test_a_driver_that_offers_the_same_again_and_again_is_not_asked_for_ever() -> None:
    driver = Pools("10.1.0.0/24")
    with pytest.raises(CallFailed, match="overlaps with what this host has routes to"):
        await requested(driver, planned(), "10.1.0.0/24")
    assert driver.held == []
    driver = Pools(*(f"10.1.{n}.0/24" for n in range(ATTEMPTS + 9)))
    with pytest.raises(CallFailed, match="overlaps"):
        await requested(driver, planned(), "10.1.0.0/16")
    assert driver.held == []


async def test_what_was_given_is_noted_before_more_is_asked() -> None:
    wish = wire.IPAMConfig("10.1.0.0/24", gateway="10.1.0.66")
    driver, notes = Pools(), []

    async def note(pools: tuple[Pool, ...]) -> None:
        notes.append(pools)

    with pytest.raises(Exception, match=r"failed to allocate gateway \(10.1.0.66\): remote: not that one"):
        await request_pools(driver, planned(wish), taken=[], note=note)
    assert [pool.subnet for pool in notes[-1]] == ["10.1.0.0/24"]


async def test_a_pool_that_is_none_goes_back() -> None:
    driver = Pools("nonsense")
    with pytest.raises(CallFailed, match="invalid CIDR address: nonsense"):
        await requested(driver, planned())
    assert driver.held == []


async def test_ipv6_without_ipv6_is_not_asked_for() -> None:
    plan = planned(wire.IPAMConfig("10.1.0.0/24"), wire.IPAMConfig("fd00::/64"))
    notes = await requested(Pools(), plan)
    assert [pool.subnet for pool in notes[-1]] == ["10.1.0.0/24"]
    assert [pool.subnet for pool in idle_pools(plan)] == ["fd00::/64"]
