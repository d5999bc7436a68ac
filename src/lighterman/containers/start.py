"""Starting."""

from lighterman.containers.state import Containers


async def start(cs: Containers, ref: str) -> None:
    """Run the container's process.

    Raises: NoSuchContainer, RunsAlready (304), Conflict (paused), runtime.StartFailed.
    Source: ContainerStart; order of events as measured on dockerd 20.10.24.
    """
    raise NotImplementedError
