"""Places where a probe may do as it likes: what it made there is gone when it returns, however it returns.

Namespaces belong to threads, so each probe gets a thread of its own, which ends with the namespace. A process
that it starts is born into the namespace as well.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lighterman.linux import mount, netns

T = TypeVar("T")


def with_own_mounts(call: Callable[[], T], hidden: Sequence[Path] = ()) -> T:
    """The result of `call()` where its mounts are seen by nobody else, and `hidden` ones are not there.

    Raises: OSError (EPERM), and what `call` raises.
    """

    def run() -> T:
        mount.unshare_mounts()
        mount.make_private("/", recursive=True)
        for path in hidden:
            mount.umount(str(path), detach=True)
        return call()

    return _in_own_thread(run)


def with_own_network(call: Callable[[], T]) -> T:
    """The result of `call()` in a new network namespace. Raises: OSError (EPERM), and what `call` raises."""

    def run() -> T:
        fd = netns.new()
        try:
            netns.enter(fd)
        finally:
            os.close(fd)
        return call()

    return _in_own_thread(run)


def _in_own_thread(call: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()
