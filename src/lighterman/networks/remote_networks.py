"""The networks of plugins: made by them, taken back by them, and remembered while they are at it.

A network that is *unfinished* is in nobody's catalog: plugins are making it, or taking it back. Its row is
written before they are asked and says so, with the subnets that were given so far; the next start takes back
what an engine that was killed has left of it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import structs

from lighterman.db import Database, Rows
from lighterman.errdefs import EngineError
from lighterman.lib.background import Background
from lighterman.networks import remote_words as words
from lighterman.networks.create import NetworkPlan, idle_pools
from lighterman.networks.drivers import Drivers
from lighterman.networks.errors import NeedsSwarm
from lighterman.networks.ipam import Subnet
from lighterman.networks.remote_pools import heard, release_pools, request_pools
from lighterman.networks.row import NetworkRow, Pool
from lighterman.plugins.errors import REFUSED, NoAnswer
from lighterman.plugins.interfaces import IpamDriver

log = logging.getLogger(__name__)
_ROWS: Rows[NetworkRow] = Rows("networks", NetworkRow)


class RemoteNetworks:
    """`unfinished` are the last engine's. `ipam` finds a driver of addresses by its name; `forget` gives up
    all that was given to endpoints in a network."""

    def __init__(
        self,
        drivers: Drivers,
        db: Database,
        background: Background,
        *,
        unfinished: Iterable[NetworkRow],
        ipam: Callable[[str], Awaitable[IpamDriver]],
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        self._drivers = drivers
        self._db = db
        self._background = background
        self._ipam = ipam
        self._forget = forget
        self._unfinished = {row.id: row for row in unfinished}
        self._unmade: set[str] = set()  # of these, the networks that their plugin has not made
        self._silent: set[str] = set()  # and those whose plugin does not answer

    def begin(self) -> None:
        """At the start: take back what is unfinished, behind the scenes."""
        for network_id in [*self._unfinished]:
            self._background.start(self.unmake, network_id)

    async def check(self, row: NetworkRow) -> None:
        """See whether a new network's plugins are there. Raises: NotFound, Conflict, Unavailable, System."""
        if row.is_remote:
            driver = await self._drivers.network_driver(row.driver)
            if await driver.scope() == "global":
                raise NeedsSwarm
        if row.has_remote_addresses:
            await self._drivers.ipam_driver(row.ipam_driver)

    async def with_pools(self, plan: NetworkPlan, taken: Sequence[Subnet]) -> NetworkRow:
        """The planned network with the subnets that its plugin gives; on failure `unmake` returns them.

        Raises: Forbidden, InvalidParameter, System.
        """

        async def note(pools: tuple[Pool, ...]) -> None:
            await self._note(structs.replace(plan.row, pools=pools))

        self._unmade.add(plan.row.id)
        await note(())
        driver = await self._ipam(plan.row.ipam_driver)
        with self._later_if_silent(plan.row.id):
            await request_pools(driver, plan, taken=taken, note=note)
        row = self._unfinished[plan.row.id]
        return structs.replace(row, idle_pools=idle_pools(plan), unfinished=False)

    async def make(self, row: NetworkRow) -> None:
        """Let the plugin make its network; on failure `unmake` takes it back. Raises: System."""
        self._unmade.add(row.id)
        await self._note(row)
        if row.is_remote:
            with self._later_if_silent(row.id):
                await self._create_network(row)

    async def _create_network(self, row: NetworkRow) -> None:
        space = "null" if row.ipam_driver == "null" else "LocalDefault"
        if row.has_remote_addresses:
            space, _ = await (await self._ipam(row.ipam_driver)).default_address_spaces()
        driver = await self._drivers.network_driver(row.driver)
        four, six = (words.ipam_data(row.pools, space, version) for version in (4, 6))
        self._unmade.discard(row.id)
        try:
            await driver.create_network(row.id, words.network_options(row), four, six)
        except REFUSED:
            self._unmade.add(row.id)
            raise

    @contextmanager
    def _later_if_silent(self, network_id: str) -> Iterator[None]:
        """Nobody who has waited for a plugin in vain waits for it once more, to see it take back the rest."""
        try:
            yield
        except NoAnswer:
            self._silent.add(network_id)
            raise

    def made(self, row: NetworkRow) -> None:
        """The network is recorded as any other."""
        self._unmade.discard(row.id)
        self._unfinished.pop(row.id, None)

    async def take_back(self, row: NetworkRow) -> None:
        """Let plugins take back a network that was removed; its row says already that it goes."""
        self._unfinished[row.id] = row
        await self.unmake(row.id)

    async def unmake(self, network_id: str) -> None:
        """Let plugins take a network back; what they say to it is told in the log. It is forgotten when they
        have heard of it."""
        row = self._unfinished.get(network_id)
        if row is None:
            return
        if network_id in self._silent:
            self._silent.discard(network_id)
            self._background.start(self.unmake, network_id)
            return
        await self._forget(network_id)
        try:
            if row.has_remote_addresses:
                await release_pools(await self._drivers.ipam_driver(row.ipam_driver), row)
            if row.is_remote and row.id not in self._unmade:
                driver = await self._drivers.network_driver(row.driver)
                await heard(driver.delete_network(row.id), "DeleteNetwork", row)
        except EngineError as error:
            log.error("op=remove network=%s driver=%s: %s; it is told again", row.name, row.driver, error)
            return
        self._unmade.discard(row.id)
        await self._db.write(_ROWS.delete(row.id))
        self._unfinished.pop(row.id, None)

    async def _note(self, row: NetworkRow) -> None:
        self._unfinished[row.id] = row = structs.replace(row, unfinished=True)
        await self._db.write(_ROWS.put(row.id, row))
