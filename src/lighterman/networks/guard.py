"""The watch over the nft table: whoever else changes it, it is put back within a moment.

It matters: without the table a container could speak to the host's loopback, because the bridges have
`route_localnet` for ports published there. A reload of another firewall, or `nft flush ruleset`, is enough.
"""

import asyncio
import threading

from lighterman.linux.nft import NftMonitor
from lighterman.networks.firewall import Firewall
from lighterman.networks.kernel import Kernel

_PAUSE_S = 0.05  # a reload comes in several transactions


class Guard:
    """Watches from `start`, which belongs to the event loop, until `close`."""

    def __init__(self, kernel: Kernel, firewall: Firewall, table: str) -> None:
        self._kernel = kernel
        self._firewall = firewall
        self._table = table
        self._monitor = NftMonitor()
        self._own_thread = 0
        self._healing: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to watch."""
        self._own_thread = await self._kernel.call(threading.get_native_id)
        asyncio.get_running_loop().add_reader(self._monitor.socket, self._hear)

    def close(self) -> None:
        """Stop."""
        asyncio.get_running_loop().remove_reader(self._monitor.socket)
        if self._healing is not None:
            self._healing.cancel()
        self._monitor.close()

    def _hear(self) -> None:
        try:
            foreign = [tables for thread, tables in self._monitor.changes() if thread != self._own_thread]
        except OSError:  # too much came to be told: look after it
            foreign = [frozenset([self._table])]
        if any(self._table in tables for tables in foreign) and self._healing is None:
            self._healing = asyncio.get_running_loop().call_later(_PAUSE_S, self._heal)

    def _heal(self) -> None:
        self._healing = None
        self._kernel.call_soon(self._firewall.heal)
