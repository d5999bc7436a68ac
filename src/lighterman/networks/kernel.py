"""The one thread that speaks to the kernel for this room.

It owns the netlink socket of the host's namespace and the libnftables context, and it may enter other
namespaces because nobody else uses it. One after the other costs nothing: links are made under one lock
of the kernel anyway (connecting one container takes 1.5 ms, 20 at once 30 ms).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lighterman.lib.effects import to_end
from lighterman.linux.netlink import Netlink
from lighterman.linux.nft import Nft

T = TypeVar("T")


class Kernel:
    """`netlink` and `nft` are touched only inside a `call`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="networks")
        self._slow_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="links")
        self.netlink = Netlink()
        self.nft = Nft()

    async def call(self, effect: Callable[[], T]) -> T:
        """The result of `effect`, run in the thread: it does not begin, is done, or has failed."""
        await asyncio.sleep(0)  # a pending cancellation strikes here, before the effect begins
        return await to_end(self._run(effect))

    def call_soon(self, effect: Callable[[], None]) -> None:
        """Queue an effect that nobody waits for; it tells its own failures."""
        self._thread.submit(effect)

    def slowly(self, effect: Callable[[Netlink], T]) -> "asyncio.Future[T]":
        """Begin an effect that waits for the kernel more than it works, in a thread of its own: the end of
        a bridge takes 35 ms, in which nobody has to stand still."""

        def run() -> T:
            with Netlink() as netlink:
                return effect(netlink)

        return asyncio.get_running_loop().run_in_executor(self._slow_thread, run)

    async def close(self) -> None:
        """Wait for what is queued, then let go."""
        await asyncio.get_running_loop().run_in_executor(None, self._slow_thread.shutdown)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self.netlink.close()
        self.nft.close()

    async def _run(self, effect: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, effect)
