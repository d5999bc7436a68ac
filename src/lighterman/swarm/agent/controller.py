"""What is done with the container of a task: the work behind the acts of `progress`.

Each act can be cancelled and begun again, also by an engine that was started meanwhile: what is there already
is taken as done. A container is found by its name, which is the task's.

Source: daemon/cluster/executor/container/controller.go and adapter.go of moby 20.10.24.
"""

import asyncio
import base64
import contextlib
import logging
import os

import msgspec
from msgspec import Struct, field

from lighterman import containers
from lighterman.apitypes.registry import AuthConfig
from lighterman.apitypes.service import ContainerStatus, PortConfig
from lighterman.apitypes.swarm import NodeDescription
from lighterman.containers import Container, Containers
from lighterman.containers.errors import NameTaken, NoSuchContainer
from lighterman.containers.health import check_of
from lighterman.containers.life import Created, Creating, exit_code
from lighterman.containers.view import state as shown_state
from lighterman.errdefs import Conflict, EngineError, NotFound, NotModified, System, Unavailable
from lighterman.events import Listener
from lighterman.lib.effects import in_thread
from lighterman.lib.filters import Filters
from lighterman.reference import is_digest, parse_reference
from lighterman.swarm.agent.task_container import TASK_LABEL, TaskContainer, task_container
from lighterman.swarm.session import AssignedTask

CONVERGE_S = 0.25
"""Between the word that a task goes, which all nodes hear, and its end: whoever has heard asks others."""
NETWORKS_WITHIN_S = 30.0
_RECHECK_S = 0.05
_UNHEALTHY = "dockerexec: unhealthy container"
OFFLINE = "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"
"""A variable of the engine's environment, as of dockerd's: with 1 an image that is here is not looked for."""
log = logging.getLogger(__name__)


class TaskFailed(EngineError):
    """The task has ended other than well; `code` is its process's, 0 where that is not the reason."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Known(Struct):
    """What a manager has said besides the assignment of a task."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first assignments: after a start of the engine nothing that is new begins before."""
    credentials: dict[str, str] = field(default_factory=dict)
    """X-Registry-Auth by task."""
    refused: dict[str, str] = field(default_factory=dict)
    """By network, why this node is not in it."""


