"""A manager's end of the sessions: what nodes have to do goes out, what they report comes in.

A session belongs to the manager that the node has turned to, whichever that is: each has the whole state.
That the node is there is a key under this manager's lease, so heartbeats cost no write, and all sessions of
a manager that dies are gone with its lease; a manager that gets a new lease writes its sessions again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from msgspec import Struct, field

from lighterman.errdefs import EngineError
from lighterman.lib.effects import Group
from lighterman.swarm.control import attachments
from lighterman.swarm.errors import NoLeader
from lighterman.swarm.identity import new_id
from lighterman.swarm.node.assign import (
    NOTHING,
    Assigned,
    Networks,
    assigned,
    concerned,
    difference,
    everything,
)
from lighterman.swarm.session import (
    HEARTBEAT_PERIOD_S,
    SILENT_PERIODS,
    AgentChannel,
    Alive,
    AttachRefused,
    AttachWanted,
    ChannelClosed,
    DetachWanted,
    Expelled,
    Heartbeat,
    Hello,
    LogLine,
    LogsRead,
    LogsUnwanted,
    LogsWanted,
    ManagerChannel,
    ManagerFrame,
    ManagersChanged,
    Peer,
    RoleChanged,
    Statuses,
    TaskReport,
    TrustChanged,
    Welcome,
)
from lighterman.swarm.state import Delete, Kind, NodeStatus, Put, Session, TaskObservation, Write
from lighterman.swarm.state.tasks import observe
from lighterman.swarm.store import OutOfSequence, Store

_COALESCE_S = 0.02
_REPORTS_AT_ONCE = 100
_LEASE_PATIENCE_S = 5.0
_LINES_AHEAD = 256
_PARTING_S = 0.5
_RENEWAL_S = 15.0
log = logging.getLogger(__name__)


class Live(Struct):
    """A node that is connected with this manager."""

    node_id: str
    role: str
    """What its certificate says."""
    channel: ManagerChannel
    period_s: float
    """At least one frame goes each way in it."""
    id: str = field(default_factory=new_id)
    told: Assigned = NOTHING
    sequence: int = 0
    revision: int = 0
    """Of its session's key, so that only this one is removed at its end."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    peers: tuple[Peer, ...] = ()
    trusts: str = ""
    renews_until_s: float = 0.0
    """It was asked for another certificate: it has so long before it is asked again."""


class _Reading(Struct):
    """Somebody who reads logs, and the nodes that still send."""

    lines: "asyncio.Queue[LogLine | None]"
    nodes: set[str]
    errors: list[str] = field(default_factory=list)


def asks_now(root: str, told: str, now_s: float, renews_until_s: float) -> bool:
    """Whether a node that has to renew its certificate is asked for it: at once for another root than it was
    told of, else again after a while.
    """
    return root != told or now_s > renews_until_s


