"""Sending signals."""

from lighterman.containers.state import Containers


async def kill(cs: Containers, ref: str, *, signal: str = "") -> None:
    """Send `signal` ("" is KILL). Raises: NoSuchContainer, NotRunning, InvalidParameter. Source: ContainerKill."""
    raise NotImplementedError
