"""What a client lends to one step: secrets, and the way to its ssh agent.

They come by the build's session, are seen only while the step runs, and lie in memory, never on a disk.
"""

import os
import posixpath
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lighterman.apitypes.container import Mount
from lighterman.content import Content
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import RunMount
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux import mount as linux_mount

if TYPE_CHECKING:
    from lighterman.build.session import Session

AGENT_TARGET = "/run/buildkit/ssh_agent.0"
SECRETS = "/run/secrets"
_NODEV_NOSUID_NOEXEC = linux_mount.MS_NODEV | linux_mount.MS_NOSUID | linux_mount.MS_NOEXEC


def name_of(mount: RunMount) -> str:
    """What the client knows it by. Pure."""
    if mount.kind == "ssh":
        return mount.id or "default"
    return mount.id or posixpath.basename(mount.source) or posixpath.basename(mount.target)


def target_of(mount: RunMount) -> str:
    """Where it is seen if the Dockerfile does not say. Pure."""
    if mount.target:
        return mount.target
    return AGENT_TARGET if mount.kind == "ssh" else f"{SECRETS}/{name_of(mount)}"


async def lent(
    stack: AsyncExitStack, session: "Session | None", content: Content, mount: RunMount, target: str
) -> Mount | None:
    """The mount of a secret or an agent, until `stack` ends; None: there is none, and none is required.

    Raises: InvalidParameter, System.
    """
    source = await _source(stack, session, content, mount) if session else None
    if source is None:
        if mount.required:
            raise InvalidParameter(f"{mount.kind} {name_of(mount)}: not found")
        return None
    return Mount(type="bind", source=str(source), target=target, read_only=True)


async def _source(
    stack: AsyncExitStack, session: "Session", content: Content, mount: RunMount
) -> Path | None:
    from lighterman.build.session import agent, lends  # gRPC weighs: only who has a session needs it

    uid, gid = mount.uid or 0, mount.gid or 0
    if mount.kind == "ssh":
        if not await agent.has_agent(session, name_of(mount)):
            return None
        directory = await stack.enter_async_context(_memory(content))
        mode = 0o600 if mount.mode is None else mount.mode
        forwarded = agent.forwarded_agent(session, name_of(mount), directory, uid=uid, gid=gid, mode=mode)
        return await stack.enter_async_context(forwarded)
    data = await lends.secret(session, name_of(mount))
    if data is None:
        return None
    directory = await stack.enter_async_context(_memory(content))
    await in_thread(_write, directory / "secret", data, mount)
    return directory / "secret"


@asynccontextmanager
async def _memory(content: Content) -> AsyncIterator[Path]:
    """A directory in memory. In an ingest directory, so that the next start finds it, come what may."""
    ingest = await in_thread(content.new_ingest)
    try:
        await in_thread(_mount, ingest)
        try:
            yield ingest
        finally:
            await to_end(in_thread(linux_mount.umount, str(ingest)))
    finally:
        await to_end(in_thread(content.discard, ingest))


def _mount(directory: Path) -> None:
    linux_mount.mount("tmpfs", str(directory), "tmpfs", _NODEV_NOSUID_NOEXEC, "mode=700,size=1m")


def _write(path: Path, data: bytes, mount: RunMount) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchown(fd, mount.uid or 0, mount.gid or 0)
        os.fchmod(fd, 0o400 if mount.mode is None else mount.mode)
