"""What packets of users' networks may and may not do, on a host of the test's own (root)."""

import asyncio
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from tests.networks import private_host
from tests.networks.hosts import CONFIG, box, listening, network, on_own_host, opened, reaches
from tests.support.waiting import until

from lighterman.apitypes.network import IPAMConfig
from lighterman.errdefs import Forbidden, System
from lighterman.lib.filters import Filters
from lighterman.linux import netns
from lighterman.linux.link_monitor import LinkMonitor
from lighterman.linux.netlink import Netlink, delete_link
from lighterman.linux.nft import Nft
from lighterman.networks import EndpointWish, PortWish

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]
SIX = IPAMConfig("fd77::/64")


def ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)


async def can(key: str, address: str, port: int = 80) -> bool:
    """Whether it comes about; a bridge that got its first port may lose packets in its first second."""
    return await asyncio.to_thread(reaches, key, address, port, 3.0)


async def cannot(key: str, address: str, port: int = 80) -> bool:
    return not await asyncio.to_thread(reaches, key, address, port, 0.4)


@on_own_host
async def test_between_networks_nothing_passes_and_within_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/24"), SIX, ipv6=True)
        await network(networks, "two", IPAMConfig("10.2.0.0/24"), IPAMConfig("fd78::/64"), ipv6=True)
        server = await box(networks, "server", EndpointWish("one"))
        friend = await box(networks, "friend", EndpointWish("one"))
        stranger = await box(networks, "stranger", EndpointWish("two"))
        end = server.endpoints[0]
        with listening(server.key, 80, socket.AF_INET6):
            for address in (end.ipv4, end.ipv6):
                assert await can(friend.key, address)
                assert await cannot(stranger.key, address)


