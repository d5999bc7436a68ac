"""Networks of the swarm on this node: known and told of from above, and the entrance of the routing mesh.

Who calls this is the swarm's agent: it says which networks this node takes part in (`know`, `forget`), and
how each looks at the moment (`tell`). A network that is known is there for containers as any other, and stays
so over a start of the engine, before a manager has been heard.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from lighterman.networks.balancer import INGRESS_SANDBOX, Picture
from lighterman.networks.balancing import MeshPort
from lighterman.networks.builder import Builder
from lighterman.networks.catalog import Catalog
from lighterman.networks.kernel import Kernel
from lighterman.networks.names import Names
from lighterman.networks.plan import segment_of
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import EndpointWish, PortWish, SandboxWish
from lighterman.networks.sandboxes import Sandboxes

log = logging.getLogger(__name__)


class Overlays:
    """`record` writes a row, or forgets it, for the next start of the engine."""

    def __init__(
        self,
        kernel: Kernel,
        builder: Builder,
        catalog: Catalog,
        names: Names,
        sandboxes: Sandboxes,
        *,
        record: Callable[[NetworkRow], Awaitable[None]],
        erase: Callable[[str], Awaitable[None]],
    ) -> None:
        self._kernel = kernel
        self._builder = builder
        self._catalog = catalog
        self._names = names
        self._sandboxes = sandboxes
        self._record = record
        self._erase = erase

    @property
    def rows(self) -> list[NetworkRow]:
        """The networks of the swarm that are known here."""
        return self._catalog.overlays

    def knows(self, network_id: str) -> bool:
        """Whether containers can be in this one."""
        return network_id in self._builder.balancer.pictures

    async def know(self, row: NetworkRow) -> None:
        """Let a network of the swarm be there, as it is now; its link follows from its id."""
        if self._catalog.rows.get(row.id) == row:
            return
        self._catalog.rows.pop(row.id, None)
        self._catalog.add(row)
        await self._record(row)

    async def forget(self, network_id: str) -> bool:
        """Let it be gone; False while a container is in it. Raises: System."""
        row = self._catalog.rows.get(network_id)
        if row is None or row.driver != "overlay":
            return True
        if self._sandboxes.is_used(network_id):
            return False
        self._catalog.remove(network_id)
        self._names.tell(network_id, row.name, (), ())
        self._builder.balancer.pictures.pop(network_id, None)
        await self._erase(network_id)
        await self._kernel.call(partial(self._builder.remove_network, row))
        return True

    async def tell(self, network_id: str, picture: Picture, mesh: Sequence[MeshPort] = ()) -> None:
        """Know who is where in a network, and what they are called; `mesh` are the ports of the ingress
        network.

        Raises: System.
        """
        row = self._catalog.rows[network_id]
        if row.ingress:
            self._builder.balancer.mesh = tuple(mesh)
        self._builder.balancer.pictures[network_id] = picture
        self._names.tell(network_id, row.name, picture.services, picture.members)
        inside = [sandbox for sandbox in self._sandboxes.connected if sandbox.in_network(network_id)]
        await self._kernel.call(partial(self._builder.reach, segment_of(row), picture, inside))
        if row.ingress:
            await self._publish(mesh)

    # the routing mesh

    async def open_ingress(self, network_id: str, address: str) -> None:
        """Let this node be an entrance of the routing mesh, with its own `address` in the ingress network."""
        former = self._sandboxes.get(INGRESS_SANDBOX)
        if former is not None:
            end = former.in_network(network_id)
            if end is not None and end.ipv4 == address:
                return
            await self.close_ingress()
        wish = EndpointWish(network_id, ipv4=address)
        sandbox = self._sandboxes.reserve(
            SandboxWish(INGRESS_SANDBOX, "ingress-endpoint", endpoints=(wish,), managed=True)
        )
        await self._sandboxes.connect(sandbox)

    async def _publish(self, ports: Sequence[MeshPort]) -> None:
        """Answer on exactly these ports; one that is somebody else's on this host is left to him."""
        if self._sandboxes.get(INGRESS_SANDBOX) is None:
            return
        wishes = tuple(PortWish(each.published, each.proto, host_port_first=each.published) for each in ports)
        for error in await self._sandboxes.republish_what_can_be(INGRESS_SANDBOX, wishes):
            log.error("op=publish-service outcome=failed: %s", error)

    async def close_ingress(self) -> None:
        """Be no entrance any more; idempotent."""
        self._builder.balancer.mesh = ()
        await self._sandboxes.disconnect(INGRESS_SANDBOX)
