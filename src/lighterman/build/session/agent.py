"""The client's ssh agent, as a socket that a step of the build finds."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lighterman.build.session import session_pb2 as pb
from lighterman.build.session.channel import copied
from lighterman.build.session.sessions import Session
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread

DEFAULT = "default"
_CHECK = "/moby.sshforward.v1.SSH/CheckAgent"
_FORWARD = "/moby.sshforward.v1.SSH/ForwardAgent"
_ID = "buildkit.ssh.id"


async def has_agent(session: Session, agent_id: str) -> bool:
    """Whether the client lends an agent of this id, or keys that stand for one."""
    if not session.serves(_CHECK):
        return False
    try:
        await session.channel.call(_CHECK, pb.CheckAgentRequest(id=agent_id), pb.CheckAgentResponse)
    except EngineError:
        return False
    return True


@asynccontextmanager
async def forwarded_agent(
    session: Session, agent_id: str, directory: Path, *, uid: int = 0, gid: int = 0, mode: int = 0o600
) -> AsyncIterator[Path]:
    """The path of a socket in `directory` that leads to the client's agent while the block lasts.

    Raises: InvalidParameter: there is no such agent.
    """
    agent_id = agent_id or DEFAULT
    if not await has_agent(session, agent_id):
        raise InvalidParameter(f"no ssh agent {agent_id} is forwarded by the client")
    path = directory / f"agent-{agent_id.encode().hex()}"
    listener = await in_thread(_listening, path, uid, gid, mode)
    connections = Background()
    accepting = asyncio.ensure_future(_accept(listener, session, agent_id, connections))
    try:
        yield path
    finally:
        accepting.cancel()
        await connections.close(cancel=True)
        listener.close()


def _listening(path: Path, uid: int, gid: int, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")  # a socket's path has 107 bytes at most
    finally:
        os.close(directory)
    os.chmod(path, mode)
    os.chown(path, uid, gid)
    listener.listen()
    return listener


async def _accept(listener: socket.socket, session: Session, agent_id: str, connections: Background) -> None:
    while True:
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        connections.start(_forward, peer, session, agent_id)


async def _forward(peer: socket.socket, session: Session, agent_id: str) -> None:
    peer.setblocking(False)
    with peer, suppress(OSError, EngineError):  # either side may hang up
        async with session.channel.stream(_FORWARD, pb.BytesMessage, [(_ID, agent_id)]) as stream:
            await copied(stream, lambda piece: pb.BytesMessage(data=piece), peer)
