"""This engine as a node of a swarm, from its beginning to its leave, over every restart between.

Three things live side by side. The *agent* keeps a session with some manager and never stops for what the
others do, so that tasks run on. The *manager* is there while the node has that role (`managing`). The
*renewals* keep the certificate young. What a session says of the node itself (its role, its managers, the
root to trust) is taken out here, before the agent sees it.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import random
from collections.abc import Sequence

from msgspec.structs import replace

from lighterman.apitypes.swarm import Peer as InfoPeer
from lighterman.apitypes.swarm import PluginDescription, SwarmInfo
from lighterman.errdefs import EngineError, Unavailable
from lighterman.lib.background import Background
from lighterman.swarm.agent import Agent, forget_all
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.tokens import parse_key
from lighterman.swarm.call import CallChannel
from lighterman.swarm.errors import CertificatesExpired, JoinTimeout, NotManager, NotReady, SwarmLocked
from lighterman.swarm.facade import Engine
from lighterman.swarm.node import birth, cluster, leaving
from lighterman.swarm.node.addresses import Place
from lighterman.swarm.node.books import Keys
from lighterman.swarm.node.channels import connect, connect_for_call
from lighterman.swarm.node.credentials import Credentials
from lighterman.swarm.node.describe import describe, plugins_of
from lighterman.swarm.node.manager import Manager, ended
from lighterman.swarm.node.managing import FIRST_DELAY_S, LONGEST_DELAY_S, REMOVED, Managing
from lighterman.swarm.node.wire import ISSUE_PATH, IssueAnswer, IssueWish
from lighterman.swarm.session import (
    HEARTBEAT_PERIOD_S,
    PATIENT_PERIODS,
    AgentChannel,
    AgentFrame,
    CallWanted,
    ChannelClosed,
    Expelled,
    Hello,
    ManagerFrame,
    ManagersChanged,
    RoleChanged,
    TrustChanged,
    Welcome,
)

JOIN_LIMIT_S = 20.0
RESUME_LIMIT_S = 20.0
"""What the start of an engine waits for its node at most, as in dockerd."""
_MANAGER_PATIENCE_S = 10.0
_LOOK_AGAIN_S = 5.0
log = logging.getLogger(__name__)


class Node:
    """This engine in its swarm."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.managing = Managing(credentials, self._renew_through_others)
        self._agent: asyncio.Task[None] | None = None
        self._manages: asyncio.Task[None] | None = None
        self._renews: asyncio.Task[None] | None = None
        self._later = Background()
        self._ready = asyncio.Event()  # a session stands, or stood
        self._tried = asyncio.Event()  # ... or the first call was in vain
        self._error = ""
        self._plugins: Sequence[PluginDescription] = ()
        self._session: _OwnFrames | None = None  # the newest one of the agent
        self._changing = asyncio.Lock()  # one change of the certificate at a time

    # What is known of it

    @property
    def id(self) -> str:
        return self.credentials.node_id

    @property
    def is_manager(self) -> bool:
        """Whether it has the role; a node that is locked has it."""
        return self.credentials.is_manager

    @property
    def local_state(self) -> str:
        """pending, active, error or locked."""
        if self.credentials.is_locked:
            return "locked"
        if self._error or self.managing.error:
            return "error"
        return "active" if self._ready.is_set() else "pending"

    @property
    def manager(self) -> Manager:
        """This node as a manager that knows the state.

        Raises: SwarmLocked, NotManager, NotReady, CertificatesExpired.
        """
        if self.credentials.is_locked:
            raise SwarmLocked
        if self.credentials.is_expired:
            raise CertificatesExpired
        if not self.is_manager:
            raise NotManager
        if (manager := self.managing.manager) is None:
            raise NotReady
        return manager

    def info(self) -> SwarmInfo:
        """The section of /info. Source: Cluster.Info of moby."""
        host, state = self.credentials.advertise_host, self.local_state
        if state == "locked":
            return SwarmInfo(node_addr=host, local_node_state=state, error=str(SwarmLocked()))
        base = SwarmInfo(
            node_id=self.id,
            node_addr=host,
            local_node_state=state,
            error=self._error or self.managing.error,
            remote_managers=[
                InfoPeer(peer.node_id, peer.addr) for peer in self.credentials.membership.managers
            ]
            or None,
        )
        if (manager := self.managing.manager) is None:
            return base
        managers = sum(manager.store.manager_status(id) is not None for id in manager.store.state.nodes)
        return replace(
            base,
            control_available=True,
            nodes=len(manager.store.state.nodes),
            managers=managers,
            cluster=cluster.inspect_info(manager) if manager.store.state.cluster is not None else None,
            warnings=[cluster.TWO_MANAGERS] * (managers == 2) + [cluster.STORE_FULL] * manager.store.is_full,
        )

    # Its life

    @classmethod
    async def resume(cls, engine: Engine) -> "Node":
        """Go on after a restart of the engine.

        Whoever asks the engine that has started shall find the node in its place, as with dockerd: that is
        waited for, but not if nobody answers, and not for long.
        """
        node = cls(await Credentials.read(engine))
        if not node.credentials.is_locked:
            node._live()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESUME_LIMIT_S):
                    await node._taken_up()
        return node

    async def _taken_up(self) -> None:
        if self._error:
            return
        await self._tried.wait()
        if self.is_manager and not self.managing.error:
            await self.managing.settled.wait()

    async def begin(self) -> None:
        """Live, and wait for the first session. Raises: JoinTimeout; the attempt goes on."""
        self._live()
        try:
            async with asyncio.timeout(JOIN_LIMIT_S):
                await self._ready.wait()
        except TimeoutError:
            raise JoinTimeout from None

    def _live(self) -> None:
        if self.credentials.is_expired:
            self._error = str(CertificatesExpired())
            return
        if self.is_manager:
            self._manages = self._later.start(self.managing.run)
        self._agent = self._later.start(self._attend)
        self._renews = self._later.start(self._keep_young)
        self._later.start(self._look_for_plugins)

    async def close(self) -> None:
        """End everything, first who asks, then who answers; the node stays in its swarm."""
        for task in (self._agent, self._renews, self._manages):
            if task is not None:
                await ended(task)
        await self._later.close(cancel=True)
        await self.managing.stop()

    async def leave(self, *, force: bool) -> None:
        """Out of the swarm. Raises: Unavailable when it would be missed, and not `force`."""
        manager = self.managing.manager
        if not force and self.credentials.is_locked:
            raise Unavailable(leaving.LOCKED)
        if not force and self.is_manager:
            raise leaving.refusal(manager.store if manager is not None else None)
        await self.managing.give_vote_back()
        await self.close()
        await forget_all(self.credentials.engine.containers)
        await self.credentials.erase()

    async def unlock(self, key: str) -> None:
        """Open the keys and go on. Raises: InvalidParameter, WrongUnlockKey, JoinTimeout."""
        await self.credentials.open(parse_key(key))
        await self.begin()

    async def force_new_cluster(self, place: Place) -> None:
        """Go on alone with the state that this manager has, at this place: the others are lost.

        Raises: SwarmLocked, NotManager, System.
        """
        if self.credentials.is_locked:
            raise SwarmLocked
        if not self.is_manager:
            raise NotManager
        await self.close()
        self._later, self._error = Background(), ""
        self.credentials.membership = replace(
            self.credentials.membership,
            listen=place.listen,
            advertise=place.advertise,
            local=place.local,
            data_path=place.data_path,
            managers=(),
        )
        manager = await self.managing.start(force_new_cluster=True)
        await birth.forget_others(manager.store)
        await self.credentials.save()
        self._live()

    # The agent

    async def _attend(self) -> None:
        self._plugins = await plugins_of(self.credentials.engine.plugin_names)
        agent = Agent(
            self.credentials.engine.containers,
            self.id,
            connect=self.connect,
            description=lambda: describe(self.credentials, self._plugins),
            data_path=lambda: self.credentials.data_path,
            dial=self._dial,
        )
        await agent.run()

    async def connect(self) -> AgentChannel:
        """A session's channel: to this node's own manager, or to any other.

        Raises: ChannelClosed: whoever asks tries again a little later.
        """
        if self.is_manager:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MANAGER_PATIENCE_S):
                    await self.managing.settled.wait()
            if (manager := self.managing.manager) is not None:
                return self._own(manager.connect())
        others = self.credentials.others
        random.shuffle(others)
        problem = "no other manager is known"
        for peer in others:
            try:
                return self._own(await connect(peer.addr, await self.credentials.client_context()))
            except ChannelClosed as closed:
                problem = str(closed)
        self._tried.set()
        raise ChannelClosed(problem)

    async def _dial(self, wanted: CallWanted) -> CallChannel:
        """Raises: ChannelClosed."""
        return await connect_for_call(wanted.addr, wanted.call_id, await self.credentials.client_context())

    def _own(self, channel: AgentChannel) -> AgentChannel:
        self._session = _OwnFrames(channel, self)
        return self._session

    def heard(self, frame: ManagerFrame) -> bool:
        """Take what a manager says of the node itself; whether that was all of it."""
        match frame:
            case Welcome(managers=managers):
                self._ready.set()
                self._tried.set()
                self._later.start(self.credentials.know, managers)
                return False
            case ManagersChanged(managers=managers):
                self._later.start(self.credentials.know, managers)
            case RoleChanged() | TrustChanged(renew=True):
                self._later.start(self._renew_soon)
            case TrustChanged(root=root):
                self._later.start(self._trust, root)
            case Expelled():
                log.warning(REMOVED)
                self._error = REMOVED
                self._tried.set()
                return False
            case _:
                return False
        return True

    # The certificate

    async def _keep_young(self) -> None:
        """Renew the certificate when half of its life is over, or a little later. Source: SwarmKit."""
        while True:
            begin, end = certificates.valid_between(self.credentials.keys.certificate)
            at = begin + (end - begin) * random.uniform(0.5, 0.8)
            wait_s = max((at - dt.datetime.now(dt.UTC)).total_seconds(), 1.0)
            await asyncio.sleep(min(wait_s, 3600.0))  # clocks are set, meanwhile
            if wait_s <= 3600.0:
                await self._renew_soon()

    async def _renew_soon(self) -> None:
        """Renew the certificate, as soon as somebody does it."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                await self._renew()
                return
            except (EngineError, OSError) as error:
                log.warning("renewing the certificate: %s", error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _renew_through_others(self) -> None:
        await self._renew(through_others=True)

    async def _renew(self, *, through_others: bool = False) -> None:
        """Another certificate, and the role that it says. Raises: System, NotFound, NoLeader."""
        async with self._changing:
            request, key = certificates.new_request()
            wish, manager = IssueWish(request), self.managing.manager
            if manager is not None and not through_others:
                answer = await manager.issue(wish, self.credentials.identity, "")
            else:
                answer = await self.credentials.ask_others(ISSUE_PATH, wish, IssueAnswer)
            keys = replace(self.credentials.keys, certificate=answer.certificate, key=key)
            if answer.role == "worker":
                keys = Keys(certificate=answer.certificate, key=key)
                self.credentials.unlock_key = b""
            self.credentials.keys = keys
            await self._use(answer.root)
            if answer.role == "manager" and (self._manages is None or self._manages.done()):
                self._manages = self._later.start(self.managing.run)

    async def _trust(self, root: str) -> None:
        async with self._changing:
            await self._use(root)

    async def _use(self, root: str) -> None:
        """Trust this root, show the certificate that there is now, and let the swarm hear of both."""
        self.credentials.membership = replace(self.credentials.membership, root=root)
        await self.credentials.save()
        await self.managing.show_certificate()
        await self._introduce()

    async def _introduce(self) -> None:
        """Let the swarm hear anew of this node."""
        if self._session is not None:
            description = describe(self.credentials, self._plugins)
            with contextlib.suppress(ChannelClosed):
                await self._session.send(Hello(description, self.credentials.data_path))

    async def _look_for_plugins(self) -> None:
        """Tell of plugins that come and go: a task that needs one waits for a node that has it."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            found = await plugins_of(self.credentials.engine.plugin_names)
            if found != self._plugins:
                self._plugins = found
                await self._introduce()


class _OwnFrames:
    """The agent's channel without what is said to the node."""

    def __init__(self, channel: AgentChannel, node: Node) -> None:
        self._channel, self._node = channel, node
        self.silence_s = channel.silence_s

    async def send(self, frame: AgentFrame) -> None:
        await self._channel.send(frame)

    async def receive(self) -> ManagerFrame:
        while True:
            frame = await self._channel.receive()
            if isinstance(frame, Welcome):
                self._channel.silence_s = PATIENT_PERIODS * (frame.heartbeat_period_s or HEARTBEAT_PERIOD_S)
            if not self._node.heard(frame):
                return frame

    async def close(self) -> None:
        await self._channel.close()
