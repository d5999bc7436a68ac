"""Overlay networks between two hosts, with real packets."""

import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.networks.hosts import box, datagrams, listening, reaches
from tests.networks.two_hosts import NETWORK_ID, Host, joined
from tests.support.waiting import until

from lighterman.lib import dns_message as dns
from lighterman.linux import netns
from lighterman.networks import EndpointWish, Member, MeshPort, Sandbox, Service

A, B, C, VIP = "10.9.0.11", "10.9.0.12", "10.9.0.13", "10.9.0.100"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    one, two = joined(tmp_path)
    yield one, two
    one.end()
    two.end()


def plugged(host: Host, name: str, address: str) -> Sandbox:
    return host.do(lambda networks: box(networks, name, EndpointWish(NETWORK_ID, ipv4=address)))


def pair(hosts: tuple[Host, Host]) -> tuple[Sandbox, Sandbox]:
    """A container on each host, in one network."""
    one, two = hosts
    one.know()
    two.know()
    a, b = plugged(one, "a", A), plugged(two, "b", B)
    one.tell({B: two.address}, members=(Member("b", B), Member("a", A)))
    two.tell({A: one.address}, members=(Member("b", B), Member("a", A)))
    return a, b


def asked(sandbox: Sandbox, name: str) -> list[str]:
    """What the name server in a sandbox answers."""
    sock = datagrams(sandbox.key)
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    sock.sendto(head + dns.encode_name(name) + struct.pack(">HH", dns.A, 1), ("127.0.0.11", 53))
    answer = sock.recv(4096)
    return sorted(socket.inet_ntoa(answer[at + 12 : at + 16]) for at in _records(answer))


def _records(answer: bytes) -> list[int]:
    return [at for at in range(len(answer) - 15) if answer[at : at + 6] == b"\xc0\x0c\x00\x01\x00\x01"]


def test_containers_on_two_hosts_reach_each_other(hosts: tuple[Host, Host]) -> None:
    a, b = pair(hosts)
    with listening(b.key, 80), listening(a.key, 81):
        assert reaches(a.key, B, 80, 2)
        assert reaches(b.key, A, 81, 2)


def test_an_overlay_reaches_nobody_that_it_was_not_told_of(hosts: tuple[Host, Host]) -> None:
    a, b = pair(hosts)
    hosts[0].tell({})
    with listening(b.key, 80):
        assert not reaches(a.key, B, 80)


def test_a_network_with_nobody_elsewhere_needs_no_tunnel(hosts: tuple[Host, Host]) -> None:
    one, _two = hosts
    one.know()
    other = "ip link add other type vxlan id 4097 dstport 4789 local 192.0.2.1"  # its number is taken
    subprocess.run(["nsenter", f"--net={one.netns}", *other.split()], check=True)
    a, b = plugged(one, "a", A), plugged(one, "b", B)
    one.tell({}, members=(Member("b", B),))
    with listening(b.key, 80):
        assert reaches(a.key, B, 80, 2)
    assert asked(a, "b") == [B]


def test_a_container_of_an_overlay_reaches_the_host_and_beyond(hosts: tuple[Host, Host]) -> None:
    a, _b = pair(hosts)
    with listening(str(hosts[1].netns), 82):
        assert reaches(a.key, hosts[1].address, 82, 2)


def test_what_an_engine_before_has_told_is_corrected_by_the_next(hosts: tuple[Host, Host]) -> None:
    a, b = pair(hosts)
    one, _two = hosts
    one.close()
    one.open({a.id: 1})
    with listening(b.key, 80):
        assert reaches(a.key, B, 80, 2), "nothing was interrupted"
        one.tell({})
        assert not reaches(a.key, B, 80)


def test_the_packets_of_an_overlay_leave_room_for_the_tunnel(hosts: tuple[Host, Host]) -> None:
    a, _b = pair(hosts)
    sock = datagrams(a.key)
    sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
    sock.sendto(bytes(1450 - 28), (B, 9))
    with pytest.raises(OSError, match="Message too long"):
        sock.sendto(bytes(1451 - 28), (B, 9))