@on_own_host
async def test_a_way_between_networks_is_a_published_port_or_both(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one")
        await network(networks, "two")
        port = PortWish(80, "tcp", "", 8080, 8080)
        server = await box(networks, "server", EndpointWish("one"), ports=(port,))
        other = await box(networks, "other", EndpointWish("two"))
        with listening(server.key, 80):
            assert await can(other.key, "10.233.0.1", 8080)
            assert await can(server.key, "10.233.0.1", 8080)  # itself
            await networks.join(other.id, EndpointWish("one"))
            assert await can(other.key, server.endpoints[0].ipv4)


@on_own_host
async def test_an_internal_network_is_closed_both_ways(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    private_host.route_through(outside, "10.1.0.0/24", "192.0.2.1")
    async with opened(tmp_path) as networks:
        await network(networks, "back", IPAMConfig("10.1.0.0/24"), internal=True)
        await network(networks, "front", IPAMConfig("10.2.0.0/24"))
        inner = await box(
            networks, "inner", EndpointWish("back"), ports=(PortWish(80, "tcp", "", 8080, 8080),)
        )
        friend = await box(networks, "friend", EndpointWish("back"))
        front = await box(networks, "front", EndpointWish("front"))
        assert inner.ports == ()
        netns.run_in(inner.key, lambda: ip("route add default via 10.1.0.1"))
        with listening(inner.key, 80), listening(str(outside), 80), listening(front.key, 80):
            assert await can(friend.key, "10.1.0.2")
            assert await cannot(inner.key, "192.0.2.9")
            assert await cannot(inner.key, front.endpoints[0].ipv4)
            for key in (str(outside), front.key):
                assert await cannot(key, "10.1.0.2")


@on_own_host
async def test_neighbours_reach_no_container_but_by_its_ports(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    private_host.route_through(outside, "10.1.0.0/24", "192.0.2.1")
    ip("-6 addr add 2001:db8::1/64 dev wan0 nodad")
    netns.run_in(str(outside), lambda: ip("-6 addr add 2001:db8::9/64 dev eth0 nodad"))
    netns.run_in(str(outside), lambda: ip("-6 route add fd77::/64 via 2001:db8::1"))
    async with opened(tmp_path) as networks:
        await network(networks, "web", IPAMConfig("10.1.0.0/24"), SIX, ipv6=True)
        port = PortWish(80, "tcp", "", 8080, 8080)
        server = await box(networks, "server", EndpointWish("web"), ports=(port,))
        with listening(server.key, 80, socket.AF_INET6) as listener:
            for address in ("10.1.0.2", "fd77::2"):
                assert await cannot(str(outside), address)
            for address, source in (("192.0.2.1", "::ffff:192.0.2.9"), ("2001:db8::1", "2001:db8::9")):
                async with asyncio.timeout(5):  # IPv6 of the two links is not settled at once
                    while await cannot(str(outside), address, 8080):
                        pass
                assert listener.accept()[1][0] == source


@on_own_host
async def test_what_leaves_a_network_has_the_address_that_is_wished(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    ip("addr add 192.0.2.7/24 dev wan0")
    async with opened(tmp_path) as networks:
        await network(networks, "one", options={"com.docker.network.host_ipv4": "192.0.2.7"})
        one = await box(networks, "one", EndpointWish("one"))
        other = await box(networks, "other", EndpointWish("bridge"))
        with listening(str(outside), 80) as far:
            for key, seen in ((one.key, "192.0.2.7"), (other.key, "192.0.2.1")):
                assert await can(key, "192.0.2.9")
                assert (await asyncio.to_thread(far.accept))[1][0] == seen


@on_own_host
async def test_rules_come_back_after_a_flush_and_a_bridge_after_its_deletion(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one", options={"com.docker.network.bridge.name": "one0"})
        await network(networks, "two")
        server = await box(networks, "server", EndpointWish("one"))
        friend = await box(networks, "friend", EndpointWish("one"))
        stranger = await box(networks, "stranger", EndpointWish("two"))
        address = server.endpoints[0].ipv4
        with listening(server.key, 80):
            nft = Nft()
            nft.run("flush ruleset")
            async with asyncio.timeout(2):
                while not await cannot(stranger.key, address):
                    pass
            nft.close()
            with Netlink() as netlink:
                netlink.batch([delete_link("one0")])
            async with asyncio.timeout(3):
                while await cannot(friend.key, address):
                    pass
            assert await cannot(stranger.key, address)


@on_own_host
async def test_without_ipv6_there_is_none_and_routers_are_not_heard(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "four")
        await network(networks, "six", SIX, ipv6=True)
        sandbox = await box(networks, "both", EndpointWish("four"), EndpointWish("six"))

        def links_with_ipv6() -> set[str]:
            with Netlink() as netlink:
                names = {link.index: link.name for link in netlink.links()}
                return {names[each.index] for each in netlink.addresses() if each.interface.version == 6}

        assert netns.run_in(sandbox.key, links_with_ipv6) == {"lo", "eth1"}
        told = netns.run_in(sandbox.key, lambda: os.popen("sysctl -n net.ipv6.conf.eth1.accept_ra").read())
        assert told == "0\n"


@on_own_host
async def test_networks_go_with_their_links_and_never_while_they_are_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        made = await network(networks, "one")
        sandbox = await box(networks, "web", EndpointWish("one"))
        with pytest.raises(Forbidden, match=f"network one id {made} has active endpoints"):
            await networks.remove("one")
        await networks.disconnect(sandbox.id)
        await networks.remove("one")
        with Netlink() as netlink:
            assert "172.17.0.0/16" not in {str(route.subnet) for route in netlink.routes()}

    def bridges() -> list[str]:
        with Netlink() as netlink:
            return [link.name for link in netlink.links() if link.kind == "bridge"]

    assert bridges() == [CONFIG.bridge_name], "who closes has waited for the end of links"


@on_own_host
async def test_the_name_and_the_subnet_of_a_network_that_was_removed_are_free_at_once(tmp_path: Path) -> None:
    named = {"com.docker.network.bridge.name": "mine0"}
    async with opened(tmp_path) as networks:
        for _ in range(3):
            made = await network(networks, "one", options=named)
            assert [str(each) for each in networks.find(made).subnets] == ["172.17.0.0/16"]
            web = await box(networks, "web", EndpointWish("one"))
            with listening(web.key, 80):
                assert await can("/proc/thread-self/ns/net", web.endpoints[0].ipv4)
            await networks.disconnect(web.id)
            await networks.remove(made)


@on_own_host
async def test_a_link_that_was_there_is_used_and_left(tmp_path: Path) -> None:
    ip("link add mine0 type bridge", "link set mine0 up")
    async with opened(tmp_path) as networks:
        await network(networks, "one", options={"com.docker.network.bridge.name": "mine0"})
        await networks.remove("one")
    with Netlink() as netlink:
        assert "mine0" in {link.name for link in netlink.links()}


@on_own_host
async def test_what_a_crash_left_of_a_network_goes_at_the_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "kept")
        ip("link add br-lost type bridge", f"link set br-lost alias {CONFIG.table}")
    async with opened(tmp_path) as networks:
        assert [each.name for each in networks.list(Filters({"type": ("custom",)}))] == ["kept"]
        with Netlink() as netlink:
            assert "br-lost" not in {link.name for link in netlink.links()}


@on_own_host
async def test_a_subnet_that_the_host_routes_is_never_chosen(tmp_path: Path) -> None:
    ip("link add vpn0 type bridge", "link set vpn0 up", "route add 172.16.0.0/12 dev vpn0")
    async with opened(tmp_path) as networks:
        await network(networks, "one")
        assert networks.inspect("one").ipam.config == [IPAMConfig("192.168.0.0/20", gateway="192.168.0.1")]


@on_own_host
async def test_a_join_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/29"))
        web = await box(networks, "web", EndpointWish("bridge"))
        netns.run_in(web.key, lambda: ip("link add eth1 type bridge"))
        for _ in range(6):  # more often than there are addresses
            with pytest.raises(System, match="failed to connect web to one"):
                await networks.join(web.id, EndpointWish("one"))
            assert networks.sandbox(web.id) == web
        with Netlink() as netlink:
            assert len([link for link in netlink.links() if link.kind == "veth"]) == 1


@on_own_host
async def test_a_hundred_at_once_and_many_joins_leave_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        one, two = await network(networks, "one"), await network(networks, "two")
        before = len(os.listdir("/proc/self/fd"))

        async def live(number: int) -> None:
            web = await box(networks, f"n{number}", EndpointWish("one"), ports=(PortWish(80, "tcp"),))
            await networks.join(web.id, EndpointWish("two"))
            if number % 10 == 0:  # slow: the kernel waits for each link
                await networks.leave(web.id, one)
                await networks.join(web.id, EndpointWish("one"))
            await networks.disconnect(web.id)

        await asyncio.gather(*(live(number) for number in range(100)))
        assert networks.inspect(one).containers == networks.inspect(two).containers == {}
        assert len(os.listdir("/proc/self/fd")) < before + 5  # the loop opens one or two of its own
        for place in ("netns", "sandboxes"):
            assert list((tmp_path / place).iterdir()) == []
        await networks.remove(one)
        await networks.remove(two)


@on_own_host
async def test_who_deletes_links_is_heard(tmp_path: Path) -> None:
    monitor = LinkMonitor()
    ip("link add gone0 type bridge", "link del gone0")
    assert monitor.gone() == {"gone0"}
    assert monitor.gone() == set()
    monitor.close()


@on_own_host
async def test_a_network_says_where_its_ports_are_published(tmp_path: Path) -> None:
    binding = {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
    async with opened(tmp_path) as networks:
        await network(networks, "one", options=binding)
        ports = (PortWish(80, "tcp", "", 8080, 8080), PortWish(81, "tcp", "0.0.0.0", 8081, 8081))
        web = await box(networks, "web", EndpointWish("one"), ports=ports)
        assert [(port.host_ip, port.host_port) for port in web.ports] == [
            ("127.0.0.1", 8080),
            ("0.0.0.0", 8081),
        ]


@on_own_host
async def test_other_ports_are_published_while_it_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        ports = (PortWish(80, "tcp", "", 8080, 8080),)
        web = await box(networks, "web", EndpointWish("bridge"), ports=ports)
        other = await box(
            networks, "other", EndpointWish("bridge"), ports=(PortWish(80, "tcp", "", 9090, 9090),)
        )
        here = "/proc/thread-self/ns/net"
        with listening(web.key, 80):
            assert await can(here, "127.0.0.1", 8080)
            with pytest.raises(System, match=r"Bind for 0.0.0.0:9090 failed: port is already allocated"):
                await networks.republish(web.id, (PortWish(80, "tcp", "", 9090, 9090),))
            assert await can(here, "127.0.0.1", 8080)
            await networks.republish(web.id, (PortWish(80, "tcp", "", 8181, 8181),))
            assert await can(here, "127.0.0.1", 8181)
            assert await can(here, "::1", 8181)
            assert await cannot(here, "127.0.0.1", 8080)
        await networks.disconnect(other.id)


@on_own_host
async def test_macvlan_has_a_mac_an_address_and_its_size_of_packets(tmp_path: Path) -> None:
    private_host.make_outside(tmp_path / "outside")
    async with opened(tmp_path) as networks:
        options = {"parent": "wan0", "com.docker.network.driver.mtu": "1400"}
        await network(
            networks,
            "lan",
            IPAMConfig("192.0.2.0/24", gateway="192.0.2.9"),
            driver="macvlan",
            options=options,
        )
        web = await box(networks, "web", EndpointWish("lan", ipv4="192.0.2.77", mac="02:00:00:00:00:77"))

        def link() -> tuple[str, int]:
            with Netlink() as netlink:
                (found,) = [each for each in netlink.links() if each.name == "eth0"]
                return found.mac, found.mtu

        assert netns.run_in(web.key, link) == ("02:00:00:00:00:77", 1400)
        with listening(str(tmp_path / "outside"), 80):
            assert await can(web.key, "192.0.2.9")
        await networks.disconnect(web.id)
        await networks.remove("lan")
        with Netlink() as netlink:
            assert "wan0" in {each.name for each in netlink.links()}


@on_own_host
async def test_a_containers_link_that_somebody_deletes_comes_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/24"), IPAMConfig("fd00:1::/64"), ipv6=True)
        web = await box(networks, "web", EndpointWish("one"), ports=(PortWish(80, "tcp", "", 8080, 8080),))
        other = await box(networks, "other", EndpointWish("one"))
        (veth,) = (name for name in our_veths() if name.endswith(web.endpoints[0].id[:8]))
        ip(f"link del {veth}")
        with listening(web.key, 80, socket.AF_INET6):
            assert await can(other.key, web.endpoints[0].ipv4, 80)
            assert await can(other.key, web.endpoints[0].ipv6, 80)
            assert await can("/proc/thread-self/ns/net", "127.0.0.1", 8080)
        assert "via 10.1.0.1" in netns.run_in(web.key, lambda: default_route(4))
        assert "via fd00:1::1" in netns.run_in(web.key, lambda: default_route(6))
        await networks.disconnect(web.id)
        await asyncio.to_thread(until, lambda: veth not in our_veths(), what="the link to go for good")


@on_own_host
async def test_link_local_addresses_are_there_beside_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        await network(networks, "one", IPAMConfig("10.1.0.0/24"), IPAMConfig("fd00:1::/64"), ipv6=True)
        wish = EndpointWish("one", link_local=("169.254.34.68", "fe80::34:68"))
        web, other = await box(networks, "web", wish), await box(networks, "other", EndpointWish("one"))

        def addresses() -> set[str]:
            with Netlink() as netlink:
                return {str(each.interface) for each in netlink.addresses()}

        assert {"169.254.34.68/16", "fe80::34:68/64", "10.1.0.2/24"} <= netns.run_in(web.key, addresses)
        assert other.endpoints[0].ipv4 == "10.1.0.3"


@on_own_host
async def test_the_network_with_the_highest_priority_has_the_default_route(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        for name, subnet in (("a", "10.1.0.0/24"), ("b", "10.2.0.0/24"), ("c", "10.3.0.0/24")):
            await network(networks, name, IPAMConfig(subnet))
        web = await box(networks, "web", EndpointWish("a"), EndpointWish("b", priority=5))
        assert way_out(web.key) == "10.2.0.1"
        await networks.join(web.id, EndpointWish("c", priority=9))
        assert way_out(web.key) == "10.3.0.1"
        await networks.leave(web.id, networks.find("c").id)
        assert way_out(web.key) == "10.2.0.1"
        await networks.leave(web.id, networks.find("b").id)
        assert way_out(web.key) == "10.1.0.1"


def way_out(key: str) -> str:
    """The gateway of the default route of IPv4 in a namespace."""

    return netns.run_in(key, lambda: default_route(4)).split()[2]


@on_own_host
async def test_a_published_port_of_sctp_leads_to_the_container(tmp_path: Path) -> None:
    """By a packet as it is on the wire: this needs rules, and no SCTP in the kernel."""
    private_host.make_outside(tmp_path / "outside")
    async with opened(tmp_path) as networks:
        ports = (PortWish(80, "sctp", "", 8080, 8080),)
        web = await box(networks, "web", EndpointWish("bridge"), ports=ports)
        with raw_sctp(web.key) as inside, raw_sctp(str(tmp_path / "outside")) as outside:
            outside.sendto(sctp_init(4000, 8080), ("192.0.2.1", 0))
            packet, (source, _) = await asyncio.to_thread(inside.recvfrom, 4096)
        assert source == "192.0.2.9"
        assert struct.unpack_from("!HH", packet, 20) == (4000, 80)
        with raw_sctp(web.key) as inside, raw_sctp(str(tmp_path / "outside")) as outside:
            outside.sendto(sctp_init(4001, 8081), ("192.0.2.1", 0))
            outside.sendto(sctp_init(4002, 8080), ("192.0.2.1", 0))
            packet, _ = await asyncio.to_thread(inside.recvfrom, 4096)
        assert struct.unpack_from("!HH", packet, 20) == (4002, 80)


def raw_sctp(key: str) -> socket.socket:
    """A socket in a namespace that sends and hears packets of SCTP as they are."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        sock.settimeout(5)
        return sock

    return netns.run_in(key, make)


def sctp_init(source: int, target: int) -> bytes:
    """The first packet of an association. Source: RFC 9260, 3.3.2."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 9)
    packet = struct.pack("!HHII", source, target, 0, 0) + chunk
    return packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def our_veths() -> list[str]:
    with Netlink() as netlink:
        return [link.name for link in netlink.links() if link.kind == "veth"]


def default_route(version: int) -> str:
    """The default route of a version of IP here, as ip(8) tells it."""
    command = ["ip", f"-{version}", "route", "show", "default"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
