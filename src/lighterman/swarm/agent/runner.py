"""One task on its way: what `progress` says is next is done, and each state is written down and told.

A change of what is desired interrupts the work only where other work is to be done then. Source: taskManager
of SwarmKit's agent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.service import ContainerStatus, PortConfig, PortStatus, TaskStatus
from lighterman.errdefs import EngineError
from lighterman.lib.go_time import rfc3339_nano
from lighterman.swarm.agent.progress import Act, Move, failed, next_step
from lighterman.swarm.session import AssignedTask
from lighterman.swarm.state.tasks import WORDS, TaskState

log = logging.getLogger(__name__)


class TaskRow(Struct, frozen=True):
    """What a node remembers of a task over a start of the engine: nothing of it is secret."""

    task: AssignedTask
    status: TaskStatus


class Work(Protocol):
    """What is done about a task. Source: Controller of SwarmKit's agent/exec."""

    async def prepare(self) -> None: ...
    async def start(self) -> None: ...
    async def wait(self) -> None: ...
    async def shut_down(self) -> None: ...
    async def remove(self) -> None: ...
    def container_status(self) -> ContainerStatus | None: ...
    def ports(self) -> list[PortConfig]: ...


class Runner:
    """A task. `work` makes its controller and may refuse; `tell` is given every state that it reaches."""

    def __init__(
        self,
        row: TaskRow,
        work: Callable[[AssignedTask], Work],
        tell: Callable[[TaskRow], Awaitable[None]],
    ) -> None:
        self.row = row
        self._make = work
        self._tell = tell
        self._work: Work | None = None
        self._changed = asyncio.Event()

    @property
    def task(self) -> AssignedTask:
        return self.row.task

    @property
    def state(self) -> TaskState:
        """How far it is."""
        return WORDS.get(self.row.status.state, TaskState.ASSIGNED)

    @property
    def desired(self) -> TaskState:
        """How far it is to be."""
        return WORDS.get(self.task.desired_state, TaskState.RUNNING)

    def update(self, task: AssignedTask) -> None:
        """The manager wishes something else of it; a wish goes forward only."""
        if WORDS.get(task.desired_state, TaskState.NEW) >= self.desired and task != self.task:
            self.row = replace(self.row, task=task)
            self._changed.set()

    async def run(self) -> None:
        """Bring it as far as it is to be, for ever."""
        if not self._resolve():
            await self._reach(failed(self.state), "resolving controller failed", err=self._problem)
        while True:
            self._changed.clear()
            step = next_step(self.state, self.desired)
            if step is None:
                await self._changed.wait()
            elif isinstance(step, Move):
                await self._reach(step.state, step.message)
            else:
                await self._act(step)

    async def remove(self) -> None:
        """Let nothing be left of it on this node."""
        if self._work is not None or self._resolve():
            assert self._work is not None
            await self._work.remove()

    def _resolve(self) -> bool:
        """Whether there is a way to do the task; else `_problem` says why not."""
        try:
            self._work = self._make(self.task)
        except EngineError as error:
            self._problem = str(error)
            return self.state > TaskState.RUNNING  # what is over stays as it is
        return True

    async def _act(self, act: Act) -> None:
        """Do it, unless something else is to be done meanwhile."""
        if self._work is None:  # it cannot be done here: then it cannot be running either
            await self._reach(act.state, act.message)
            return
        work = asyncio.ensure_future(_of(self._work, act))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            while not work.done():
                await asyncio.wait([work, changed], return_when=asyncio.FIRST_COMPLETED)
                if changed.done() and not work.done():
                    self._changed.clear()
                    if next_step(self.state, self.desired) is not act:
                        break
                    changed = asyncio.ensure_future(self._changed.wait())
        finally:
            changed.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        await self._conclude(act, work)

    async def _conclude(self, act: Act, work: "asyncio.Future[None]") -> None:
        if work.cancelled():
            return
        error = work.exception()
        if error is None:
            await self._reach(act.state, act.message)
        elif isinstance(error, EngineError):
            code = getattr(error, "code", 0)
            log.info(
                "op=task task=%s state=%s outcome=failed: %s", self.task.id, self.row.status.state, error
            )
            await self._reach(failed(self.state), self.row.status.message, err=str(error), code=code)
        else:
            log.error("op=task task=%s", self.task.id, exc_info=error)
            await self._reach(failed(self.state), self.row.status.message, err=str(error))

    async def _reach(self, state: TaskState, message: str, *, err: str = "", code: int = 0) -> None:
        status = TaskStatus(
            timestamp=rfc3339_nano(time.time_ns()),
            state=state.word,
            message=message,
            err=err,
            container_status=self.row.status.container_status,
            port_status=self.row.status.port_status,
        )
        if state >= TaskState.STARTING and self._work is not None:
            seen = self._work.container_status() or status.container_status or ContainerStatus()
            status = replace(
                status,
                container_status=replace(seen, exit_code=code or seen.exit_code),
                port_status=PortStatus(self._work.ports()),
            )
        self.row = replace(self.row, status=status)
        await self._tell(self.row)


async def _of(work: Work, act: Act) -> None:
    match act:
        case Act.PREPARE:
            await work.prepare()
        case Act.START:
            await work.start()
        case Act.WAIT:
            await work.wait()
        case Act.SHUT_DOWN:
            await work.shut_down()
