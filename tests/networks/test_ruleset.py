"""The texts of the nft table. That nft takes them and packets obey is for test_packets."""

from msgspec import structs

from lighterman.networks.ruleset import (
    BridgeRules,
    Publication,
    add_bridge,
    publish,
    whole_table,
    withdraw,
)
from lighterman.networks.sandbox import PublishedPort

PUBLICATION = Publication(
    "172.17.0.2",
    "",
    [
        PublishedPort(80, "tcp", "0.0.0.0", 8080),
        PublishedPort(80, "tcp", "::", 8080),
        PublishedPort(53, "udp", "127.0.0.1", 5353),
    ],
)


def test_a_port_is_an_element_and_of_ipv6_only_where_the_container_has_it() -> None:
    assert publish("lm", PUBLICATION) == (
        "add element inet lm publish_any { tcp . 8080 : 172.17.0.2 . 80 }\n"
        "add element inet lm publish_at { udp . 127.0.0.1 . 5353 : 172.17.0.2 . 53 }\n"
    )

    both = Publication("172.17.0.2", "fd00::2", [PublishedPort(80, "tcp", "::", 8080)])
    assert publish("lm", both) == "add element inet lm publish_any6 { tcp . 8080 : fd00::2 . 80 }\n"


def test_withdrawing_succeeds_whether_it_is_there_or_not() -> None:
    text = withdraw("lm", PUBLICATION)
    assert text.startswith(publish("lm", PUBLICATION))
    assert text.count("delete element") == 2


def test_a_network_with_an_address_of_its_own_for_what_leaves_it_is_told_so() -> None:
    bridge = BridgeRules(
        "br-1", ("10.1.0.0/24", "fd00::/64"), internal=False, icc=True, masquerade=True, source="192.0.2.7"
    )
    assert "add element inet lm snat_from { 10.1.0.0/24 : 192.0.2.7 }" in add_bridge("lm", bridge)
    silent = structs.replace(bridge, masquerade=False)
    assert "snat_from" not in add_bridge("lm", silent)


def test_without_ports_there_is_no_text() -> None:
    assert publish("lm", Publication("172.17.0.2", "", [])) == ""


def test_the_table_replaces_itself_and_names_nothing_else() -> None:
    bridges = [
        BridgeRules("docker0", ("172.17.0.0/16",), internal=False, icc=True, masquerade=True),
        BridgeRules("br-1", ("10.1.0.0/24",), internal=True, icc=False, masquerade=True),
        BridgeRules("br-2", ("10.2.0.0/24", "fd00:2::/64"), internal=False, icc=True, masquerade=False),
    ]
    text = whole_table("lm", bridges, [PUBLICATION])
    assert text.startswith("add table inet lm\ndelete table inet lm\ntable inet lm {")
    assert 'add element inet lm bridges { "docker0", "br-1", "br-2" }' in text
    assert 'add element inet lm internal { "br-1" }' in text
    assert 'add element inet lm within { "docker0" . "docker0", "br-2" . "br-2" }' in text
    assert "add element inet lm masquerade_from { 172.17.0.0/16 }" in text
    assert "add element inet lm subnets6 { fd00:2::/64 }" in text
    assert "publish_any { tcp . 8080 : 172.17.0.2 . 80 }" in text
    assert "flush ruleset" not in text
