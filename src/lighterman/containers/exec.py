"""Further processes in a running container."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from lighterman.apitypes.exec import (
    ExecCreateBody,
    ExecCreateResponse,
    ExecInspectResponse,
    ExecStartBody,
)
from lighterman.containers.attach import send
from lighterman.containers.create import new_id
from lighterman.containers.errors import NoSuchExec, NotRunning
from lighterman.containers.execs import Exec, ExecEnded, ExecRunning, Prepared, view
from lighterman.containers.life import Paused, Restarting
from lighterman.containers.networking import link_variables
from lighterman.containers.plan_create import check_console_size
from lighterman.containers.process import further_process
from lighterman.containers.rootfs import find_user
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict, EngineError, InvalidParameter
from lighterman.lib import detach_keys
from lighterman.lib.effects import in_thread
from lighterman.lib.frames import STDOUT, frame
from lighterman.oci import spec as oci
from lighterman.runtime import AttachTo, Client, ProcessGone, ProcessIO

TOLD_IN_S = 2.0
"""How long the news of an end may take, once the process is gone."""

NOT_STARTED = 126
"""The exit code of an exec that could not be started. Source: measured, for a missing program too."""


async def exec_create(
    cs: Containers, ref: str, body: ExecCreateBody, *, exec_id: str = ""
) -> ExecCreateResponse:
    """Prepare a process; `exec_id` is its id when it must not be one of chance.

    Raises: NoSuchContainer, NotRunning, Conflict, InvalidParameter. Source: ContainerExec.
    """
    if not body.cmd:
        raise InvalidParameter("No exec command specified")
    container = cs.find(ref)
    _check_runs(container, ref)
    if body.detach_keys:
        _check_keys(body.detach_keys)
    for variable in body.env or ():
        if not variable.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {variable}")
    if body.working_dir and not body.working_dir.startswith("/"):
        raise InvalidParameter(f"the working directory '{body.working_dir}' needs to be an absolute path")
    check_console_size(body.console_size or (0, 0))
    one = Exec(id=exec_id or new_id(), container_id=container.id, wish=body)
    cs.execs[one.id] = one
    cs.runtime.expect()  # clients start it at once
    cs.publish(container, f"exec_create: {one.command}", execID=one.id)
    return ExecCreateResponse(one.id)


async def exec_start(
    cs: Containers, exec_id: str, body: ExecStartBody, take: Callable[[], Awaitable[Client]]
) -> None:
    """Run it: detached, or on the stream that `take` gives.

    Raises (before the stream is taken): NoSuchExec, NotRunning, Conflict, InvalidParameter; detached also
    StartFailed, which is told on the stream otherwise. Source: ExecStart.
    """
    one = _find(cs, exec_id)
    container = cs.find(one.container_id)
    _check_startable(one, container)
    check_console_size(body.console_size or (0, 0))
    cs.runtime.expect()
    size = body.console_size or one.wish.console_size
    process = await _process(cs, container, one.wish)
    if one.life != Prepared() or one is not cs.execs.get(exec_id):
        raise Conflict(f"Error: Exec command {exec_id} is already running")
    cs.execs[exec_id] = replace(one, life=ExecRunning(0))  # nobody else may start it now
    client = None
    try:
        client = None if body.detach else await _taken(take)
        cs.publish(container, f"exec_start: {one.command}", execID=exec_id)
        await _run(cs, one, process, client, size)
    except BaseException as error:
        cs.end_exec(one, ExecEnded(NOT_STARTED))
        if client is None or not isinstance(error, EngineError):
            raise
        await _tell(client, one.wish, str(error))
    finally:
        one.started.set()


async def _taken(take: Callable[[], Awaitable[Client]]) -> Client:
    """The client, with the head sent long before the first output.

    docker-py reads both from one buffered file, and loses what came in the same piece as the head.
    """
    client = await take()
    await send(client, client.head)
    return replace(client, head=b"")


async def _run(
    cs: Containers, one: Exec, process: oci.Process, client: Client | None, size: Sequence[int] | None
) -> None:
    wish = one.wish
    rows, columns = size if size else (0, 0)
    io = ProcessIO(
        tty=wish.tty,
        stdin=wish.attach_stdin,
        stdin_once=True,
        log=None,
        size=(rows, columns) if wish.tty and rows and columns else None,
        owner=id_map.root if (id_map := cs.id_map(cs.find(one.container_id))) else (0, 0),
    )
    attached = () if client is None else ((client, _attach_to(wish)),)
    running = await cs.runtime.exec(one.container_id, one.id, oci.encode(process), io, attached=attached)
    if (now := cs.execs.get(one.id)) is not None and not isinstance(now.life, Prepared):
        # a short one has ended by now; its pid is shown all the same
        cs.execs[one.id] = replace(now, life=replace(now.life, pid=running.pid))


def _attach_to(wish: ExecCreateBody) -> AttachTo:
    keys = detach_keys.parse(wish.detach_keys) if wish.detach_keys else detach_keys.DEFAULT
    return AttachTo(
        stdin=wish.attach_stdin,
        stdout=wish.attach_stdout,
        stderr=wish.attach_stderr,
        detach_keys=keys if wish.tty else b"",
        framed=not wish.tty,
    )


async def _tell(client: Client, wish: ExecCreateBody, text: str) -> None:
    """A failure after the stream was taken, in the form that dockerd uses: one line of output."""
    line = f"{text}\r\n".encode()
    await send(client, line if wish.tty else frame(STDOUT, line))
    client.sock.close()


async def _process(cs: Containers, container: Container, wish: ExecCreateBody) -> oci.Process:
    """What runs, as the container's own process is confined. Raises: InvalidParameter (no such user)."""
    # it is mounted: the container runs
    root = await cs.snapshots.mount(container.id, id_map=cs.id_map(container))
    user = await in_thread(
        find_user, root, wish.user or container.config.user, container.host_config.group_add or ()
    )
    return further_process(
        container,
        cs.host,
        user,
        args=wish.cmd or (),
        env=wish.env or (),
        of_links=link_variables(cs, container),
        tty=wish.tty,
        privileged=wish.privileged,
        working_dir=wish.working_dir,
    )


