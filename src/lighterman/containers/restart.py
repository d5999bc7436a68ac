"""Starting again."""

from lighterman.containers.errors import StoppedAlready
from lighterman.containers.start import start
from lighterman.containers.state import Containers
from lighterman.containers.stop import stop


async def restart(cs: Containers, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
    """Stop the container if it runs, then start it.

    Raises: as `stop` and `start`. Source: ContainerRestart; measured: the stop is told too.
    """
    container = cs.find(ref)
    live = cs.live(container.id)
    live.restarting = True
    try:
        await stop(cs, container.id, timeout_s=timeout_s, signal=signal)
    except StoppedAlready:
        pass
    finally:
        live.restarting = False
    await start(cs, container.id)
    cs.publish(container, "restart")
