"""rtnetlink, nftables and network namespaces, in namespaces of the tests' own (root)."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from lighterman.linux import link_kinds, netns
from lighterman.linux import netlink as nl
from lighterman.linux.nft import Nft, NftError

MAC = "02:42:00:00:00:01"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "ns")
    netns.create(path)
    yield path
    netns.delete(path)


def within(place: str, act: Callable[[nl.Netlink], object]) -> object:
    def run() -> object:
        with nl.Netlink() as netlink:
            return act(netlink)

    return netns.run_in(place, run)


def test_attributes_nest_and_are_padded() -> None:
    packed = nl.pack([(3, "eth0"), (18, [(1, "veth")]), (4, 1500), (9, b"\1")])
    assert len(packed) % 4 == 0
    found = nl.unpack(packed)
    assert found[3] == b"eth0\0"
    assert nl.unpack(found[18]) == {1: b"veth\0"}
    assert int.from_bytes(found[4], "little") == 1500
    assert found[9] == b"\1"


@pytest.mark.parametrize("mac", ["02:42", "zz:42:ac:11:00:02", ""])
def test_what_is_no_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        nl.mac_bytes(mac)


@needs_root
def test_a_bridge_and_its_port_are_as_asked_for(place: str, tmp_path: Path) -> None:
    inner = str(tmp_path / "inner")
    netns.create(inner)

    def make(netlink: nl.Netlink) -> object:
        netlink.batch([link_kinds.add_bridge("br0", mac=MAC, mtu=1400)])
        bridge = netlink.links()[-1]
        fd = netns.open_pinned(inner)
        veth = link_kinds.add_veth(
            "veth0", master=bridge.index, peer="eth0", peer_ns=fd, peer_mac="02:42:ac:11:00:02", mtu=1400
        )
        netlink.batch([veth, nl.set_port("veth0", hairpin=True, isolated=True)])
        netlink.batch([nl.add_address(bridge.index, IPv4Interface("10.1.0.1/24"))])
        netlink.batch([nl.add_route(IPv4Network("10.2.0.0/16"), IPv4Address("10.1.0.9"), bridge.index)])
        os.close(fd)
        found = {link.name: link for link in netlink.links()}
        assert (found["br0"].kind, found["br0"].mac, found["br0"].up) == ("bridge", MAC, True)
        assert (found["veth0"].kind, found["veth0"].master, found["veth0"].mtu) == (
            "veth",
            bridge.index,
            1400,
        )
        assert nl.LinkAddress(bridge.index, IPv4Interface("10.1.0.1/24")) in netlink.addresses()
        assert nl.Route(IPv4Network("10.2.0.0/16"), bridge.index, nl.RT_TABLE_MAIN) in netlink.routes()
        return None

    within(place, make)
    peer = within(inner, lambda netlink: [link.mac for link in netlink.links() if link.name == "eth0"])
    assert peer == ["02:42:ac:11:00:02"]
    netns.delete(inner)


@needs_root
def test_the_first_request_that_failed_is_named(place: str) -> None:
    def act(netlink: nl.Netlink) -> None:
        netlink.batch(
            [
                nl.set_up("lo"),
                nl.set_up("nope"),
                nl.delete_link("gone"),
                link_kinds.add_bridge("br1", mac=MAC, mtu=1500),
            ]
        )

    with pytest.raises(nl.NetlinkError, match="set nope up: no such device") as refused:
        within(place, act)
    assert refused.value.errno == errno.ENODEV
    names = within(place, lambda netlink: [link.name for link in netlink.links()])
    assert names == ["lo", "br1"]  # those behind it were tried


@needs_root
def test_a_namespace_goes_with_its_pin(place: str) -> None:
    assert netns.is_pinned(place)
    netns.delete(place)
    netns.delete(place)
    assert not os.path.exists(place)
    with pytest.raises(FileNotFoundError):
        netns.open_pinned(place)


@needs_root
def test_a_plain_file_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="ioctl"):
        netns.open_pinned(str(tmp_path / "file"))
    assert not netns.is_pinned(str(tmp_path / "file"))


@needs_root
def test_a_callable_runs_inside_and_its_error_comes_out(place: str) -> None:
    assert netns.run_in(place, socket.if_nameindex) == [(1, "lo")]
    with pytest.raises(ZeroDivisionError):
        netns.run_in(place, lambda: 1 // 0)


@needs_root
def test_nft_does_all_or_nothing_and_says_why(place: str) -> None:
    def act() -> None:
        nft = Nft()
        nft.run("add table inet one")
        with pytest.raises(NftError, match="No such file or directory"):
            nft.run("add table inet two\nadd rule inet three four accept\n")
        with pytest.raises(NftError, match="syntax error"):
            nft.run("nonsense")
        tables = [entry["table"]["name"] for entry in nft.run("list tables") if "table" in entry]
        assert tables == ["one"]
        nft.close()

    netns.run_in(place, act)
