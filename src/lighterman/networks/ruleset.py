"""The nft table: texts only, pure.

The chains never change. A bridge, a subnet or a published port is an element of a set or map, so that
publishing costs 0.1 ms and the whole table is one text that can replace itself in one transaction.

What the chains do, in the order a packet meets them:
- `martians`: nothing from another link speaks to or as 127.0.0.0/8. The bridges need `route_localnet`
  for ports on loopback; this is what keeps containers and neighbours away from the host's loopback.
- `prerouting`, `output` -> `publish`: what is meant for an address of this host is sent to the container
  that published the port, by exact address first, then by any address.
- `forward`: between bridges nothing passes but answers and published ports. `within` are the bridges
  whose containers may speak to each other: with br_netfilter their frames come by here too.
- `postrouting`: what leaves to the world takes an address of the host, that of a network's own if it has
  one; what came from the host's loopback or
  back to its own network takes the bridge's, so that the answer comes back this way.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lighterman.networks.sandbox import PublishedPort

_ANY = ("0.0.0.0", "::")
_FORWARDING = "type filter hook forward priority 0; policy accept;"
_CHAINS = """
  chain martians {
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname != "lo" ip saddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local goto publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local goto publish
  }
  chain publish {
    meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . ip daddr . th dport map @publish_at
    meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @publish_any
    ip6 daddr ::1 return
    meta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . ip6 daddr . th dport map @publish_at6
    meta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . th dport map @publish_any6
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname != @bridges oifname != @bridges accept
    ct state established,related accept
    iifname . oifname @within accept
    iifname @internal drop
    oifname @internal drop
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    oifname != @bridges snat ip to ip saddr map @snat_from
    ip saddr @masquerade_from oifname != @bridges masquerade
    ip6 saddr @masquerade_from6 oifname != @bridges masquerade
    ip saddr 127.0.0.0/8 oifname @bridges masquerade
    ct status dnat ip saddr @subnets ip daddr @subnets masquerade
    ct status dnat ip6 saddr @subnets6 ip6 daddr @subnets6 masquerade
  }
"""
_SETS = """\
  set bridges { type ifname; }
  set internal { type ifname; }
  set within { type ifname . ifname; }
  set subnets { type ipv4_addr; flags interval; }
  set subnets6 { type ipv6_addr; flags interval; }
  set masquerade_from { type ipv4_addr; flags interval; }
  map snat_from { type ipv4_addr : ipv4_addr; flags interval; }
  set masquerade_from6 { type ipv6_addr; flags interval; }
  map publish_at { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
  map publish_any { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map publish_at6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }
  map publish_any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
"""


class BridgeRules(Struct, frozen=True):
    """A bridge as the table sees it."""

    name: str
    subnets: Sequence[str]
    internal: bool
    icc: bool
    masquerade: bool
    source: str = ""  # the address of the host that IPv4 takes then; "" is that of the link it leaves by

    def without_ipv6(self) -> "BridgeRules":
        """The same for a table that does not look at IPv6."""
        return replace(self, subnets=[subnet for subnet in self.subnets if ":" not in subnet])


class Publication(Struct, frozen=True):
    """The ports that lead to one container, by its addresses; "" where it has none that leads outside."""

    ipv4: str
    ipv6: str
    ports: Sequence[PublishedPort]


def whole_table(
    table: str, bridges: Iterable[BridgeRules], publications: Iterable[Publication], *, ipv6: bool = True
) -> str:
    """The text that makes the table, in place of one that may be there, in one transaction; without `ipv6`
    one that forwards all of it."""
    chains = _CHAINS if ipv6 else _CHAINS.replace(_FORWARDING, f"{_FORWARDING}\n    meta nfproto ipv6 accept")
    elements = [_bridges("add", table, bridges), *(publish(table, each) for each in publications)]
    return (
        f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n"
        f"{_SETS}{chains}}}\n" + "".join(elements)
    )


def add_bridge(table: str, bridge: BridgeRules) -> str:
    """The text that adds a bridge."""
    return _bridges("add", table, [bridge])


def remove_bridge(table: str, bridge: BridgeRules) -> str:
    """The text that takes it away, whether it is there or not."""
    return _bridges("add", table, [bridge]) + _bridges("delete", table, [bridge])


def publish(table: str, publication: Publication) -> str:
    """The text that adds the ports of one container; "" when there is none."""
    return _ports("add", table, publication)


def withdraw(table: str, publication: Publication) -> str:
    """The text that takes them away, whether they are there or not; "" when there is none."""
    # nft 1.0.6 has no `destroy`: to add first makes the deletion succeed always
    return _ports("add", table, publication) + _ports("delete", table, publication)


def _bridges(verb: str, table: str, bridges: Iterable[BridgeRules]) -> str:
    bridges = list(bridges)
    texts = [
        _elements(verb, table, "bridges", (f'"{bridge.name}"' for bridge in bridges)),
        _elements(verb, table, "internal", (f'"{bridge.name}"' for bridge in bridges if bridge.internal)),
        _elements(verb, table, "within", (f'"{b.name}" . "{b.name}"' for b in bridges if b.icc)),
    ]
    masquerading = [bridge for bridge in bridges if bridge.masquerade and not bridge.internal]
    sources = [
        f"{subnet} : {bridge.source}"
        for bridge in masquerading
        for subnet in bridge.subnets
        if bridge.source and ":" not in subnet
    ]
    texts.append(_elements(verb, table, "snat_from", sources))
    for name, chosen in (("subnets", bridges), ("masquerade_from", masquerading)):
        subnets = [subnet for bridge in chosen for subnet in bridge.subnets]
        texts.append(_elements(verb, table, name, (each for each in subnets if ":" not in each)))
        texts.append(_elements(verb, table, f"{name}6", (each for each in subnets if ":" in each)))
    return "".join(texts)


def _ports(verb: str, table: str, publication: Publication) -> str:
    texts = []
    for to, suffix in ((publication.ipv4, ""), (publication.ipv6, "6")):
        ours = [port for port in publication.ports if to and (":" in port.host_ip) == (":" in to)]
        anywhere = (
            f"{port.proto} . {port.host_port} : {to} . {port.container_port}"
            for port in ours
            if port.host_ip in _ANY
        )
        somewhere = (
            f"{port.proto} . {port.host_ip} . {port.host_port} : {to} . {port.container_port}"
            for port in ours
            if port.host_ip not in _ANY
        )
        texts.append(_elements(verb, table, f"publish_any{suffix}", anywhere))
        texts.append(_elements(verb, table, f"publish_at{suffix}", somewhere))
    return "".join(texts)


def _elements(verb: str, table: str, name: str, elements: Iterable[str]) -> str:
    texts = list(elements)
    return f"{verb} element inet {table} {name} {{ {', '.join(texts)} }}\n" if texts else ""