async def exec_resize(cs: Containers, exec_id: str, *, rows: int, columns: int) -> None:
    """Set the size of its terminal. Raises: NoSuchExec, Conflict. Source: ExecResize.

    Clients ask for it as soon as they have the head of the stream, while the start is still on its way.
    """
    one = _find(cs, exec_id)
    gone = Conflict("cannot resize a stopped container: unknown")
    if not isinstance(one.life, ExecRunning):
        raise gone
    await one.started.wait()
    try:
        await cs.runtime.resize(one.container_id, rows, columns, one.id)
    except ProcessGone:
        raise gone from None


async def exec_inspect(cs: Containers, exec_id: str) -> ExecInspectResponse:
    """All about it. Raises: NoSuchExec. Source: ExecInspect.

    Clients ask for the exit code when their stream has ended, and may be faster than the news of the end.
    """
    one = _find(cs, exec_id)
    if isinstance(one.life, ExecRunning) and not await _lives(cs, one):
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_IN_S):
                await one.ended.wait()
    return view(_find(cs, exec_id))


async def _lives(cs: Containers, one: Exec) -> bool:
    """Whether an exec that has been started still has its process."""
    await one.started.wait()
    try:
        cs.runtime.signal(one.container_id, 0, one.id)
    except ProcessGone:
        return False
    return True


def _find(cs: Containers, exec_id: str) -> Exec:
    if exec_id not in cs.execs:
        raise NoSuchExec(exec_id)
    return cs.execs[exec_id]


def _check_keys(text: str) -> None:
    try:
        detach_keys.parse(text)
    except InvalidParameter:  # other words than those of attach
        raise InvalidParameter(f"Invalid escape keys ({text}) provided") from None


def _check_runs(container: Container, ref: str) -> None:
    if isinstance(container.life, Paused):
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
    if isinstance(container.life, Restarting):
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.runs:
        raise NotRunning(container.id)


def _check_startable(one: Exec, container: Container) -> None:
    match one.life:
        case ExecRunning():
            raise Conflict(f"Error: Exec command {one.id} is already running")
        case ExecEnded():
            raise Conflict(f"Error: Exec command {one.id} has already run")
    _check_runs(container, container.id)
