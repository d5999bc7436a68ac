"""What a manager asks of a task's container on this node: to inspect it, and to run further processes in it.

Nothing else of the engine can be reached so: a container that is no task's is not there.
"""

import logging
import socket
from collections.abc import Awaitable, Callable

import msgspec

from lighterman import containers
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody
from lighterman.containers import Containers
from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System
from lighterman.runtime import Client
from lighterman.swarm.agent.task_container import TASK_LABEL
from lighterman.swarm.call import Ask, CallChannel, Inspection, Size, Told, carry, failure
from lighterman.swarm.session import CallWanted, ChannelClosed

_TAKEN_S = 10.0
_encode, _decode = msgspec.json.encode, msgspec.json.decode
Dial = Callable[[CallWanted], Awaitable[CallChannel]]
log = logging.getLogger(__name__)


async def answer(cs: Containers, wanted: CallWanted, dial: Dial) -> None:
    """Connect to the manager, do what it asks, and tell it what came of that."""
    try:
        channel = await dial(wanted)
    except ChannelClosed as closed:
        log.info("op=call outcome=lost: %s", closed)
        return
    try:
        channel.silence_s = _TAKEN_S
        ask = await channel.receive()
        if not isinstance(ask, Ask):
            raise ChannelClosed("nothing is asked")
        if ask.act == "exec_start":
            await _run(cs, channel, ask)
        else:
            await channel.send(await _told(cs, ask))
            await channel.receive()  # until the manager has it, and closes
    except (ChannelClosed, msgspec.MsgspecError) as error:
        log.debug("call: %s", error)
    finally:
        await channel.close()


async def _told(cs: Containers, ask: Ask) -> Told:
    try:
        return Told(await _done(cs, ask))
    except EngineError as error:
        return failure(error)
    except Exception:  # the manager is not to wait for an answer that never comes
        log.exception("op=call act=%s", ask.act)
        return failure(System("the node could not do it; its log says why"))


async def _done(cs: Containers, ask: Ask) -> bytes:
    """The answer's body. Raises what the verb raises."""
    match ask.act:
        case "inspect":
            _check_task(cs, ask.ref)
            size = _decode(ask.body, type=Inspection).size
            return _encode(await containers.inspect(cs, ask.ref, size=size))
        case "exec_create":
            _check_task(cs, ask.ref)
            return _encode(await containers.exec_create(cs, ask.ref, _decode(ask.body, type=ExecCreateBody)))
        case "exec_inspect":
            return _encode(await containers.exec_inspect(cs, ask.ref))
        case "exec_resize":
            size_ = _decode(ask.body, type=Size)
            await containers.exec_resize(cs, ask.ref, rows=size_.rows, columns=size_.columns)
            return b""
    raise InvalidParameter(f"this node cannot do {ask.act}")


def _check_task(cs: Containers, ref: str) -> None:
    """Raises: NotFound for a container that is no task's."""
    if TASK_LABEL not in (cs.find(ref).config.labels or {}):
        raise NotFound(f"No such container: {ref}")


async def _run(cs: Containers, channel: CallChannel, ask: Ask) -> None:
    """Start an exec, and carry its streams over the channel."""
    body = _decode(ask.body, type=ExecStartBody)
    ours, theirs = socket.socketpair()
    taken = False

    async def take() -> Client:
        nonlocal taken
        taken = True
        await channel.send(Told())
        return Client(theirs, b"", b"")

    try:
        await containers.exec_start(cs, ask.ref, body, take)
    except EngineError as error:
        if not taken:
            theirs.close()
            ours.close()
            await channel.send(failure(error))
            return
    except BaseException:
        theirs.close()
        ours.close()
        raise
    if not taken:
        theirs.close()
        ours.close()
        await channel.send(Told())
        return
    await carry(channel, ours, to_its_end=True)