class Dispatcher:
    """All sessions of this manager."""

    def __init__(
        self,
        store: Store,
        trust: Callable[[str], tuple[str, bool]],
        ask_for_logs: Callable[[str], Awaitable[ManagerChannel]],
    ) -> None:
        """`trust` tells of a node the root certificates that it shall trust, and whether it must renew
        its own; `ask_for_logs` opens a channel to another manager, by its id.
        """
        self._store = store
        self._trust = trust
        self._ask_for_logs = ask_for_logs
        self._live: dict[str, Live] = {}
        self._readings: dict[str, _Reading] = {}
        self._networks = Networks(store.state)
        self._lease = 0

    async def tell(self, node_id: str, frame: ManagerFrame) -> bool:
        """Say something to a node that is connected here; whether it is. Raises: ChannelClosed."""
        live = self._live.get(node_id)
        if live is not None:
            await live.channel.send(frame)
        return live is not None

    # For the whole of them

    async def run(self) -> None:
        """Stir the sessions that a change concerns, for ever."""
        with self._store.changes() as changes:
            while True:
                changed = await changes.next()
                await asyncio.sleep(_COALESCE_S)
                changed |= changes.pending()
                self._networks = Networks(self._store.state)
                told = {live.node_id: live.told for live in self._live.values()}
                nodes = concerned(self._store.state, changed, told)
                for live in self._live.values():
                    if nodes is None or live.node_id in nodes:
                        live.stirred.set()

    async def keep_present(self) -> None:
        """Write all sessions again whenever this manager has a new lease, for ever."""
        lease = 0
        while True:
            lease = await self._store.another_lease(lease)
            for live in list(self._live.values()):
                with contextlib.suppress(NoLeader):
                    await self._announce(live)

    def stir(self) -> None:
        """Something that is not in the store has become different for all."""
        for live in self._live.values():
            live.stirred.set()

    # One session

    async def serve(self, channel: ManagerChannel, node_id: str, role: str, addr: str) -> None:
        """A session from its first frame to its end; `addr` is where it comes from, without a port."""
        try:
            hello = await channel.receive()
            if not isinstance(hello, Hello):
                return
            if node_id not in self._store.state.nodes:
                await channel.send(Expelled())
                return
            live = Live(node_id, role, channel, self._period_s())
            channel.silence_s = SILENT_PERIODS * live.period_s
            await self._observe(live, hello, addr)
            if (former := self._live.get(node_id)) is not None:
                await former.channel.close()
            self._live[node_id] = live
            await self._converse(live, addr)
        except ChannelClosed as closed:
            log.debug("session of node %s: %s", node_id, closed)
        except msgspec.MsgspecError as error:
            log.warning("node %s speaks another language: %s", node_id, error)
        except NoLeader as error:
            log.info("session of node %s: %s", node_id, error)
        finally:
            await channel.close()

    async def _converse(self, live: Live, addr: str) -> None:
        log.info("op=session node=%s session=%s", live.node_id, live.id)
        try:
            async with Group() as group:
                talking = group.create_task(self._talk(live))
                try:
                    await self._listen(live, addr)
                finally:
                    talking.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if self._live.get(live.node_id) is live:
                del self._live[live.node_id]
            self._forget_readings(live.node_id)
            with contextlib.suppress(NoLeader, OutOfSequence):
                await self._store.commit(
                    [Delete(Kind.SESSION, live.node_id, live.revision)], patience_s=_PARTING_S
                )

    async def _observe(self, live: Live, hello: Hello, addr: str) -> None:
        """Write down what a node says of itself, and that it is there."""
        status = NodeStatus(
            id=live.node_id, description=hello.description, addr=addr, data_path_addr=hello.data_path_addr
        )
        if self._store.state.node_statuses.get(live.node_id) != status:
            await self._store.commit([Put(Kind.NODE_STATUS, status)])
        await self._announce(live)

    async def _announce(self, live: Live) -> None:
        """Raises: NoLeader while this manager has no lease that could hold the key."""
        try:
            async with asyncio.timeout(_LEASE_PATIENCE_S):
                await self._store.another_lease(0)
        except TimeoutError:
            raise NoLeader from None
        session = Session(id=live.node_id, manager_id=self._store.node_id)
        live.revision = await self._store.commit([Put(Kind.SESSION, session)])

    async def _talk(self, live: Live) -> None:
        """Tell the node what it has to know, at least that this manager is there."""
        live.peers = self.peers()
        live.trusts, _ = self._trust(live.node_id)
        await live.channel.send(Welcome(live.id, self._store.node_id, live.period_s, live.peers))
        live.told, live.sequence = assigned(self._store.state, live.node_id, self._networks), 1
        await live.channel.send(everything(live.told, live.sequence))
        while True:
            spoke = await self._tell_news(live)
            try:
                async with asyncio.timeout(live.period_s):
                    await live.stirred.wait()
            except TimeoutError:
                if not spoke:
                    await live.channel.send(Heartbeat())
            live.stirred.clear()

    async def _tell_news(self, live: Live) -> bool:
        """Whether there was anything to say."""
        state, spoke = self._store.state, False
        node = state.nodes.get(live.node_id)
        if node is None:
            await live.channel.send(Expelled())
            raise ChannelClosed("the node is no part of the swarm any more")
        if node.role != live.role:
            await live.channel.send(RoleChanged(node.role))
            live.role, spoke = node.role, True
        root, renew = self._trust(live.node_id)
        renew = renew and asks_now(root, live.trusts, time.monotonic(), live.renews_until_s)
        if root != live.trusts or renew:
            await live.channel.send(TrustChanged(root, renew))
            live.trusts, spoke = root, True
            live.renews_until_s = time.monotonic() + _RENEWAL_S if renew else live.renews_until_s
        if (peers := self.peers()) != live.peers:
            await live.channel.send(ManagersChanged(peers))
            live.peers, spoke = peers, True
        now = assigned(state, live.node_id, self._networks)
        news = difference(live.told, now, live.sequence + 1)
        if news is not None:
            live.told, live.sequence = now, news.sequence
            await live.channel.send(news)
        return spoke or news is not None

    def _period_s(self) -> float:
        """Half of what the swarm's settings say: two frames that are missed are a node that is missed."""
        cluster = self._store.state.cluster
        period_ns = cluster.spec.dispatcher.heartbeat_period if cluster is not None else 0
        return period_ns / 2e9 or HEARTBEAT_PERIOD_S

    def peers(self) -> tuple[Peer, ...]:
        """The managers that nodes may turn to."""
        return tuple(Peer(id, record.addr) for id, record in sorted(self._store.managers.items()))

    async def _listen(self, live: Live, addr: str) -> None:
        while True:
            match await live.channel.receive():
                case Alive():
                    pass
                case Hello() as hello:
                    await self._observe(live, hello, addr)
                case Statuses(reports):
                    await self._take_reports(live, reports)
                case LogsRead(id, lines, done, error):
                    await self._take_lines(live.node_id, id, lines, done=done, error=error)
                case AttachWanted() as wish:
                    await self._attach(live, wish)
                case DetachWanted(task_id):
                    await attachments.detach(self._store, live.node_id, task_id)

    # Reports

    async def _take_reports(self, live: Live, reports: tuple[TaskReport, ...]) -> None:
        """Write down what is new in them. A report that cannot be written is made again: the session ends."""
        for at in range(0, len(reports), _REPORTS_AT_ONCE):
            for attempt in range(10):
                writes = self._news_in(live.node_id, reports[at : at + _REPORTS_AT_ONCE])
                try:
                    await self._store.commit(writes)
                    break
                except OutOfSequence:
                    if attempt == 9:
                        raise ChannelClosed("reports are overtaken all the time") from None

    def _news_in(self, node_id: str, reports: tuple[TaskReport, ...]) -> list[Write]:
        state, now_ns = self._store.state, time.time_ns()
        latest: dict[str, TaskObservation] = {}
        for report in reports:
            task = state.tasks.get(report.task_id)
            if task is None or task.node_id != node_id:
                continue  # deleted meanwhile, or not this node's business
            known = latest.get(task.id) or state.observations.get(task.id)
            observed = observe(known, task.id, report.status, now_ns)
            if observed is not None:
                latest[task.id] = observed
        return [
            Put(Kind.TASK_STATUS, observed, state.revision_of(Kind.TASK_STATUS, id))
            for id, observed in latest.items()
        ]

    # Plain containers

    async def _attach(self, live: Live, wish: AttachWanted) -> None:
        """The task that stands for the container comes with the next assignments."""
        try:
            await attachments.attach(self._store, live.node_id, wish)
        except EngineError as error:
            await live.channel.send(AttachRefused(wish.request_id, str(error)))

    # Logs

    async def logs(self, wanted: LogsWanted, node_of: dict[str, str]) -> AsyncIterator[LogLine]:
        """The lines of the tasks of `wanted`, as their nodes send them; `node_of` says where each task is.

        Nodes of another manager are asked through that one; a node without a session has nothing to say. With
        `follow` it ends when the caller goes.
        """
        asked = self._asked(wanted, node_of)
        reading = _Reading(asyncio.Queue(_LINES_AHEAD), set(asked))
        self._readings[wanted.subscription_id] = reading
        relays = []
        try:
            for source, part in asked.items():
                if source in self._live:
                    with contextlib.suppress(ChannelClosed, KeyError):
                        await self._live[source].channel.send(part)
                else:
                    relays.append(asyncio.create_task(self._relay(source, part, reading)))
            while reading.nodes or not reading.lines.empty():
                line = await reading.lines.get()
                if line is not None:
                    yield line
        finally:
            del self._readings[wanted.subscription_id]
            for relay in relays:
                relay.cancel()
            for node in reading.nodes:
                with contextlib.suppress(ChannelClosed, KeyError):
                    await self._live[node].channel.send(LogsUnwanted(wanted.subscription_id))

    def _asked(self, wanted: LogsWanted, node_of: dict[str, str]) -> dict[str, LogsWanted]:
        """Whom to ask for which tasks: a node that is connected here, or the manager that has the node."""
        asked: dict[str, list[str]] = {}
        for task, node in node_of.items():
            session = self._store.state.sessions.get(node)
            if node in self._live:
                asked.setdefault(node, []).append(task)
            elif session is not None and session.manager_id in self._store.managers:
                asked.setdefault(session.manager_id, []).append(task)
        return {
            source: msgspec.structs.replace(wanted, task_ids=tuple(tasks)) for source, tasks in asked.items()
        }

    async def _relay(self, manager_id: str, wanted: LogsWanted, reading: _Reading) -> None:
        """Lines from another manager's nodes."""
        try:
            channel = await self._ask_for_logs(manager_id)
            try:
                await channel.send(wanted)
                while isinstance(read := await channel.receive(), LogsRead | Alive):
                    if isinstance(read, LogsRead):
                        for line in read.lines:
                            await reading.lines.put(line)
                        if read.done:
                            return
            finally:
                await channel.close()
        except ChannelClosed as closed:
            log.warning("logs of manager %s: %s", manager_id, closed)
        finally:
            reading.nodes.discard(manager_id)
            with contextlib.suppress(asyncio.QueueFull):
                reading.lines.put_nowait(None)

    async def answer_for_logs(self, channel: AgentChannel) -> None:
        """Another manager asks for logs of this one's nodes."""
        try:
            wanted = await channel.receive()
            if not isinstance(wanted, LogsWanted):
                return
            tasks = self._store.state.tasks
            here = {id: tasks[id].node_id for id in wanted.task_ids if id in tasks}
            mine = {id: node for id, node in here.items() if node in self._live}
            own = msgspec.structs.replace(wanted, subscription_id=new_id())
            async with Group() as group:
                alive = group.create_task(_beat(channel))
                async for line in self.logs(own, mine):
                    await channel.send(LogsRead(wanted.subscription_id, (line,)))
                await channel.send(LogsRead(wanted.subscription_id, done=True))
                alive.cancel()
        except* (ChannelClosed, msgspec.MsgspecError) as errors:
            log.debug("logs for another manager: %s", errors.exceptions[0])

    async def _take_lines(
        self, node_id: str, id: str, lines: tuple[LogLine, ...], *, done: bool, error: str
    ) -> None:
        reading = self._readings.get(id)
        if reading is None or node_id not in reading.nodes:
            return
        for line in lines:
            await reading.lines.put(line)
        if error:
            log.warning("logs of node %s: %s", node_id, error)
        if done:
            reading.nodes.discard(node_id)
            await reading.lines.put(None)

    def _forget_readings(self, node_id: str) -> None:
        for reading in self._readings.values():
            if node_id in reading.nodes:
                reading.nodes.discard(node_id)
                with contextlib.suppress(asyncio.QueueFull):
                    reading.lines.put_nowait(None)


async def _beat(channel: AgentChannel) -> None:
    """A reader that follows a silent task is not to be taken for lost."""
    while True:
        await asyncio.sleep(HEARTBEAT_PERIOD_S)
        await channel.send(Alive())
