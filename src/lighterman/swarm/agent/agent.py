"""A node's end of the session: what it says and hears, and that it begins again when it is lost.

While no manager is heard the tasks run on; what becomes of them meanwhile is told when one is. Source: agent
of SwarmKit.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

from lighterman.apitypes.swarm import NodeDescription
from lighterman.containers import Containers
from lighterman.errdefs import Unavailable
from lighterman.lib.effects import Group
from lighterman.swarm.agent.attachments import Attachments, container_of
from lighterman.swarm.agent.calls import Dial, answer
from lighterman.swarm.agent.logs import read_logs
from lighterman.swarm.agent.runner import TaskRow
from lighterman.swarm.agent.worker import Place, Worker
from lighterman.swarm.session import (
    HEARTBEAT_PERIOD_S,
    AgentChannel,
    AgentFrame,
    Alive,
    Assignments,
    AttachRefused,
    CallWanted,
    ChannelClosed,
    DetachWanted,
    Expelled,
    Hello,
    LogsUnwanted,
    LogsWanted,
    Statuses,
    TaskReport,
    Welcome,
)
from lighterman.swarm.state.tasks import WORDS, TaskState

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.1, 8.0
_REPORTS_AT_ONCE = 500
log = logging.getLogger(__name__)


class Agent:
    """The agent of one node.

    `connect` gives a channel to a manager or raises ChannelClosed; `description` is what the node says of
    itself now; `data_path` is the address of its tunnels; `dial` takes up a manager's call.
    """

    def __init__(
        self,
        cs: Containers,
        node_id: str,
        *,
        connect: Callable[[], Awaitable[AgentChannel]],
        description: Callable[[], NodeDescription],
        data_path: Callable[[], str],
        dial: Dial,
    ) -> None:
        self._cs = cs
        self._node_id = node_id
        self._connect = connect
        self._description = description
        self._data_path = data_path
        self._dial = dial
        self._attachments = Attachments(self._send)
        self._worker = Worker(Place(cs, node_id, description, data_path), self._attachments, self._remember)
        self._unsaid: dict[str, TaskRow] = {}  # what the manager has not been told, by task
        self._frames: asyncio.Queue[AgentFrame] | None = None  # of the session that stands
        self._news = asyncio.Event()

    async def run(self) -> NoReturn:
        """Do what the swarm wants of this node, for ever. Cancelled, it lets go of tasks that run on."""
        try:
            await self._worker.open()
            self._cs.networks.attacher = self._attachments
            await self._keep_session()
        finally:
            self._cs.networks.attacher = None
            await self._worker.close()

    async def _keep_session(self) -> NoReturn:
        wait_s = _FIRST_RETRY_S
        while True:
            try:
                channel = await self._connect()
                try:
                    await channel.send(Hello(self._description(), self._data_path()))
                    match await channel.receive():
                        case Welcome() as welcome:
                            wait_s = _FIRST_RETRY_S
                            await self._converse(channel, welcome)
                        case Expelled():
                            await self._worker.assign(Assignments(0, full=True))
                finally:
                    await channel.close()
            except ChannelClosed as closed:
                log.info("op=session outcome=lost: %s", closed)
            except Exception:  # what runs must not be given up for it
                log.exception("op=session outcome=failed")
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, _LONGEST_RETRY_S)

    async def _converse(self, channel: AgentChannel, welcome: Welcome) -> None:
        """One session. Raises: ChannelClosed."""
        session = _Session(channel, welcome.heartbeat_period_s or HEARTBEAT_PERIOD_S)
        self._frames = session.frames
        self._unsaid = {row.task.id: row for row in self._worker.rows}
        self._news.set()
        try:
            async with Group() as group:
                group.create_task(session.speak())
                group.create_task(self._tell(session.frames))
                await self._hear(channel, group, session)
        except* ChannelClosed as errors:
            raise ChannelClosed(str(errors.exceptions[0])) from None
        finally:
            self._frames = None

    async def _hear(self, channel: AgentChannel, group: Group, session: "_Session") -> None:
        expected = 1
        reading: dict[str, asyncio.Task[None]] = {}
        while True:
            match await channel.receive():
                case Assignments() as news:
                    if news.sequence != expected and not news.full:
                        raise ChannelClosed("assignments were lost")
                    expected = news.sequence + 1
                    await self._worker.assign(news)
                case LogsWanted() as wanted:
                    work = read_logs(self._cs, self._node_id, wanted, self._worker.find, session.frames.put)
                    reading[wanted.subscription_id] = group.create_task(work)
                case LogsUnwanted(subscription_id):
                    if (task := reading.pop(subscription_id, None)) is not None:
                        task.cancel()
                case CallWanted() as wanted_call:
                    group.create_task(answer(self._cs, wanted_call, self._dial))
                case AttachRefused() as refusal:
                    self._attachments.refuse(refusal)
                case Expelled():
                    await self._worker.assign(Assignments(0, full=True))
                    raise ChannelClosed("the node was removed from its swarm")
                case _:
                    pass  # a heartbeat, or what a later manager says

    # What is said

    def _remember(self, row: TaskRow) -> None:
        self._unsaid[row.task.id] = row
        self._news.set()

    def _send(self, frame: AgentFrame) -> None:
        """Raises: Unavailable without a session."""
        try:
            if self._frames is not None:
                self._frames.put_nowait(frame)
                return
        except asyncio.QueueFull:
            pass
        raise Unavailable("the swarm cannot be reached: no manager is connected with this node")

    async def _tell(self, frames: "asyncio.Queue[AgentFrame]") -> None:
        """States of tasks, as they come; of several of one task the last is enough."""
        for row in self._worker.rows:
            if is_left(row):
                await frames.put(DetachWanted(row.task.id))
        while True:
            await self._news.wait()
            self._news.clear()
            unsaid, self._unsaid = list(self._unsaid.values()), {}
            for at in range(0, len(unsaid), _REPORTS_AT_ONCE):
                part = unsaid[at : at + _REPORTS_AT_ONCE]
                await frames.put(Statuses(tuple(TaskReport(row.task.id, row.status) for row in part)))


def is_left(row: TaskRow) -> bool:
    """Whether it stands for a plain container that has left: the manager may not have heard of it."""
    over = WORDS.get(row.status.state, TaskState.NEW) >= TaskState.COMPLETE
    return over and bool(container_of(row.task))


class _Session:
    """The frames that are to be sent, in order; and a sign of life when there are none."""

    def __init__(self, channel: AgentChannel, period_s: float) -> None:
        self.frames: asyncio.Queue[AgentFrame] = asyncio.Queue(256)
        self._channel = channel
        self._period_s = period_s

    async def speak(self) -> NoReturn:
        while True:
            frame: AgentFrame = Alive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    frame = await self.frames.get()
            await self._channel.send(frame)
