"""Starting again."""

from lighterman.containers.state import Containers


async def restart(cs: Containers, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
    """Stop the container if it runs, then start it. Raises: as `stop` and `start`. Source: ContainerRestart."""
    raise NotImplementedError
