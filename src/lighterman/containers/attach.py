"""Attaching: a client's stream is handed to the container's monitor; before the start it waits."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from lighterman.containers.errors import NotRunning
from lighterman.containers.life import Created, Exited, Paused, Restarting
from lighterman.containers.logs import LogOptions, kept_log, logs
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict
from lighterman.lib import detach_keys
from lighterman.runtime import AttachTo, Client, ProcessGone

Take = Callable[[], Awaitable[Client]]
"""Gives the client's connection; after that no failure can be told as an HTTP answer."""


class AttachOptions(Struct, frozen=True):
    """What a client wants to see and to send."""

    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str | None = None  # None: the default, ctrl-p ctrl-q
    framed: bool = True  # in frames, unless it has a terminal


async def attach(cs: Containers, ref: str, options: AttachOptions, take: Take) -> None:
    """Connect a client's stream: validate, then `take` it, then hand it to the container's monitor.

    To a container that does not run, it is kept until the next start; of one that ends meanwhile only the log
    can be had. Raises (before the stream is taken): NoSuchContainer, InvalidParameter, Conflict.
    Source: ContainerAttach.
    """
    container = cs.find(ref)
    to = attach_to(container, options)
    if isinstance(container.life, Paused):
        raise Conflict(f"Container {container.id} is paused, unpause the container before attach")
    if isinstance(container.life, Restarting):
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    client = await take()
    cs.publish(container, "attach")
    if options.logs:
        client = await _replay(cs, container, options, client)
    if not options.stream or not (options.stdin or options.stdout or options.stderr):
        await finish(client)
        return
    await _hand_over(cs, container, client, to)


def attach_to(container: Container, options: AttachOptions) -> AttachTo:
    """What the monitor is told. Raises InvalidParameter in Docker's words for bad keys. Pure.

    Keys are looked for on terminals only, as dockerd does.
    """
    asked = detach_keys.parse(options.detach_keys) if options.detach_keys else detach_keys.DEFAULT
    config = container.config
    return AttachTo(
        stdin=options.stdin and config.open_stdin,
        stdout=options.stdout,
        stderr=options.stderr,
        detach_keys=asked if config.tty else b"",
        framed=options.framed and not config.tty,
    )


async def _hand_over(cs: Containers, asked: Container, client: Client, to: AttachTo) -> None:
    """By the container's life as it is now: to its monitor, to those who wait for a start, or to the end.

    `asked` is the container as the client found it: who wanted to see a run that is over waits for no other.
    """
    if asked.id not in cs:
        await finish(client)
        return
    async with cs.locked(asked.id) as container:
        if isinstance(container.life, Created | Exited) and not asked.runs:
            await send(client, client.head)  # the client starts the container when it has seen this
            cs.live(asked.id).keep_waiting(replace(client, head=b""), to)
            return
        if container.runs:
            try:
                await cs.runtime.attach(asked.id, client, to)
                return
            except ProcessGone:  # it ended just now
                pass
    await finish(client)


async def _replay(cs: Containers, container: Container, options: AttachOptions, client: Client) -> Client:
    """Send the log so far; the client, with its head sent."""
    await send(client, client.head)
    wished = LogOptions(stdout=options.stdout, stderr=options.stderr, framed=options.framed)
    if (options.stdout or options.stderr) and kept_log(cs, container) is not None:
        async for block in await logs(cs, container.id, wished):
            await send(client, block)
    return replace(client, head=b"")


async def send(client: Client, data: bytes) -> None:
    """Write to a client; one that is gone is no failure of ours."""
    if not data:
        return
    client.sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_sendall(client.sock, data)
    except OSError:
        return


async def finish(client: Client) -> None:
    """Send what is to be sent and close the stream."""
    await send(client, client.head)
    client.sock.close()


async def resize(cs: Containers, ref: str, *, rows: int, columns: int) -> None:
    """Set the size of the terminal. Raises: NoSuchContainer, NotRunning. Source: ContainerResize.

    A client may ask for it while the start is still on its way: that settles first.
    """
    container = cs.find(ref)
    if not container.runs:
        async with cs.locked(container.id) as container:
            if not container.runs:
                raise NotRunning(container.id)
    if container.config.tty:
        try:
            await cs.runtime.resize(container.id, rows, columns)
        except ProcessGone:
            raise NotRunning(container.id) from None
    cs.publish(container, "resize", height=str(rows), width=str(columns))
