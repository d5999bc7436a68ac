"""Rules for services in containers' namespaces: the effects of `balancing`, in the `Kernel`'s thread."""

import errno
import logging
import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface
from pathlib import Path

from msgspec import Struct, field

from lighterman.linux import netns
from lighterman.linux.conntrack import forget
from lighterman.linux.netlink import Netlink, add_route, add_rule
from lighterman.linux.nft import Nft, NftError
from lighterman.networks.balancing import (
    Member,
    MeshPort,
    Service,
    ingress_rules,
    return_mark,
    return_rules,
    service_rules,
    virtual,
)
from lighterman.networks.sandbox import Endpoint, Sandbox
from lighterman.networks.segments import DataPath

log = logging.getLogger(__name__)
INGRESS_SANDBOX = "ingress-sbox"
"""The id of the sandbox through which the routing mesh enters the ingress network, as dockerd calls it."""
_RULE_PRIORITY = 100
_FLOWS = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_ANYWHERE = IPv4Network("0.0.0.0/0")


class Picture(Struct, frozen=True):
    """An overlay network at a moment, as the swarm sees it: complete."""

    path: DataPath
    hosts: Mapping[str, str] = field(default_factory=dict)
    """The address of each end on another host -> that host."""
    services: tuple[Service, ...] = ()
    members: tuple[Member, ...] = ()
    nodes: tuple[str, ...] = ()
    """Only of the ingress network: the addresses that all nodes have in it."""


class _Written(Struct, frozen=True):
    """What the namespace of a sandbox was told last."""

    rules: str
    vips: Mapping[str, Sequence[str]]
    """The tasks behind each virtual address, or port of the mesh."""


class Balancer:
    """`pictures` by network id; whoever changes one calls `settle` for those who are in the network."""

    def __init__(self) -> None:
        self.pictures: dict[str, Picture] = {}
        self.mesh: tuple[MeshPort, ...] = ()
        self._written: dict[str, _Written] = {}
        self._aside = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="balancer"
        )  # what nobody waits for

    def settle(self, sandbox: Sandbox) -> None:
        """Bring the rules in the namespace up to date. Raises: OSError, NftError."""
        seen = [(end, self.pictures[end.network_id]) for end in sandbox.overlays if self._knows(end)]
        vips: dict[str, tuple[str, ...]] = {}
        for _end, picture in seen:
            vips |= virtual(picture.services)
        rules = service_rules(vips) + "".join(self._mesh_rules(sandbox, *each) for each in seen)
        if sandbox.id == INGRESS_SANDBOX:
            vips |= {f"{port.proto} {port.published}": port.tasks for port in self.mesh}
        before = self._written.get(sandbox.id)
        if not seen or (before is not None and before.rules == rules):
            return
        fd = netns.open_pinned(sandbox.key)
        try:
            with netns.inside(fd):
                self._run(rules)
                for end, picture in seen:
                    if picture.nodes:
                        _lead_through(end, picture, is_ingress=sandbox.id == INGRESS_SANDBOX)
        finally:
            os.close(fd)
        if before is not None and (gone := _gone(before.vips, vips)):
            self._aside.submit(_forget_flows, sandbox.key, gone)
        self._written[sandbox.id] = _Written(rules, vips)

    def settle_all(self, sandboxes: Iterable[Sandbox]) -> None:
        """`settle` each; one that ends meanwhile, or whose owner is at odds with us, keeps nobody back."""
        for sandbox in sandboxes:
            try:
                self.settle(sandbox)
            except (OSError, NftError) as error:
                log.warning("op=balance container=%s: %s", sandbox.id[:12], error)

    def forget(self, sandbox_id: str) -> None:
        """Its namespace is gone."""
        self._written.pop(sandbox_id, None)

    def close(self) -> None:
        """Wait for what is still to be let go of."""
        self._aside.shutdown()

    def _run(self, rules: str) -> None:
        """In the current namespace: takes a millisecond; letting go of what was replaced takes ten."""
        nft = Nft()
        try:
            nft.run(rules)
        finally:
            self._aside.submit(nft.close)

    def _knows(self, end: Endpoint) -> bool:
        return end.network_id in self.pictures

    def _mesh_rules(self, sandbox: Sandbox, end: Endpoint, picture: Picture) -> str:
        if not picture.nodes:
            return ""
        if sandbox.id == INGRESS_SANDBOX:
            return ingress_rules(self.mesh, end.interface)
        return return_rules(picture.nodes, end.interface, _subnet(end))


def _subnet(end: Endpoint) -> str:
    return str(ip_interface(f"{end.ipv4}/{end.ipv4_prefix}").network)


def _lead_through(end: Endpoint, picture: Picture, *, is_ingress: bool) -> None:
    """Let the current namespace forward into the mesh, or answer by the node that has forwarded."""
    conf = Path("/proc/sys/net/ipv4")
    if is_ingress:
        (conf / "ip_forward").write_text("1")
        return
    # clients from anywhere come in by this link: a strict filter would look for them at the way out
    (conf / f"conf/{end.interface}/rp_filter").write_text("2")
    index = socket.if_nametoindex(end.interface)
    with Netlink() as inner:
        for node in picture.nodes:
            mark = return_mark(node)
            route = add_route(_ANYWHERE, ip_address(node), index, table=mark)
            for request in (add_rule(mark, table=mark, priority=_RULE_PRIORITY), route):
                try:
                    inner.batch([request])
                except OSError as error:
                    if error.errno != errno.EEXIST:
                        raise


def _gone(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> set[str]:
    """The tasks that are behind no virtual address any more where they were."""
    return {task for vip, tasks in before.items() for task in set(tasks) - set(after.get(vip, ()))}


def _forget_flows(key: str, tasks: Collection[str]) -> None:
    """Who goes on sending datagrams would be led for ever to a task that is gone. Idempotent."""
    try:
        fd = netns.open_pinned(key)
    except OSError:  # the sandbox has gone, too
        return
    try:
        with netns.inside(fd):
            if _FLOWS.exists() and int(_FLOWS.read_text()):
                forget([IPv4Address(task) for task in tasks], socket.IPPROTO_UDP)
    except OSError as error:  # a kernel without nf_conntrack_netlink: flows end when their client pauses
        log.warning("op=forget-flows namespace=%s: %s", key, error)
    finally:
        os.close(fd)