def test_a_virtual_address_takes_the_tasks_in_turn(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    a, b = pair(hosts)
    c = plugged(two, "c", C)
    services = (Service("web", VIP, tasks=(B, C)),)
    one.tell({B: two.address, C: two.address}, services=services)
    with listening(b.key, 80) as at_b, listening(c.key, 80) as at_c:
        for _ in range(4):
            assert reaches(a.key, VIP, 80, 2)
        for listener in (at_b, at_c):
            for _ in range(2):
                _taken, (client, _port) = listener.accept()
                assert client == A, "the task sees who speaks to it"


def test_a_virtual_address_without_tasks_refuses_at_once(hosts: tuple[Host, Host]) -> None:
    a, _b = pair(hosts)
    hosts[0].tell({B: hosts[1].address}, services=(Service("web", VIP),))

    def dial() -> None:
        socket.create_connection((VIP, 80), timeout=2)

    with pytest.raises(ConnectionRefusedError):
        netns.run_in(a.key, dial)


def test_names_of_services_and_tasks_are_known_on_every_host(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    a, _b = pair(hosts)
    services = (Service("web", VIP, ("www",), (B, C)), Service("db", "", (), (B, C)))
    members = (Member("web.1.x", B), Member("plain", C, ("alias",)))
    one.tell({B: two.address}, services=services, members=members)
    assert asked(a, "web") == [VIP]
    assert asked(a, "www") == [VIP]
    assert asked(a, "tasks.web") == [B, C]
    assert asked(a, "db") == [B, C]
    assert asked(a, "web.net1") == [VIP]
    assert asked(a, "web.1.x") == [B]
    assert asked(a, "alias") == [C]


def mesh(hosts: tuple[Host, Host]) -> Sandbox:
    """A published port on both hosts, one task on the second."""
    one, two = hosts
    one.know(ingress=True, address="10.9.0.2")
    two.know(ingress=True, address="10.9.0.3")
    b = plugged(two, "b", B)
    publish(hosts, [MeshPort("tcp", 8080, 80, (B,))])
    return b


def publish(hosts: tuple[Host, Host], ports: list[MeshPort], more: Mapping[str, str] | None = None) -> None:
    """Tell both hosts of the ports; `more` is on the second."""
    one, two = hosts
    nodes = ("10.9.0.2", "10.9.0.3")
    one.tell({B: two.address, "10.9.0.3": two.address, **(more or {})}, ports, nodes=nodes)
    two.tell({"10.9.0.2": one.address}, ports, nodes=nodes)


def test_a_published_port_answers_on_every_host_and_the_task_sees_the_client(
    hosts: tuple[Host, Host],
) -> None:
    one, two = hosts
    b = mesh(hosts)
    client = str(one.root / "client")
    netns.create(client)
    with listening(b.key, 80) as at_b:
        assert reaches(str(two.netns), one.address, 8080, 2), "a neighbour, by the host without a task"
        assert at_b.accept()[1][0] == two.address
        assert reaches(str(one.netns), two.address, 8080, 2), "a neighbour, by the host with the task"
        assert at_b.accept()[1][0] == one.address
        for host in hosts:
            assert reaches(str(host.netns), "127.0.0.1", 8080, 2), "the host itself"
            assert reaches(str(host.netns), host.address, 8080, 2)


def test_datagrams_pass_the_mesh_both_ways_and_follow_to_another_task(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    b = mesh(hosts)
    c = plugged(two, "c", C)
    publish(hosts, [MeshPort("udp", 5353, 53, (B,))])
    client = datagrams(str(two.netns), two.address)
    with datagrams(b.key, "", 53) as at_b, datagrams(c.key, "", 53) as at_c:
        client.sendto(b"one", (one.address, 5353))
        data, sender = at_b.recvfrom(9)
        assert (data, sender[0]) == (b"one", "10.9.0.2"), "the address of the node that forwards"
        at_b.sendto(b"answer", sender)
        assert client.recvfrom(9) == (b"answer", (one.address, 5353))
        publish(hosts, [MeshPort("udp", 5353, 53, (C,))], {C: two.address})

        def arrives() -> bool:
            client.sendto(b"two", (one.address, 5353))
            at_c.settimeout(0.2)
            try:
                return at_c.recvfrom(9)[0] == b"two"
            except TimeoutError:
                return False

        until(arrives, what="the next task to get what the same client sends")


def test_the_mesh_survives_the_engine(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    b = mesh(hosts)
    with listening(b.key, 80):
        one.close()
        assert reaches(str(two.netns), one.address, 8080, 2)
        one.open({})
        assert reaches(str(two.netns), one.address, 8080, 2), "before a manager was heard"
        publish(hosts, [MeshPort("tcp", 8080, 80, (B,))])
        assert reaches(str(two.netns), one.address, 8080, 2)


def test_a_port_that_is_unpublished_is_free_again(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    b = mesh(hosts)
    publish(hosts, [MeshPort("tcp", 8081, 80, (B,))])
    with listening(b.key, 80), listening(str(one.netns), 8080):
        assert reaches(str(two.netns), one.address, 8081, 2)


def test_a_port_that_somebody_has_is_left_to_him(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    b = mesh(hosts)
    ports = [MeshPort("tcp", 8081, 80, (B,)), MeshPort("tcp", 8082, 80, (B,))]
    with listening(str(one.netns), 8081) as his, listening(b.key, 80):
        publish(hosts, ports)
        assert reaches(str(two.netns), one.address, 8081, 2)
        assert his.accept()
        assert reaches(str(two.netns), one.address, 8082, 2)


def test_a_network_is_forgotten_when_nobody_is_in_it(hosts: tuple[Host, Host]) -> None:
    one, _two = hosts
    a, _b = pair(hosts)
    assert not one.do(lambda networks: networks.overlays.forget(NETWORK_ID))
    one.do(lambda networks: networks.disconnect(a.id))
    until(lambda: one.do(lambda networks: networks.overlays.forget(NETWORK_ID)), what="forgotten")
    assert not netns.is_pinned(str(one.root / "overlay-netns"))
