"""Stopping."""

from lighterman.containers.state import Containers


async def stop(cs: Containers, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
    """Send the stop signal; after `timeout_s` SIGKILL (None: the container's own, -1: never).

    Raises: NoSuchContainer, StoppedAlready (304). Source: ContainerStop.
    """
    raise NotImplementedError
