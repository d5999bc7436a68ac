"""Further processes."""

from collections.abc import Awaitable, Callable

from lighterman.apitypes.exec import ExecCreateBody, ExecCreateResponse, ExecInspectResponse, ExecStartBody
from lighterman.containers.state import Containers
from lighterman.runtime import Client


async def exec_create(cs: Containers, ref: str, body: ExecCreateBody) -> ExecCreateResponse:
    """Prepare a process. Raises: NoSuchContainer, NotRunning, Conflict, InvalidParameter. Source: ContainerExec."""
    raise NotImplementedError


async def exec_start(
    cs: Containers, exec_id: str, body: ExecStartBody, take: Callable[[], Awaitable[Client]]
) -> None:
    """Run it: detached, or on the stream that `take` gives.

    Raises (before the stream is taken): NoSuchExec, NotRunning, Conflict; detached also StartFailed.
    Source: ExecStart.
    """
    raise NotImplementedError


async def exec_resize(cs: Containers, exec_id: str, *, rows: int, columns: int) -> None:
    """Set the size of its terminal. Raises: NoSuchExec, System. Source: ExecResize."""
    raise NotImplementedError


def exec_inspect(cs: Containers, exec_id: str) -> ExecInspectResponse:
    """All about it. Raises: NoSuchExec. Source: ExecInspect."""
    raise NotImplementedError
