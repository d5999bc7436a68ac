"""The watch over what is ours in the kernel: whoever else changes it, it is put back within a moment.

The nft table matters most: without it a container could speak to the host's loopback, because the bridges
have `route_localnet` for ports published there. A reload of another firewall, or `nft flush ruleset`, is
enough. A bridge or a container's link that somebody deletes would be missed until the next start.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from lighterman.linux.link_monitor import LinkMonitor
from lighterman.linux.nft import NftMonitor, own_thread
from lighterman.networks.firewall import Firewall
from lighterman.networks.kernel import Kernel

_PAUSE_S = 0.05  # a reload comes in several transactions


class Guard:
    """Watches from `start`, which belongs to the event loop, until `close`.

    `wanted` are the names of the links that there have to be; `mend` is told which of them have gone.
    """

    def __init__(
        self,
        kernel: Kernel,
        firewall: Firewall,
        table: str,
        *,
        wanted: Callable[[], set[str]],
        mend: Callable[[set[str]], None],
    ) -> None:
        self._kernel = kernel
        self._firewall = firewall
        self._table = table
        self._wanted = wanted
        self._mend = mend
        self._links = LinkMonitor()
        self._rules = NftMonitor() if firewall.is_there else None
        self._own_thread = 0
        self._healing: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to watch."""
        if self._rules is not None:
            self._own_thread = await self._kernel.call(partial(own_thread, self._kernel.nft))
            asyncio.get_running_loop().add_reader(self._rules.socket, self._hear_of_rules, self._rules)
        asyncio.get_running_loop().add_reader(self._links.socket, self._hear_of_links)

    def close(self) -> None:
        """Stop."""
        for monitor in (self._rules, self._links):
            if monitor is not None:
                asyncio.get_running_loop().remove_reader(monitor.socket)
                monitor.close()
        if self._healing is not None:
            self._healing.cancel()

    def _hear_of_rules(self, rules: NftMonitor) -> None:
        try:
            foreign = [tables for thread, tables in rules.changes() if thread != self._own_thread]
        except OSError:  # too much came to be told: look after it
            foreign = [frozenset([self._table])]
        if any(self._table in tables for tables in foreign) and self._healing is None:
            self._healing = asyncio.get_running_loop().call_later(_PAUSE_S, self._heal)

    def _hear_of_links(self) -> None:
        try:
            gone = self._links.gone()
        except OSError:  # too much came to be told: look after all of them
            gone = self._wanted()
        if gone and (missed := gone & self._wanted()):
            self._mend(missed)

    def _heal(self) -> None:
        self._healing = None
        self._kernel.call_soon(self._firewall.heal)
