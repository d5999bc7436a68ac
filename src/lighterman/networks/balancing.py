"""Services of a swarm, as a container meets them: one address for many tasks. Pure.

A *virtual address* stands for the tasks of a service in one network. It is nobody's: rules in each
container's own namespace send a new connection to the next task in turn, so that there is no hop between,
tasks see who speaks to them, and a connection stays with its task. A virtual address behind which nobody is
refuses at once.

A *published port* of the routing mesh answers on every node. The host leads it into the ingress namespace
(`Overlays.open_ingress`), and rules there send it to the next task in turn, on whatever node that is. The
task sees the client's own address; for that its answer has to go back by the node where the client knocked. A
task knows that node by the MAC of the frames that came from there: it marks the connection, and a routing
table of its own for each mark leads the answers back. So it is for TCP. A server of datagrams answers from
whatever address leads to the client, unless it takes pains: there the node's own address stands for the
client.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address

from msgspec import Struct

from lighterman.networks.ipam import mac_of

SERVICES, INGRESS, RETURN = "lighterman_services", "lighterman_ingress", "lighterman_return"
"""Names of the nft tables."""
_RETURN_MARK = 0x4C000000


class Service(Struct, frozen=True):
    """What answers to a service's names in one network; `vip` "" where each task answers for itself."""

    name: str
    vip: str = ""
    aliases: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """Addresses of the tasks that take part."""


class Member(Struct, frozen=True):
    """Who else is in a network, by name: a task or a plain container, on whatever node."""

    name: str
    address: str
    aliases: tuple[str, ...] = ()


class MeshPort(Struct, frozen=True):
    """A port that every node answers on, and the ends that serve it."""

    proto: str
    published: int
    target: int
    tasks: tuple[str, ...] = ()


def virtual(services: Iterable[Service]) -> dict[str, tuple[str, ...]]:
    """Virtual address -> the tasks behind it."""
    return {service.vip: service.tasks for service in services if service.vip}


def service_rules(vips: Mapping[str, Sequence[str]]) -> str:
    """The table of a container's namespace, in place of the one that may be there."""
    if not vips:
        return _without(SERVICES)
    served = {vip: tasks for vip, tasks in sorted(vips.items()) if tasks}
    chains = "".join(
        f"  chain to_{at} {{\n    dnat to {_in_turn(tasks)}\n  }}\n"
        for at, tasks in enumerate(served.values())
    )
    jumps = ", ".join(f"{vip} : goto to_{at}" for at, vip in enumerate(served))
    choose = f"    ip daddr vmap {{ {jumps} }}\n" if served else ""
    nobody = ", ".join(vip for vip in sorted(vips) if not vips[vip])
    refuse = (
        f"    ip daddr {{ {nobody} }} meta l4proto tcp reject with tcp reset\n"
        f"    ip daddr {{ {nobody} }} reject with icmp port-unreachable\n"
        if nobody
        else ""
    )
    return (
        f"{_without(SERVICES)}table ip {SERVICES} {{\n{chains}"
        f"  chain output {{\n    type nat hook output priority -100; policy accept;\n{choose}  }}\n"
        f"  chain prerouting {{\n    type nat hook prerouting priority -100; policy accept;\n{choose}  }}\n"
        f"  chain nobody {{\n    type filter hook output priority 0; policy accept;\n{refuse}  }}\n}}\n"
    )


def ingress_rules(ports: Iterable[MeshPort], interface: str) -> str:
    """The table of the ingress namespace; `interface` is its link in the ingress network."""
    served = [port for port in ports if port.tasks]
    chains = "".join(
        f"  chain to_{at} {{\n    meta l4proto {port.proto} "
        f"dnat ip to {_in_turn([f'{task} . {port.target}' for task in port.tasks])}\n  }}\n"
        for at, port in enumerate(served)
    )
    jumps = ", ".join(f"{port.proto} . {port.published} : goto to_{at}" for at, port in enumerate(served))
    choose = f'    iifname != "{interface}" meta l4proto . th dport vmap {{ {jumps} }}\n' if served else ""
    return (
        f"{_without(INGRESS)}table ip {INGRESS} {{\n{chains}"
        f"  chain prerouting {{\n    type nat hook prerouting priority -100; policy accept;\n{choose}  }}\n"
        "  chain postrouting {\n    type nat hook postrouting priority 100; policy accept;\n"
        f'    oifname "{interface}" meta l4proto != tcp masquerade\n  }}\n'
        "  chain forward {\n    type filter hook forward priority 0; policy drop;\n"
        "    ct state established,related accept\n    ct status dnat accept\n  }\n}\n"
    )


def return_rules(nodes: Iterable[str], interface: str, subnet: str) -> str:
    """The table by which a task behind the routing mesh answers by the node that forwarded; `nodes` are their
    addresses in the ingress network."""
    marks = ", ".join(f"{mac_of(ip_address(node))} : {return_mark(node):#x}" for node in sorted(set(nodes)))
    arrive = (
        f'    iifname "{interface}" ip saddr != {subnet} ct state new '
        f"ct mark set ether saddr map {{ {marks} }}\n"
        if marks
        else ""
    )
    return (
        f"{_without(RETURN)}table ip {RETURN} {{\n"
        f"  chain arrive {{\n    type filter hook prerouting priority -150; policy accept;\n{arrive}  }}\n"
        "  chain answer {\n    type route hook output priority -150; policy accept;\n"
        "    ct direction reply ct mark != 0 meta mark set ct mark\n  }\n}\n"
    )


def return_mark(node: str) -> int:
    """The mark, and the routing table, of what came by the node of this address in the ingress network."""
    return _RETURN_MARK | int(IPv4Address(node)) & 0xFFFFFF


def _without(table: str) -> str:
    return f"add table ip {table}\ndelete table ip {table}\n"


def _in_turn(ends: Sequence[str]) -> str:
    choices = ", ".join(f"{at} : {end}" for at, end in enumerate(ends))
    return f"numgen inc mod {len(ends)} map {{ {choices} }}"
