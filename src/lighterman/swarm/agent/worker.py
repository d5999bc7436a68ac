"""All that a node has been given to do, and the networks it does it in.

Tasks are remembered in the engine's rows, so that an engine that starts goes on with them before it has heard
any manager: what runs is adopted, what has ended meanwhile is told. Secrets are not. Source: worker of
SwarmKit's agent.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from lighterman import containers
from lighterman.apitypes.network import NetworkDisconnectBody
from lighterman.apitypes.service import TaskStatus
from lighterman.apitypes.swarm import NodeDescription
from lighterman.containers import Container, Containers
from lighterman.db import Rows
from lighterman.errdefs import EngineError, NotFound
from lighterman.lib.background import Background
from lighterman.lib.effects import Group
from lighterman.lib.go_time import rfc3339_nano
from lighterman.networks import GATEWAY_BRIDGE
from lighterman.swarm.agent.attachments import Attachments, AttachmentWork, container_of
from lighterman.swarm.agent.controller import Controller, Known
from lighterman.swarm.agent.overlay import mesh_ports, picture_of, row_of
from lighterman.swarm.agent.payloads import Payloads
from lighterman.swarm.agent.runner import Runner, TaskRow, Work
from lighterman.swarm.agent.task_container import TASK_LABEL
from lighterman.swarm.session import AssignedNetwork, AssignedTask, Assignments

log = logging.getLogger(__name__)
ROWS: Rows[TaskRow] = Rows("swarm_tasks", TaskRow)
_REMOVE_AGAIN_S = 2.0


class Place(Struct, frozen=True):
    """Where a worker works: the node's id, what it says of itself, and the address of its tunnels."""

    cs: Containers
    node_id: str
    description: Callable[[], NodeDescription]
    data_path: Callable[[], str]


@dataclass
class _Running:
    runner: Runner
    life: "asyncio.Task[None]" = field(init=False)


