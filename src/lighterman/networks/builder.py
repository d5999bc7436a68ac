"""What is done for sandboxes and networks in the kernel's thread. All of it blocks for milliseconds.

Each method takes a sandbox from one state to another; the record of the state to come is written before the
first effect, so that a start after a crash finishes or undoes what was begun.
"""

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lighterman.errdefs import System
from lighterman.linux import netns
from lighterman.linux.netlink import Link
from lighterman.linux.nft import NftError
from lighterman.networks import links
from lighterman.networks.balancer import Balancer, Picture
from lighterman.networks.catalog import Catalog
from lighterman.networks.firewall import Firewall
from lighterman.networks.kernel import Kernel
from lighterman.networks.name_server import Ears, open_ears
from lighterman.networks.plan import (
    Ours,
    bridge_of,
    plug_of,
    plugs_of,
    publication_of,
    rules_of,
    shared_of,
    veth_name,
)
from lighterman.networks.records import Records
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import Endpoint, Sandbox
from lighterman.networks.segments import Segment, Segments

log = logging.getLogger(__name__)


class Builder:
    """The effects of one engine, whose links are `ours`. For the `Kernel`'s thread only."""

    def __init__(
        self,
        kernel: Kernel,
        firewall: Firewall,
        catalog: Catalog,
        *,
        exec_root: Path,
        ours: Ours,
        ip_forward: bool,
    ) -> None:
        self._netlink = kernel.netlink
        self._firewall = firewall
        self._catalog = catalog
        self._ours = ours
        self._ip_forward = ip_forward
        self.pins = exec_root / "netns"
        self.pins.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = Segments(kernel.netlink, exec_root / "overlay-netns")
        self.balancer = Balancer()
        self.records = Records(exec_root / "sandboxes")

    # sandboxes

    def build(self, sandbox: Sandbox) -> Ears | None:
        """Make the namespace, links, rules, and the sockets of its name server. Raises: System."""
        with domain(f"failed to set up the network of {sandbox.name}"):
            self.records.write(sandbox)
            ears = None
            if sandbox.key:
                plugs = self._plugs(sandbox)
                links.make_sandbox(self._netlink, self._segments, sandbox.key, plugs, sandbox.id_map)
                ears = self._settle(sandbox, fresh=True)
            try:
                self._firewall.publish(sandbox.id, publication_of(sandbox))
            except BaseException:
                if ears is not None:
                    ears.close()
                raise
            return ears

    def unbuild(self, sandbox: Sandbox) -> None:
        """Take all of it away; idempotent. Raises: System."""
        with domain(f"failed to take down the network of {sandbox.name}"):
            self._firewall.withdraw(sandbox.id)
            self.balancer.forget(sandbox.id)
            if sandbox.key:
                self._see_off(sandbox)
                links.remove_sandbox(sandbox.key)
            self.records.delete(sandbox.id)

    def _see_off(self, sandbox: Sandbox) -> None:
        """Give links that plugins lent back to the host."""
        try:
            links.see_off(sandbox.key, sandbox.endpoints)
        except OSError as error:  # it ends with the namespace
            log.warning("op=see-off container=%s: %s", sandbox.id[:12], error)

    def mac_of_link(self, name: str) -> str:
        """The MAC of a link of the host. Raises: System."""
        with domain("the plugin's link is not there"):
            return links.mac_of_link(self._netlink, name)

    def join(self, before: Sandbox, after: Sandbox, endpoint: Endpoint) -> Ears | None:
        """Plug in the `endpoint` that `after` has more; the sockets of a name server that is new.

        Raises: System; then `leave` takes it back.
        """
        with domain(f"failed to connect {after.name} to {endpoint.network_name}"):
            self.records.write(after)
            with _opened(after.key) as fd:
                if endpoint.has_link:
                    links.furnish(self._netlink, self._segments, fd, [self._plug(endpoint)])
                links.route(fd, _ways_out(after), _ways_out(before))
                self.balancer.settle(after)
                self._firewall.publish(after.id, publication_of(after))
                is_new = after.has_names and not before.has_names
                return open_ears(fd, fresh=False) if is_new else None

    def leave(self, before: Sandbox, after: Sandbox, endpoint: Endpoint) -> None:
        """Unplug the `endpoint` that `after` has no more; idempotent. Raises: System."""
        with domain(f"failed to disconnect {after.name} from {endpoint.network_name}"):
            self.records.write(after)
            self._firewall.publish(after.id, publication_of(after))
            if endpoint.has_link:
                links.unplug(self._netlink, after.key, self._plug(endpoint))
            with _opened(after.key) as fd:
                links.route(fd, _ways_out(after), _ways_out(before))

    def republish(self, sandbox: Sandbox) -> None:
        """Other ports. Raises: System."""
        with domain(f"failed to publish the ports of {sandbox.name}"):
            self.records.write(sandbox)
            self._firewall.publish(sandbox.id, publication_of(sandbox))

    def delete_links(self, names: Iterable[str]) -> None:
        """Delete veths that should have gone with their namespace."""
        links.remove_links(self._netlink, list(names))

    # networks

    def reach(self, segment: Segment, picture: Picture, inside: Sequence[Sandbox]) -> None:
        """Let those `inside` an overlay network reach the others. Raises: System."""
        with domain(f"failed to set up the tunnels of {segment.bridge}"):
            self._segments.reach(segment, picture.path, picture.hosts)
        self.balancer.settle_all(inside)

    def add_network(self, row: NetworkRow) -> None:
        """Make its bridge or the link it stands on, and its rules. Raises: System."""
        with domain(f"failed to create network {row.name}"):
            if row.driver == "bridge":
                self._forward([row])
                links.repair_bridges(self._netlink, [bridge_of(row, self._ours)])
                self._firewall.add_bridge(rules_of(row))
            elif row.has_link:
                links.try_shared(self._netlink, shared_of(row, self._ours))

    def remove_network(self, row: NetworkRow) -> None:
        """The undo of `add_network`; idempotent. Raises: System."""
        self.close_network(row)
        if row.own_link:
            with domain(f"failed to remove network {row.name}"):
                links.remove_links(self._netlink, [row.link])

    def close_network(self, row: NetworkRow) -> None:
        """The same, but that a link of ours stays, without a route to it; idempotent. Raises: System."""
        with domain(f"failed to remove network {row.name}"):
            if row.driver == "overlay":
                self._segments.remove(row.link)
                self._segments.sweep([each.link for each in self._catalog.overlays])
            if row.driver == "bridge":
                self._firewall.remove_bridge(row.link)
            if row.own_link:
                links.take_down(self._netlink, row.link)

    def mend(self, connected: Sequence[Sandbox], gone: Collection[str]) -> None:
        """Make links again that somebody deleted: bridges with their ports, and containers' own. Says so; so
        too if it fails."""
        shown = ", ".join(sorted(gone))
        try:
            links.repair_bridges(self._netlink, self._bridges())
            on_host = {link.name: link for link in self._netlink.links()}
            for sandbox in connected:
                plugs = self._plugs(sandbox)
                lost = [plug for plug in plugs if plug.veth in gone and plug.veth not in on_host]
                if lost:
                    with _opened(sandbox.key) as fd:
                        links.furnish(self._netlink, self._segments, fd, lost)
                        links.route(fd, _ways_out(sandbox), missing_only=True)
                links.plug_again(self._netlink, plugs, on_host)
            log.warning("op=mend links were deleted by others, they are as they were: %s", shown)
        except OSError as error:
            log.error("op=mend links were deleted by others and stay so: %s: %s", shown, error)

    # the start

    def restore(self, remembered: Mapping[str, Sandbox], running: Mapping[str, int]) -> dict[str, Ears]:
        """Make the kernel what rows and records say; name servers' sockets by the id of the sandbox.

        Raises: System.
        """
        kept = [sandbox for sandbox in remembered.values() if sandbox.id in running]
        bridges = self._catalog.bridges
        ears: dict[str, Ears] = {}
        with domain("failed to set up bridges and rules"):
            self._forward(bridges)
            links.repair_bridges(self._netlink, self._bridges())
            on_host = {link.name: link for link in self._netlink.links()}
            for sandbox in kept:
                found = self._repair(sandbox, running[sandbox.id], on_host)
                if found is not None:
                    ears[sandbox.id] = found
            self._firewall.replace(
                [rules_of(row) for row in bridges],
                {sandbox.id: publication_of(sandbox) for sandbox in kept if sandbox.ports},
            )
            self._firewall.warn_of_others()
            self._sweep(remembered, kept)
        return ears

    def _sweep(self, remembered: Mapping[str, Sandbox], kept: Sequence[Sandbox]) -> None:
        """Take away what is ours and nobody's: pins, records, links."""
        keys = {sandbox.key for sandbox in kept}
        for sandbox in remembered.values():
            if sandbox.key not in keys:
                self._see_off(sandbox)
        for pin in self.pins.iterdir():
            if str(pin) not in keys:
                links.remove_sandbox(str(pin))
        for sandbox_id in remembered.keys() - {sandbox.id for sandbox in kept}:
            self.records.delete(sandbox_id)
        bridges = self._catalog.bridges
        names = {veth_name(self._ours.veth_prefix, end) for sandbox in kept for end in sandbox.endpoints}
        found = links.our_veths(self._netlink, self._ours.veth_prefix, [row.link for row in bridges])
        wanted = {row.link for row in self._catalog.rows.values()}
        orphans = links.our_links(self._netlink, self._ours.owner) - wanted
        links.remove_links(self._netlink, (found - names) | orphans)
        self._segments.sweep([row.link for row in self._catalog.overlays])

    def _repair(self, sandbox: Sandbox, pid: int, on_host: Mapping[str, Link]) -> Ears | None:
        if not sandbox.key:
            return None
        try:
            plugs = self._plugs(sandbox)
            links.repair_sandbox(self._netlink, self._segments, sandbox.key, pid, plugs, on_host)
            return self._settle(sandbox, fresh=False)
        except (OSError, NftError) as error:
            log.error("op=repair-network container=%s: %s", sandbox.id[:12], error)
            return None

    def _settle(self, sandbox: Sandbox, *, fresh: bool) -> Ears | None:
        """Routes and name server of a namespace whose links are there."""
        ways_out = _ways_out(sandbox)
        self.balancer.settle(sandbox)
        if ways_out == (None, None) and not sandbox.has_names:
            return None
        with _opened(sandbox.key) as fd:
            links.route(fd, ways_out, missing_only=not fresh)
            return open_ears(fd, fresh=fresh) if sandbox.has_names else None

    def is_pinned(self, sandbox: Sandbox) -> bool:
        """Whether its namespace is there, with or without a process in it."""
        return netns.is_pinned(sandbox.key)

    def close(self) -> None:
        """Let go of the namespace of overlay networks, which stays."""
        self._segments.close()
        self.balancer.close()

    def _forward(self, rows: Iterable[NetworkRow]) -> None:
        if self._ip_forward and any(row.ipv6 for row in rows) and links.enable_ipv6_forwarding():
            log.info("op=enable-forwarding net.ipv6.conf.all.forwarding was 0, is 1: networks need it")

    def _bridges(self) -> list[links.Bridge]:
        return [bridge_of(row, self._ours) for row in self._catalog.bridges]

    def _plugs(self, sandbox: Sandbox) -> list[links.Plug]:
        return plugs_of(sandbox, self._catalog.rows, self._ours)

    def _plug(self, endpoint: Endpoint) -> links.Plug:
        return plug_of(endpoint, self._catalog.rows[endpoint.network_id], self._ours)


def _ways_out(sandbox: Sandbox) -> links.WaysOut:
    return sandbox.way_out(4), sandbox.way_out(6)


@contextmanager
def _opened(key: str) -> Iterator[int]:
    fd = netns.open_pinned(key)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def domain(what: str) -> Iterator[None]:
    """What the kernel or nft refuse in the block becomes an error of this room."""
    try:
        yield
    except (OSError, NftError) as error:
        raise System(f"{what}: {error}") from error
