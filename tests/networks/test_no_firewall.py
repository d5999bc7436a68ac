"""Packets where the operator keeps the firewall himself: iptables=false and ip6tables=false (root)."""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path

import pytest
from tests.networks import private_host
from tests.networks.hosts import box, listening, network, on_own_host, opened, reaches

from lighterman.apitypes.network import IPAMConfig
from lighterman.errdefs import Forbidden
from lighterman.linux import netns
from lighterman.linux.nft import Nft
from lighterman.networks import EndpointWish, NetworkConfig, PortWish
from lighterman.networks.errors import ConnectivityFailed

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]
CONFIG = NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24", iptables=False, ip6tables=False)
ONLY_IPV4 = NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24", ip6tables=False)


def tables() -> list[str]:
    nft = Nft()
    try:
        return [entry["table"]["name"] for entry in nft.run("list tables") if "table" in entry]
    finally:
        nft.close()


def routes_loopback(link: str) -> bool:
    return Path(f"/proc/sys/net/ipv4/conf/{link}/route_localnet").read_text() == "1\n"


@on_own_host
async def test_no_table_is_made_and_one_that_was_ours_goes(tmp_path: Path) -> None:
    async with opened(tmp_path, NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24")):
        assert tables() == ["lighterman_lmtest0"]
    async with opened(tmp_path, CONFIG) as networks:
        assert tables() == []
        await network(networks, "one")
        await box(networks, "server", EndpointWish("one"), ports=(PortWish(80, "tcp", "", 8080, 8080),))
        assert tables() == []
        for link in (networks.find("one").link, "lmtest0"):  # nothing would guard the way to loopback
            assert not routes_loopback(link)


@on_own_host
async def test_published_ports_are_relayed_from_everywhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    async with opened(tmp_path, CONFIG) as networks:
        ports = (PortWish(80, "tcp", "", 8080, 8080), PortWish(80, "tcp", "127.0.0.1", 8081, 8081))
        server = await box(networks, "server", EndpointWish("bridge"), ports=ports)
        other = await box(networks, "other", EndpointWish("bridge"))
        with listening(server.key, 80) as listener:
            for key, address in (
                (str(outside), "192.0.2.1"),
                (other.key, "192.0.2.1"),
                (server.key, "10.233.0.1"),
            ):
                assert await asyncio.to_thread(reaches, key, address, 8080, 3.0)
                assert (await asyncio.to_thread(listener.accept))[1][0] == "10.233.0.1"
            for address, port in (("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 8081)):
                with await asyncio.to_thread(partial(socket.create_connection, (address, port), timeout=3)):
                    assert (await asyncio.to_thread(listener.accept))[1][0] == "10.233.0.1"
            assert not await asyncio.to_thread(reaches, str(outside), "192.0.2.1", 8081)
    netns.delete(str(outside))


@on_own_host
async def test_nothing_is_masqueraded_and_networks_of_one_host_reach_each_other(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    async with opened(tmp_path, CONFIG) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/24"))
        one = await box(networks, "one", EndpointWish("one"))
        other = await box(networks, "other", EndpointWish("bridge"))
        with listening(one.key, 80), listening(str(outside), 80) as far:
            assert await asyncio.to_thread(reaches, other.key, "10.1.0.2", 80, 3.0)
            assert not await asyncio.to_thread(reaches, one.key, "192.0.2.9", 80)  # knows no way back
            private_host.route_through(outside, "10.1.0.0/24", "192.0.2.1")
            assert await asyncio.to_thread(reaches, one.key, "192.0.2.9", 80, 3.0)
            assert (await asyncio.to_thread(far.accept))[1][0] == "10.1.0.2"
    netns.delete(str(outside))


@on_own_host
async def test_an_internal_network_is_closed_without_rules(tmp_path: Path) -> None:
    async with opened(tmp_path, CONFIG) as networks:
        await network(networks, "back", IPAMConfig("10.1.0.0/24"), internal=True)
        await network(networks, "front", IPAMConfig("10.2.0.0/24"))
        inner = await box(networks, "inner", EndpointWish("back"))
        friend = await box(networks, "friend", EndpointWish("back"))
        front = await box(networks, "front", EndpointWish("front"))
        netns.run_in(inner.key, lambda: os.system("ip route add default via 10.1.0.1"))
        with listening(inner.key, 80), listening(front.key, 80):
            assert await asyncio.to_thread(reaches, friend.key, "10.1.0.2", 80, 3.0)
            assert not await asyncio.to_thread(reaches, inner.key, "10.2.0.2", 80)
            assert not await asyncio.to_thread(reaches, front.key, "10.1.0.2", 80)


@on_own_host
async def test_what_takes_rules_is_refused_by_name(tmp_path: Path) -> None:
    async with opened(tmp_path, CONFIG) as networks:
        for name, value in (("enable_icc", "false"), ("enable_ip_masquerade", "true")):
            with pytest.raises(Forbidden, match=f"{name}={value} takes firewall rules, and iptables is fals"):
                await network(networks, "one", options={f"com.docker.network.bridge.{name}": value})
        with pytest.raises(Forbidden, match="an internal network with IPv6 takes firewall rules"):
            await network(networks, "one", internal=True, ipv6=True)
        with pytest.raises(ConnectivityFailed, match="ports of sctp are led by the firewall"):
            await box(networks, "x", EndpointWish("bridge"), ports=(PortWish(80, "sctp", "", 8080, 8080),))
        await networks.ensure_gateway_bridge()


@on_own_host
async def test_ipv6_alone_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, ONLY_IPV4) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/24"), IPAMConfig("fd77::/64"), ipv6=True)
        await network(networks, "two", IPAMConfig("10.2.0.0/24"), IPAMConfig("fd78::/64"), ipv6=True)
        port = (PortWish(80, "tcp", "", 8080, 8080),)
        server = await box(networks, "server", EndpointWish("one"), ports=port)
        stranger = await box(networks, "stranger", EndpointWish("two"))
        with listening(server.key, 80, socket.AF_INET6) as listener:
            assert not await asyncio.to_thread(reaches, stranger.key, "10.1.0.2", 80)
            assert await asyncio.to_thread(reaches, stranger.key, "fd77::2", 80, 3.0)
            await asyncio.to_thread(listener.accept)
            with await asyncio.to_thread(partial(socket.create_connection, ("fd77::1", 8080), timeout=3)):
                assert (await asyncio.to_thread(listener.accept))[1][0] == "::ffff:10.1.0.1"
        with pytest.raises(Forbidden, match="an internal network with IPv6 takes firewall rules, and ip6tab"):
            await network(networks, "three", internal=True, ipv6=True)