class Controller:
    """One task's container. Raises: InvalidParameter, Unimplemented for a task that cannot be one."""

    def __init__(
        self, cs: Containers, task: AssignedTask, node_id: str, node: NodeDescription, known: Known
    ) -> None:
        self._cs = cs
        self._task = task
        self._wish: TaskContainer = task_container(task, node_id, node)
        self._known = known

    # The acts

    async def prepare(self) -> None:
        """Get the image and make the container. Raises: EngineError."""
        await self._known.heard.wait()
        await self._wait_for_networks()
        await self._pull()
        try:
            await containers.create(
                self._cs, self._wish.body, name=self._wish.name, managed=True, files=self._wish.files
            )
        except NameTaken:
            if self.container is None:
                raise

    async def start(self) -> None:
        """Run it, and wait until it is well if it has a check. Raises: EngineError, TaskFailed."""
        container = self._cs.find(self._wish.name)
        with self._listening(container) as news:
            if isinstance(container.life, Created | Creating):
                await self._known.heard.wait()
                try:
                    await in_thread(self._check_binds)
                    await containers.start(self._cs, container.id)
                except NotModified:
                    pass
                except EngineError as error:
                    raise System(f"starting container failed: {error}") from error
            if check_of(container.config) is not None:
                await self._become_healthy(container.id, news)

    async def wait(self) -> None:
        """Wait for its end. Raises: TaskFailed unless it ends well, NoSuchContainer."""
        container = self._cs.find(self._wish.name)
        ended = asyncio.ensure_future(containers.wait(self._cs, container.id, "not-running"))
        unwell = asyncio.ensure_future(self._unwell(container))
        try:
            await asyncio.wait([ended, unwell], return_when=asyncio.FIRST_COMPLETED)
            was_unwell = not ended.done()
            if was_unwell:
                await self.shut_down()
            code = (await ended).status_code
        finally:
            ended.cancel()
            unwell.cancel()
        self._judge(code, unhealthy=was_unwell)

    async def shut_down(self) -> None:
        """Ask it to end, and see to it. Raises: EngineError."""
        container = self.container
        if container is None:
            return
        if container.runs and self._task.attachments:
            await asyncio.sleep(CONVERGE_S)
        with contextlib.suppress(NotFound, NotModified):
            await containers.stop(self._cs, container.id, timeout_s=self._wish.stop_grace_s)

    async def remove(self) -> None:
        """Let nothing be left of it; idempotent. Raises: EngineError."""
        if self.container is None:
            return
        try:
            await self.shut_down()
        except EngineError as error:
            log.debug("op=remove-task task=%s shutdown: %s", self._task.id, error)
        with contextlib.suppress(NotFound, Conflict):
            await containers.remove(self._cs, self._wish.name, force=True, volumes=True)

    # What is known of it

    @property
    def container(self) -> Container | None:
        """The container of the task, when there is one."""
        try:
            container = self._cs.find(self._wish.name)
        except NoSuchContainer:
            return None
        ours = (container.config.labels or {}).get(TASK_LABEL) == self._task.id
        return container if ours else None

    def container_status(self) -> ContainerStatus | None:
        """For the task's status."""
        container = self.container
        if container is None:
            return None
        shown = shown_state(container.life)
        return ContainerStatus(container.id, shown.pid, shown.exit_code)

    def ports(self) -> list[PortConfig]:
        """The ports of the host that lead to it."""
        container = self.container
        sandbox = self._cs.networks.sandbox(container.id) if container else None
        found = {
            (port.proto, port.container_port, port.host_port): PortConfig(
                protocol=port.proto,
                target_port=port.container_port,
                published_port=port.host_port,
                publish_mode="host",
            )
            for port in (sandbox.ports if sandbox else ())
        }
        return list(found.values())

    # How

    async def _wait_for_networks(self) -> None:
        wanted = [place.network_id for place in self._task.attachments if place.addresses]
        try:
            async with asyncio.timeout(NETWORKS_WITHIN_S):
                while not all(self._cs.networks.overlays.knows(network_id) for network_id in wanted):
                    for reason in (self._known.refused.get(each) for each in wanted):
                        if reason:
                            raise Unavailable(reason)
                    await asyncio.sleep(_RECHECK_S)
        except TimeoutError:
            raise Unavailable("node is missing network attachments, ip addresses may be exhausted") from None

    async def _pull(self) -> None:
        """Have the newest image of this name, if it can be had: else one that is here will do."""
        image = self._wish.body.image
        if is_digest(image):
            return
        try:
            if parse_reference(image).digest or os.environ.get(OFFLINE) == "1":
                with contextlib.suppress(NotFound):
                    self._cs.images.find(image)
                    return
            progress = await self._cs.images.pull(
                image, auth=_credentials(self._known.credentials.get(self._task.id, ""))
            )
            async for message in progress:
                if message.error:
                    log.warning("op=pull task=%s image=%s: %s", self._task.id, image, message.error)
        except EngineError as error:
            log.warning("op=pull task=%s image=%s outcome=failed: %s", self._task.id, image, error)

    def _check_binds(self) -> None:
        """Blocks. Raises: System."""
        spec = self._task.spec.container_spec
        for mount in spec.mounts if spec else ():
            if mount.type == "bind" and not os.path.exists(mount.source):
                raise System(f"invalid bind mount source, source path not found: {mount.source}")

    def _listening(self, container: Container) -> contextlib.AbstractContextManager[Listener]:
        return self._cs.events.listen(Filters({"type": ("container",), "container": (container.id,)}))

    async def _become_healthy(self, container_id: str, news: Listener) -> None:
        unhealthy = False
        while True:
            container = self._cs.find(container_id)
            status = container.health.status if container.health else ""
            if not container.runs:
                self._judge(exit_code(container.life), unhealthy=unhealthy)
                return
            if status == "healthy":
                return
            if status == "unhealthy" and not unhealthy:
                unhealthy = True
                await self.shut_down()
                continue
            event = await news.next()
            if event.action == "destroy":
                raise TaskFailed("dockerexec: container destroyed")

    async def _unwell(self, container: Container) -> None:
        """Comes back when the container's check says that it is not well."""
        if check_of(container.config) is None:
            await asyncio.Event().wait()
        with self._listening(container) as news:
            while self._cs.find(container.id).health is None or not self._is_unhealthy(container.id):
                await news.next()

    def _is_unhealthy(self, container_id: str) -> bool:
        health = self._cs.find(container_id).health
        return health is not None and health.status == "unhealthy"

    def _judge(self, code: int, *, unhealthy: bool) -> None:
        container = self.container
        if code == 0:
            return
        told = shown_state(container.life).error if container else ""
        cause = _UNHEALTHY if unhealthy else told
        raise TaskFailed(f"task: non-zero exit ({code})" + (f": {cause}" if cause else ""), code)


def _credentials(registry_auth: str) -> AuthConfig | None:
    """X-Registry-Auth as it came; what is no such thing is as good as none."""
    if not registry_auth:
        return None
    try:
        padded = registry_auth + "=" * (-len(registry_auth) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=AuthConfig)
    except (ValueError, msgspec.MsgspecError) as error:
        log.warning("invalid authconfig: %s", error)
        return None
