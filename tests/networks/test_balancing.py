"""The texts of rules that stand in for services: pure."""

from lighterman.networks.balancing import (
    MeshPort,
    Service,
    ingress_rules,
    return_mark,
    return_rules,
    service_rules,
    virtual,
)


def test_each_virtual_address_has_a_chain_that_takes_its_tasks_in_turn() -> None:
    text = service_rules({"10.0.1.2": ("10.0.1.3", "10.0.1.4"), "10.0.1.5": ("10.0.1.6",)})
    assert "dnat to numgen inc mod 2 map { 0 : 10.0.1.3, 1 : 10.0.1.4 }" in text
    assert text.count("ip daddr vmap { 10.0.1.2 : goto to_0, 10.0.1.5 : goto to_1 }") == 2
    assert "reject" not in text


def test_an_address_without_tasks_refuses() -> None:
    text = service_rules({"10.0.1.2": ()})
    assert "ip daddr { 10.0.1.2 } meta l4proto tcp reject with tcp reset" in text
    assert "vmap" not in text


def test_without_services_there_is_no_table() -> None:
    assert service_rules({}) == "add table ip lighterman_services\ndelete table ip lighterman_services\n"


def test_only_services_with_an_address_are_virtual() -> None:
    services = [Service("web", "10.0.1.2", (), ("10.0.1.3",)), Service("db", "", (), ("10.0.1.4",))]
    assert virtual(services) == {"10.0.1.2": ("10.0.1.3",)}


def test_a_published_port_leads_to_the_port_of_a_task_and_hides_clients_of_datagrams_only() -> None:
    ports = [MeshPort("tcp", 8080, 80, ("10.0.0.5",)), MeshPort("udp", 53, 53), MeshPort("tcp", 1, 2)]
    text = ingress_rules(ports, "eth0")
    assert "meta l4proto tcp dnat ip to numgen inc mod 1 map { 0 : 10.0.0.5 . 80 }" in text
    assert 'iifname != "eth0" meta l4proto . th dport vmap { tcp . 8080 : goto to_0 }' in text
    assert 'oifname "eth0" meta l4proto != tcp masquerade' in text


def test_answers_are_marked_by_the_node_that_has_forwarded() -> None:
    text = return_rules(["10.0.0.3", "10.0.0.2"], "eth0", "10.0.0.0/24")
    assert "map { 02:42:0a:00:00:02 : 0x4c000002, 02:42:0a:00:00:03 : 0x4c000003 }" in text
    assert "ip saddr != 10.0.0.0/24" in text


def test_marks_of_nodes_in_one_network_differ() -> None:
    nodes = [f"10.0.{third}.{last}" for third in range(4) for last in range(1, 255)]
    assert len({return_mark(node) for node in nodes}) == len(nodes)
