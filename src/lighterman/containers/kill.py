"""Sending signals."""

from lighterman.containers.ending import KILL, deliver, kill_to_end, let_rest, stop_signal
from lighterman.containers.errors import NotRunning
from lighterman.containers.life import Restarting
from lighterman.containers.signals import is_known, parse_signal
from lighterman.containers.state import Containers
from lighterman.errdefs import Conflict, InvalidParameter, NotFound


async def kill(cs: Containers, ref: str, *, signal: str = "") -> None:
    """Send `signal` ("" is KILL, and then wait for the end).

    Raises: NoSuchContainer, Conflict, InvalidParameter. Source: ContainerKill.
    """
    number = parse_signal(signal) if signal else KILL
    try:
        container = cs.find(ref)
    except NotFound as error:
        raise NotFound(f"Cannot kill container: {ref}: {error}") from None
    if not is_known(number):
        raise InvalidParameter(
            f"Cannot kill container: {ref}: The linux daemon does not support signal {number}"
        )
    async with cs.locked(container.id) as container:  # its output may be seen before its start is recorded
        if not container.runs and not isinstance(container.life, Restarting):
            raise Conflict(f"Cannot kill container: {ref}: {NotRunning(container.id)}")
    if number == KILL:
        await kill_to_end(cs, container.id)
        return
    async with cs.locked(container.id) as container:
        ends_it = number == stop_signal(container)
        if ends_it:
            container = await let_rest(cs, container)
        try:
            await deliver(cs, container, number, thaw=ends_it)
        except NotRunning as error:
            raise Conflict(f"Cannot kill container: {ref}: {error}") from None
