"""Waiting."""

from collections.abc import Awaitable

from lighterman.apitypes.container import ContainerWaitResponse
from lighterman.containers.state import Containers


def wait(cs: Containers, ref: str, condition: str = "") -> Awaitable[ContainerWaitResponse]:
    """Watch from now on; the answer comes when awaited: "not-running", "next-exit" or "removed".

    Raises at once: NoSuchContainer. An unknown condition is "not-running". Source: ContainerWait.
    """
    raise NotImplementedError
