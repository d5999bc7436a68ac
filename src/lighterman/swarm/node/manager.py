"""This node as a manager: its etcd, its copy of the state, the port that nodes come to.

`run` is a manager's life. It ends when the node is to be none any more, or when something breaks that it
cannot be without: then the node starts it again. The verbs of the API work on `store`; `Desk` of the
listener is answered here.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack

from lighterman.apitypes.swarm import RaftConfig
from lighterman.errdefs import NotFound, System
from lighterman.lib.effects import in_thread
from lighterman.swarm.ca.certificates import Identity
from lighterman.swarm.call import CallChannel
from lighterman.swarm.errors import NoLeader
from lighterman.swarm.facade import Engine
from lighterman.swarm.node import birth, issue, leader, restored
from lighterman.swarm.node.addresses import join_port, split_port
from lighterman.swarm.node.books import Keys, Membership, write_private
from lighterman.swarm.node.calls import Calls
from lighterman.swarm.node.channels import connect_for_logs, local_pair
from lighterman.swarm.node.dispatch import Dispatcher
from lighterman.swarm.node.elsewhere import Elsewhere
from lighterman.swarm.node.listener import Listener
from lighterman.swarm.node.tell import tell
from lighterman.swarm.node.wire import (
    CALL_PATH,
    KEYS_PATH,
    CallWish,
    Done,
    IssueAnswer,
    IssueWish,
    KeysAnswer,
    KeysWish,
    ManagerAnswer,
    ManagerWish,
    MemberWish,
    RootAnswer,
    ask,
)
from lighterman.swarm.session import AgentChannel, CallWanted, ChannelClosed, ManagerChannel
from lighterman.swarm.store import (
    TICK_MS,
    AskForKeys,
    DataKey,
    Etcd,
    EtcdMember,
    Keyring,
    Member,
    MemberConfig,
    Refused,
    Store,
    removal_keeps_quorum,
)

CATCH_UP_S = 15.0
_RETRY_S = 0.1
_KEEP_LIMIT_S = 5.0
log = logging.getLogger(__name__)


class MemberEnded(System):
    """etcd has ended. It does so by itself when it was taken out of the cluster."""


class Manager:
    """What makes this node a manager."""

    def __init__(
        self,
        engine: Engine,
        membership: Membership,
        keys: Keys,
        listener: Listener,
        *,
        cluster: tuple[tuple[str, str], ...] = (),
        client_context: Callable[[], Awaitable[ssl.SSLContext]],
        ask_for_keys: AskForKeys,
        keep_keys: Callable[[Iterable[DataKey]], Awaitable[None]],
        joins: bool = False,
        force_new_cluster: bool = False,
    ) -> None:
        """`ask_for_keys` gets data keys from other managers, `keep_keys` writes them down; `cluster` are the
        members of etcd, where its data is new; `joins` whether this one was added to it.
        """
        self.engine = engine
        self.membership = membership
        self.keys = keys
        self.cluster_id = membership.cluster_id
        self.node_id = membership.node_id
        self._listener = listener
        self._client_context = client_context
        self.keep_keys = keep_keys
        own = ((self.node_id, peer_url(membership)),)
        heartbeat, election = ticks(membership.raft, engine.heartbeat_ticks, engine.election_ticks)
        self._config = MemberConfig(
            binary=engine.etcd_binary,
            directory=engine.root / "etcd",
            run_directory=engine.exec_root / "etcd",
            name=self.node_id,
            listen_host=split_port(membership.listen)[0],
            peer_url=peer_url(membership),
            cluster=cluster or own,
            joins=joins,
            force_new_cluster=force_new_cluster,
            heartbeat_ms=TICK_MS * heartbeat,
            election_ms=TICK_MS * election,
            snapshot_count=membership.raft.snapshot_interval,
            max_snapshots=(membership.raft.keep_old_snapshots or 0) + 1,  # 0 would be all of them
        )
        self.etcd = Etcd(self._config.socket)
        self.store = Store(
            self.etcd,
            Keyring(keys.data_keys),
            node_id=self.node_id,
            addr=membership.advertise,
            version=engine.version,
            ask_for_keys=ask_for_keys,
        )
        self.dispatcher = Dispatcher(self.store, self.trust, self._ask_for_logs)
        self.calls = Calls(self._want_call, membership.advertise)
        self.elsewhere = Elsewhere(self.store, self.calls)
        self.up = asyncio.Event()
        """It has read the state, and answers."""
        self._sessions: set[asyncio.Task[None]] = set()

    # Its life

    async def run(self, context: ssl.SSLContext, *, member_id: int = 0) -> None:
        """Be a manager for ever; with `member_id` first ask for the vote that a learner does not have.

        Raises: MemberEnded, System.
        """
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self.etcd.close)
            await in_thread(write_peer_files, self._config, self.keys)
            backed_up = await in_thread(restored.waiting, self.engine.root)
            member = await Member.start(self._config)
            opened.push_async_callback(member.stop)
            opened.push_async_callback(self._end_sessions)
            opened.push_async_callback(self.elsewhere.close)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._watch(member))
                    if backed_up is not None:
                        await restored.bring_back(self.etcd, backed_up)
                    group.create_task(self.store.mirror())
                    await self.store.ready()
                    if backed_up is not None:
                        await birth.forget_others(self.store)
                        await in_thread(restored.arrived, self.engine.root)
                    serving = group.create_task(self.store.serve(leader.duties(self)))
                    opened.push_async_callback(ended, serving)
                    group.create_task(self.dispatcher.run())
                    group.create_task(tell(self.store, self.engine.containers.events))
                    group.create_task(self.dispatcher.keep_present())
                    group.create_task(self.store.keep_room(self._config.quota_bytes))
                    await self._keep_address()
                    await self._listener.serve(context, self)
                    self.up.set()
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
            finally:
                self.up.clear()

    async def _watch(self, member: Member) -> None:
        """Start etcd again when it is killed; whoever waits for a write notices no more than a pause.

        Raises: MemberEnded when it ends by itself.
        """
        while True:
            code = await member.ended()
            if code >= 0:
                raise MemberEnded(f"etcd has ended with code {code}: {await member.complaint()}")
            log.warning("etcd was ended by signal %d: starting it again", -code)
            await asyncio.sleep(_RETRY_S)
            await member.start_again()

    async def _keep_address(self) -> None:
        """Tell the other members if this one is found elsewhere now."""
        with contextlib.suppress(NoLeader, Refused):
            for each in await self.etcd.members():
                if each.name == self.node_id and list(each.peer_urls) != [self._config.peer_url]:
                    await self.etcd.move(each.id, [self._config.peer_url])

    async def _end_sessions(self) -> None:
        for session in list(self._sessions):
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)

    def connect(self) -> AgentChannel:
        """A session of this node's own agent."""
        agent, manager = local_pair()
        host = split_port(self.membership.advertise)[0]
        session = asyncio.create_task(self.dispatcher.serve(manager, self.node_id, "manager", host))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        return agent

    async def _ask_for_logs(self, manager_id: str) -> ManagerChannel:
        """Raises: ChannelClosed."""
        record = self.store.managers.get(manager_id)
        if record is None:
            raise ChannelClosed("the manager is away")
        return await connect_for_logs(record.addr, await self._client_context())

    def trust(self, node_id: str) -> tuple[str, bool]:
        """What the node shall trust, and whether it has to renew its certificate now."""
        return issue.trusted_root(self.store.state), leader.must_renew(self.store.state, node_id)

    # What nodes ask for

    def root(self) -> RootAnswer:
        """The root that join tokens name."""
        return RootAnswer(issue.authority_of(self.store.state).certificate)

    async def issue(self, wish: IssueWish, who: Identity | None, addr: str) -> IssueAnswer:
        """A certificate for a node that joins (by its token) or for `who` asks.

        Raises: InvalidParameter, NotFound, NoLeader.
        """
        if who is None:
            identity = await issue.admit(self.store, wish.token, wish.availability)
        else:
            identity = issue.renewed(self.store.state, who)
        state = self.store.state
        return IssueAnswer(
            node_id=identity.node_id,
            cluster_id=identity.cluster_id,
            role=identity.role,
            certificate=issue.signed(state, wish.request, identity, dt.datetime.now(dt.UTC)),
            root=issue.trusted_root(state),
            managers=self.dispatcher.peers(),
            seen=addr,
        )

    async def take_in(self, wish: ManagerWish, who: Identity) -> ManagerAnswer:
        """Add a member of etcd without a vote, so that one that never comes costs no majority.

        Raises: NotFound, InvalidParameter, NoLeader, Refused.
        """
        issue.renewed(self.store.state, who)
        certificate = issue.peer_certificate(self.store.state, wish.request, who, wish.addresses)
        for member in await self.etcd.members():
            if member.name == who.node_id or wish.peer_url in member.peer_urls:
                await self.etcd.remove(member.id)  # it was one before, and has lost its data
        member_id, members = await self._add_learner(wish.peer_url)
        named = tuple(
            (member.name or who.node_id, member.peer_urls[0])
            for member in members
            if member.name or member.id == member_id
        )
        authority = issue.authority_of(self.store.state)
        return ManagerAnswer(
            member_id=member_id,
            cluster=named,
            peer_certificate=certificate,
            peer_root=authority.peer_certificate,
            data_keys=self.store.keyring.keys,
            unlock_key=authority.unlock_key,
        )

    async def _add_learner(self, url: str) -> tuple[int, list[EtcdMember]]:
        """etcd has one learner at a time: wait for the one before, and remove it if it never comes.

        Its ids of members are made of their address and the second: within one, a host that has left and
        joins again would have the id that was removed for good, which is refused with "member not found".

        Raises: NoLeader, Refused.
        """
        for _ in range(int(CATCH_UP_S / _RETRY_S)):
            try:
                return await self.etcd.add_learner(url)
            except Refused as error:
                if "too many learner" not in str(error) and "member not found" not in str(error):
                    raise
            await asyncio.sleep(_RETRY_S)
        for member in await self.etcd.members():
            if member.is_learner:
                await self.etcd.remove(member.id)
        return await self.etcd.add_learner(url)

    async def promote(self, wish: MemberWish, who: Identity) -> Done:
        """Give a member its vote as soon as it has caught up. Raises: Refused, NoLeader."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                while True:
                    try:
                        await self.etcd.promote(wish.member_id)
                        return Done()
                    except Refused as error:
                        if "not a learner" in str(error):
                            return Done()
                        await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            raise Refused("the new manager does not catch up with the others") from None

    async def let_go(self, wish: MemberWish, who: Identity) -> Done:
        """Take a member out that leaves by itself. Raises: Refused, NoLeader."""
        await self.remove_member(who.node_id)
        return Done()

    async def share_keys(self, wish: KeysWish, who: Identity) -> KeysAnswer:
        """Keep data keys that another manager has made, and tell all that there are here."""
        if wish.data_keys:
            await self.keep_keys(wish.data_keys)
            self.store.keyring.adopt(wish.data_keys)
        return KeysAnswer(self.store.keyring.keys)

    async def give_keys(self, addr: str, keys: tuple[DataKey, ...]) -> None:
        """Have another manager keep them. Raises: Unreachable, RemoteRefusal."""
        context = await self._client_context()
        await ask(addr, KEYS_PATH, KeysWish(keys), KeysAnswer, context, deadline_s=_KEEP_LIMIT_S)

    async def session(self, channel: ManagerChannel, who: Identity, addr: str) -> None:
        """The manager's end of a session of `who`."""
        await self.dispatcher.serve(channel, who.node_id, who.role, addr)

    async def logs(self, channel: AgentChannel) -> None:
        """Answer another manager that reads logs."""
        await self.dispatcher.answer_for_logs(channel)

    # Calls to nodes

    async def _want_call(self, node_id: str, wanted: CallWanted) -> None:
        """Let a node know, itself or through the manager that it is connected with.

        Raises: ChannelClosed, System.
        """
        if await self.dispatcher.tell(node_id, wanted):
            return
        session = self.store.state.sessions.get(node_id)
        record = self.store.managers.get(session.manager_id) if session is not None else None
        if record is None or record.addr == self.membership.advertise:
            raise ChannelClosed("it is not connected with any manager")
        wish = CallWish(node_id, wanted.call_id, wanted.addr)
        await ask(record.addr, CALL_PATH, wish, Done, await self._client_context())

    async def pass_call(self, wish: CallWish, who: Identity) -> Done:
        """Another manager calls a node that is connected here. Raises: NotFound, ChannelClosed."""
        if not await self.dispatcher.tell(wish.node_id, CallWanted(wish.call_id, wish.addr)):
            raise NotFound(f"node {wish.node_id} is not connected")
        return Done()

    def check_call(self, call_id: str, who: Identity) -> None:
        """Raises: Forbidden."""
        self.calls.check(call_id, who.node_id)

    async def take_call(self, call_id: str, channel: CallChannel) -> None:
        """A node that is called has connected."""
        await self.calls.take(call_id, channel)

    # Members

    async def remove_member(self, node_id: str) -> None:
        """Take the node's etcd out of the cluster, if it is in there. Raises: Refused, NoLeader."""
        members = await self.etcd.members()
        for member in members:
            if member.name == node_id:
                await self.lead_from_elsewhere(member.id)
                await self.etcd.remove(member.id)

    async def lead_from_elsewhere(self, member_id: int) -> None:
        """If this member leads the consensus, let another that is there do it."""
        status = await self.etcd.status()
        if status.leader != member_id or status.header.member_id != member_id:
            return  # only the leader itself can be asked; the others elect another when it goes
        others = [record.member_id for id, record in self.store.managers.items() if record.member_id]
        for other in others:
            if other != member_id:
                with contextlib.suppress(Refused):
                    await self.etcd.move_leader(other)
                    return

    async def can_lose(self, node_id: str) -> bool:
        """Whether more than half of the managers are still reachable without this one. Raises: NoLeader."""
        voters = [member for member in await self.etcd.members() if not member.is_learner]
        there = {record.member_id for record in self.store.managers.values()}
        reachable = sum(member.id in there for member in voters)
        leaving = next((member for member in voters if member.name == node_id), None)
        if leaving is None:
            return True
        return removal_keeps_quorum(
            reachable, len(voters) - reachable, leaving_is_reachable=leaving.id in there
        )


def peer_url(membership: Membership) -> str:
    """Where the other members of etcd find this one."""
    return f"https://{join_port(split_port(membership.advertise)[0], membership.peer_port)}"


def ticks(raft: RaftConfig, heartbeat: int, election: int) -> tuple[int, int]:
    """Between two signs of a leading member, and until the others miss them: the operator's, or the swarm's.

    One of the two may be the operator's; etcd starts only if the second is five times the first.
    """
    heartbeat = heartbeat or raft.heartbeat_tick
    return heartbeat, max(election or raft.election_tick, 5 * heartbeat)


def write_peer_files(config: MemberConfig, keys: Keys) -> None:
    """What etcd reads, in clear: it lies in the exec root, which is memory on a usual host."""
    config.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in (
        (config.certificate, keys.peer_certificate),
        (config.key, keys.peer_key),
        (config.authority, keys.peer_root),
    ):
        write_private(path, text)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