class Worker:
    """`report` hears of each state that a task reaches, after it is written down."""

    def __init__(self, place: Place, attachments: Attachments, report: Callable[[TaskRow], None]) -> None:
        self._place = place
        self._cs = place.cs
        self._attachments = attachments
        self._report = report
        self._payloads = Payloads()
        self._running: dict[str, _Running] = {}
        self._known = Known()
        self._networks: dict[str, AssignedNetwork] = {}
        self._leaving: set[str] = set()
        self._later = Background()
        self._wiring = asyncio.Lock()  # networks are changed one after the other
        self._stale: set[str] = set()  # networks that have changed since they were put into effect
        self._stirred = asyncio.Event()

    # Its life

    async def open(self) -> None:
        """Go on with the tasks that this node had before."""
        self._cs.contents = self.contents
        try:
            await self._cs.networks.ensure_gateway_bridge()
        except EngineError as error:  # tasks that need a way out say so, others run
            log.error("op=make-network network=%s outcome=failed: %s", GATEWAY_BRIDGE, error)
        self._later.start(self._keep_wired)
        for row in ROWS.load(self._cs.db).values():
            self._begin(row)

    async def close(self) -> None:
        """Let go of the tasks; their containers run on."""
        self._cs.contents = None
        lives = [each.life for each in self._running.values()]
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives)
        await self._later.close(cancel=True)

    @property
    def rows(self) -> list[TaskRow]:
        """All tasks as they are."""
        return [each.runner.row for each in self._running.values()]

    # What a manager says

    async def assign(self, news: Assignments) -> None:
        """Do what is assigned; with `full` nothing else any more."""
        gone = news.removed
        if news.full:
            self._payloads.replace(news.secrets, news.configs)
        else:
            self._payloads.change(
                news.secrets, news.configs, gone_secrets=gone.secrets, gone_configs=gone.configs
            )
        known = {network.id for network in news.networks}
        lost = self._known_networks() - known if news.full else set(gone.networks)
        await self._wire(news.networks, lost)
        assigned = {task.id for task in news.tasks}
        for task in news.tasks:
            self._take(task)
        self._known.heard.set()
        removed = self._running.keys() - assigned if news.full else set(gone.tasks)
        for task_id in removed:
            self._drop(task_id)

    def contents(self, container: Container) -> Mapping[str, bytes]:
        """What a task's container is given. Raises: NotFound, BadTemplate."""
        task_id = (container.config.labels or {}).get(TASK_LABEL, "")
        if task_id not in self._running:
            raise NotFound(f"unable to get secret from secret store: task {task_id} is not of this node")
        task = self._running[task_id].runner.task
        return self._payloads.contents(task, self._place.node_id, self._place.description())

    def find(self, task_id: str) -> AssignedTask | None:
        """The task, if it is this node's."""
        found = self._running.get(task_id)
        return found.runner.task if found else None

    # Tasks

    def _take(self, task: AssignedTask) -> None:
        self._known.credentials[task.id] = task.registry_auth
        task = replace(task, registry_auth="")
        if task.id in self._running:
            self._running[task.id].runner.update(task)
            return
        status = TaskStatus(timestamp=rfc3339_nano(time.time_ns()), state="assigned")
        self._begin(TaskRow(task, status))

    def _begin(self, row: TaskRow) -> None:
        runner = Runner(row, self._work, self._reached)
        running = _Running(runner)
        self._running[row.task.id] = running
        running.life = asyncio.get_running_loop().create_task(_supervised(runner))

    def _work(self, task: AssignedTask) -> Work:
        """How a task is done. Raises: InvalidParameter, Unimplemented."""
        if container_of(task):
            cs = self._cs
            return AttachmentWork(
                self._attachments, task, lambda: cs.networks.sandbox(container_of(task)) is not None
            )
        place = self._place
        return Controller(self._cs, task, place.node_id, place.description(), self._known)

    async def _reached(self, row: TaskRow) -> None:
        if row.task.id in self._running:
            await self._cs.db.write(ROWS.put(row.task.id, row), durable=False)
            self._report(row)

    def _drop(self, task_id: str) -> None:
        """Forget a task; what is left of it goes."""
        running = self._running.pop(task_id, None)
        self._known.credentials.pop(task_id, None)
        if running is not None:
            self._later.start(self._clear, running)

    async def _clear(self, running: _Running) -> None:
        running.life.cancel()
        await asyncio.wait([running.life])
        while True:
            try:
                await running.runner.remove()
                break
            except EngineError as error:
                log.warning("op=remove-task task=%s outcome=failed: %s", running.runner.task.id, error)
                await asyncio.sleep(_REMOVE_AGAIN_S)
        await self._cs.db.write(ROWS.delete(running.runner.task.id), durable=False)
        await self._leave_networks()

    # Networks

    def _known_networks(self) -> set[str]:
        return {row.id for row in self._cs.networks.overlays.rows}

    async def _wire(self, networks: Iterable[AssignedNetwork], lost: Collection[str]) -> None:
        """Know networks as they are now: new ones at once, the others soon, for they change all the time."""
        for network in networks:
            self._leaving.discard(network.id)
            self._networks[network.id] = network
            if self._cs.networks.overlays.knows(network.id):
                self._stale.add(network.id)
                self._stirred.set()
            else:
                await self._put_into_effect(network)
        async with self._wiring:
            for network_id in lost:
                self._networks.pop(network_id, None)
                self._known.refused.pop(network_id, None)
            if any(row.ingress and row.id in lost for row in self._cs.networks.overlays.rows):
                await self._cs.networks.overlays.close_ingress()
            self._leaving |= set(lost)
        await self._leave_networks()

    async def _keep_wired(self) -> None:
        """Put changes into effect; of those that come meanwhile the last is enough."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            stale, self._stale = self._stale, set()
            for network in [self._networks[each] for each in stale if each in self._networks]:
                try:
                    await self._put_into_effect(network)
                except Exception:  # what comes next must not be lost for it
                    log.exception("op=know-network network=%s", network.name)

    async def _put_into_effect(self, network: AssignedNetwork) -> None:
        """One that cannot be known keeps no other back."""
        async with self._wiring:
            if self._networks.get(network.id) is not network:
                return  # it has changed, or gone, while others were put into effect
            try:
                await self._know(network)
            except EngineError as error:
                self._known.refused[network.id] = str(error)
                log.error("op=know-network network=%s outcome=failed: %s", network.name, error)

    async def _know(self, network: AssignedNetwork) -> None:
        overlays = self._cs.networks.overlays
        if network.encrypted:
            self._known.refused[network.id] = (
                f"network {network.name} is encrypted: this engine does not encrypt what goes between nodes, "
                "and does not send it in the clear"
            )
            return
        self._known.refused.pop(network.id, None)
        before = next((row for row in overlays.rows if row.id == network.id), None)
        created_ns = before.created_ns if before else time.time_ns()
        await overlays.know(row_of(network, created_ns=created_ns))
        if network.ingress and network.node_address:
            await overlays.open_ingress(network.id, network.node_address.partition("/")[0])
        picture = picture_of(network, self._place.node_id, self._place.data_path())
        await overlays.tell(network.id, picture, mesh_ports(network))

    async def _leave_networks(self) -> None:
        """Let go of networks that this node has no part in any more, once nobody is in them."""
        async with self._wiring:
            for network_id in list(self._leaving):
                try:
                    if await self._cs.networks.overlays.forget(network_id):
                        self._leaving.discard(network_id)
                except EngineError as error:
                    log.error("op=forget-network network=%s outcome=failed: %s", network_id, error)


async def _supervised(runner: Runner) -> None:
    try:
        await runner.run()
    except Exception:
        log.exception("op=task task=%s", runner.task.id)


async def _remove(cs: Containers, container_id: str) -> None:
    with contextlib.suppress(EngineError):
        await containers.remove(cs, container_id, force=True, volumes=True)


async def forget_all(cs: Containers) -> None:
    """The node has left its swarm: containers of its tasks, what it remembers of them, and networks go. Plain
    containers run on, without those networks."""
    async with Group() as group:
        for container in cs:
            if container.managed:
                group.create_task(_remove(cs, container.id))
    await cs.db.write(*(ROWS.delete(task_id) for task_id in ROWS.load(cs.db)))
    await cs.networks.overlays.close_ingress()
    for row in cs.networks.overlays.rows:
        for sandbox in cs.networks.in_network(row.id):
            with contextlib.suppress(EngineError):
                await containers.disconnect(cs, row.id, NetworkDisconnectBody(sandbox.id, force=True))
        await cs.networks.overlays.forget(row.id)
