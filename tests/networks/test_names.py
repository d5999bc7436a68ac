"""Who is called what in which network, and what a name server says of it."""

import struct
from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from lighterman.lib import dns_message as dns
from lighterman.networks.name_server import respond
from lighterman.networks.names import Names
from lighterman.networks.sandbox import Endpoint, Sandbox
from lighterman.networks.upstream import Upstream, upstreams


def end(network: str, address: str, *aliases: str, ipv6: str = "", gateway: str = "") -> Endpoint:
    return Endpoint(
        id=address * 8,
        network_id=f"id of {network}",
        network_name=network,
        ipv4=address,
        ipv4_prefix=24,
        ipv6=ipv6,
        ipv6_prefix=64,
        gateway=gateway,
        aliases=aliases,
        has_names=True,
    )


def box(name: str, *ends: Endpoint) -> Sandbox:
    return Sandbox(f"id of {name}", name, "/key", ends)


def known(*sandboxes: Sandbox) -> Names:
    names = Names()
    for sandbox in sandboxes:
        for endpoint in sandbox.endpoints:
            names.add(sandbox, endpoint)
    return names


WEB = box("web", end("back", "10.0.0.2", "w"))
DB = box("db", end("back", "10.0.0.3", "store", ipv6="fd00::3"))


def found(names: Names, sandbox: Sandbox, name: str) -> list[str] | None:
    addresses = names.addresses(sandbox, name)
    return None if addresses is None else [str(address) for address in addresses]


def test_a_name_an_alias_and_both_with_the_network_are_known() -> None:
    names = known(WEB, DB)
    for name in ("web", "w", "web.back", "w.back"):
        assert found(names, DB, name) == ["10.0.0.2"]
    assert found(names, DB, "web.front") is None


def test_a_name_is_known_in_its_network_alone() -> None:
    assert found(known(WEB, DB), box("x", end("front", "10.0.1.2")), "web") is None


def test_what_is_removed_is_not_known_and_removing_twice_is_no_failure() -> None:
    names = known(WEB, DB)
    for _ in range(2):
        names.remove(DB, DB.endpoints[0])
    assert found(names, WEB, "db") is None
    assert names.name_of(WEB, ip_address("10.0.0.3")) is None
    assert found(names, WEB, "web") == ["10.0.0.2"]


def test_several_of_one_name_take_turns() -> None:
    names = known(WEB, *(box(f"n{each}", end("back", f"10.0.0.{each}", "pool")) for each in (5, 6, 7)))
    answers = [found(names, WEB, "pool") for _ in range(3)]
    assert sorted(answer[0] for answer in answers if answer) == ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
    assert all(answer is not None and len(answer) == 3 for answer in answers)


def test_the_network_with_the_way_out_is_asked_first() -> None:
    both = box("both", end("a", "10.0.1.9"), end("b", "10.0.2.9", gateway="10.0.2.1"))
    names = known(both, box("db", end("a", "10.0.1.3")), box("db", end("b", "10.0.2.3")))
    assert found(names, both, "db") == ["10.0.2.3"]


def test_a_link_is_a_name_of_one_sandbox() -> None:
    linked = box("one", replace(end("back", "10.0.0.9"), links={"s": "db"}))
    names = known(DB, linked)
    assert found(names, linked, "s") == ["10.0.0.3", "fd00::3"] or found(names, linked, "s")
    assert found(names, DB, "s") is None


def query(name: str, kind: int) -> dns.Query:
    head = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    return dns.parse_query(head + dns.encode_name(name) + struct.pack("!HH", kind, dns.IN))


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("db", dns.A, [(dns.A, ip_address("10.0.0.3").packed)]),
        ("db", dns.AAAA, [(dns.AAAA, ip_address("fd00::3").packed)]),
        ("web", dns.AAAA, []),  # it is there and has none: nobody else is to be asked
        ("db", 33, []),
        ("nobody", dns.A, None),
        ("3.0.0.10.in-addr.arpa", dns.PTR, [(dns.PTR, dns.encode_name("db.back"))]),
        ("9.0.0.10.in-addr.arpa", dns.PTR, dns.NO_SUCH_NAME),  # ours, and nobody has it
        ("9.9.9.9.in-addr.arpa", dns.PTR, None),
    ],
)
def test_what_is_known_here_is_told_and_the_rest_is_left_to_others(
    name: str, kind: int, told: object
) -> None:
    assert respond(query(name, kind), known(WEB, DB), WEB) == told


@pytest.mark.parametrize(
    ("wished", "host", "asked"),
    [
        ((), "nameserver 192.0.2.1\nnameserver 127.0.0.53\n", [("192.0.2.1", False), ("127.0.0.53", True)]),
        (("127.0.0.1", "9.9.9.9"), "nameserver 192.0.2.1\n", [("127.0.0.1", False), ("9.9.9.9", False)]),
        ((), "", [("8.8.8.8", False), ("8.8.4.4", False)]),
    ],
)
def test_the_servers_of_the_host_are_asked_unless_others_are_wished(
    wished: tuple[str, ...], host: str, asked: list[tuple[str, bool]]
) -> None:
    assert upstreams(wished, host) == tuple(Upstream(*each) for each in asked)
