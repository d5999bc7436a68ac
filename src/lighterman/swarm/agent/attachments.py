"""Plain containers in networks of the swarm: each is a task there, made when it starts, gone when it ends.

Source: AttachNetwork of moby's daemon/cluster/networks.go, attachment.go of its executor.
"""

import asyncio
import secrets
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.service import ContainerStatus, PortConfig
from lighterman.errdefs import EngineError, Forbidden, NotFound, System, Unavailable
from lighterman.networks import EndpointWish
from lighterman.swarm.session import AgentFrame, AssignedTask, AttachRefused, AttachWanted, DetachWanted

WITHIN_S = 20.0
_KINDS: dict[str, type[EngineError]] = {"NotFound": NotFound, "PermissionDenied": Forbidden}


class _Asked(Struct):
    """A container that waits for its place."""

    request_id: str
    container_id: str
    target: str
    place: "asyncio.Future[AssignedTask]"


class Attachments:
    """`send` queues a frame for the manager; it raises Unavailable without a session."""

    def __init__(self, send: Callable[[AgentFrame], None]) -> None:
        self._send = send
        self._asked: dict[str, _Asked] = {}
        self._places: dict[str, AssignedTask] = {}  # by the task's id: those that are in use
        self._gone: dict[str, asyncio.Event] = {}

    # As the networks see it

    async def attach(self, sandbox_id: str, name: str, wish: EndpointWish) -> EndpointWish:
        """Ask the manager for a place. Raises: NotFound, Forbidden, Unavailable, System."""
        request_id = secrets.token_hex(8)
        future: asyncio.Future[AssignedTask] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = _Asked(request_id, sandbox_id, wish.network, future)
        try:
            self._send(
                AttachWanted(
                    request_id,
                    sandbox_id,
                    wish.network,
                    tuple(each for each in (wish.ipv4, wish.ipv6) if each),
                    aliases=(name, *wish.aliases),
                )
            )
            async with asyncio.timeout(WITHIN_S):
                task = await future
        except TimeoutError:
            raise Unavailable(
                f"Could not attach to network {wish.network}: context deadline exceeded"
            ) from None
        finally:
            del self._asked[request_id]
        place = task.attachments[0]
        return replace(wish, network=place.network_id, ipv4=place.addresses[0].partition("/")[0])

    def detach(self, sandbox_id: str, network_id: str = "") -> None:
        """The container has left; nothing for one that was never attached."""
        for task_id, task in list(self._places.items()):
            ours = container_of(task) == sandbox_id
            if ours and network_id in ("", *(place.network_id for place in task.attachments)):
                self._leave(task_id)

    # As the manager's frames and the tasks see it

    def refuse(self, frame: AttachRefused) -> None:
        """A container does not get in."""
        asked = self._asked.get(frame.request_id)
        if asked is not None and not asked.place.done():
            code = frame.error.partition("code = ")[2].partition(" ")[0]
            kind = _KINDS.get(code, System)
            asked.place.set_exception(kind(f"Could not attach to network {asked.target}: {frame.error}"))

    def settle(self, task: AssignedTask) -> asyncio.Event:
        """The place is there: whoever has asked gets it. What comes back is set when it is left."""
        self._places[task.id] = task
        gone = self._gone.setdefault(task.id, asyncio.Event())
        names = {name for place in task.attachments for name in (place.network_id, place.network_name)}
        for asked in self._asked.values():
            wanted = asked.container_id == container_of(task) and (
                asked.target in names or any(name.startswith(asked.target) for name in names)
            )
            if wanted and not asked.place.done():
                asked.place.set_result(task)
        return gone

    def is_wanted(self, task: AssignedTask) -> bool:
        """Whether somebody waits for this place."""
        return any(asked.container_id == container_of(task) for asked in self._asked.values())

    def forget(self, task_id: str) -> None:
        """The manager has taken the place away."""
        self._places.pop(task_id, None)
        self._gone.pop(task_id, None)

    def _leave(self, task_id: str) -> None:
        del self._places[task_id]
        self._gone.pop(task_id, asyncio.Event()).set()
        try:
            self._send(DetachWanted(task_id))
        except Unavailable:  # the next session begins with it
            return


def container_of(task: AssignedTask) -> str:
    """The id of the plain container that a task stands for; "" where it stands for none."""
    spec = task.spec.network_attachment_spec
    return spec.container_id if spec is not None else ""


class AttachmentWork:
    """The task of a plain container: there is nothing to do but to tell it its address, and to wait."""

    def __init__(self, attachments: Attachments, task: AssignedTask, is_there: Callable[[], bool]) -> None:
        self._attachments = attachments
        self._task = task
        self._is_there = is_there

    async def prepare(self) -> None:
        """Nothing."""

    async def start(self) -> None:
        """Give the place to whoever has asked for it."""
        self._attachments.settle(self._task)

    async def wait(self) -> None:
        """Until the container has left."""
        if self._is_there() or self._attachments.is_wanted(self._task):
            await self._attachments.settle(self._task).wait()
        else:
            self._attachments.settle(self._task)
            self._attachments.detach(container_of(self._task))

    async def shut_down(self) -> None:
        """Nothing: the container is its owner's."""

    async def remove(self) -> None:
        """The place is no more."""
        self._attachments.forget(self._task.id)

    def container_status(self) -> ContainerStatus | None:
        return ContainerStatus(container_of(self._task))

    def ports(self) -> list[PortConfig]:
        return []
