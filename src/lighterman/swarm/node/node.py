"""This engine as a node of a swarm, from init or join to leave, over every restart between.

Three things live side by side. The *agent* keeps a session with some manager and never stops for what the
others do, so that tasks run on. The *manager* is there while the node has that role; when it breaks it is
started again. The *renewals* keep the certificate young. What a session says of the node itself (its role,
its managers, the root to trust) is taken out here, before the agent sees it.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import random
import ssl
from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.swarm import Peer as InfoPeer
from lighterman.apitypes.swarm import SwarmInfo, SwarmInitBody, SwarmJoinBody
from lighterman.errdefs import EngineError, InvalidParameter, System, Unavailable
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread
from lighterman.swarm.agent import Agent, forget_all
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Identity
from lighterman.swarm.ca.tokens import parse_key, parse_token
from lighterman.swarm.errors import (
    CertificatesExpired,
    JoinTimeout,
    NotManager,
    NotReady,
    SwarmLocked,
)
from lighterman.swarm.facade import Engine
from lighterman.swarm.node import birth, cluster
from lighterman.swarm.node.addresses import (
    HostAddress,
    Place,
    check_data_path_port,
    check_pools,
    host_addresses,
    join_port,
    local_address,
    resolve_advertise,
    resolve_data_path,
    resolve_listen,
    split_port,
    with_defaults,
)
from lighterman.swarm.node.books import Books, Keys, Membership
from lighterman.swarm.node.channels import connect
from lighterman.swarm.node.describe import describe
from lighterman.swarm.node.listener import Listener, bind, server_context
from lighterman.swarm.node.manager import Manager, MemberEnded, ended, peer_url, write_private
from lighterman.swarm.node.wire import (
    ISSUE_PATH,
    JOIN_PATH,
    LEAVE_PATH,
    READY_PATH,
    Done,
    IssueAnswer,
    IssueWish,
    ManagerAnswer,
    ManagerWish,
    MemberWish,
    RemoteRefusal,
    Unreachable,
    ask,
    client_context,
    fetch_root,
)
from lighterman.swarm.session import (
    HEARTBEAT_PERIOD_S,
    PATIENT_PERIODS,
    AgentChannel,
    AgentFrame,
    ChannelClosed,
    Expelled,
    Hello,
    ManagerFrame,
    ManagersChanged,
    Peer,
    RoleChanged,
    TrustChanged,
    Welcome,
)
from lighterman.swarm.state import Kind

JOIN_LIMIT_S = 20.0
_LONGEST_DELAY_S = 10.0
_MANAGER_PATIENCE_S = 10.0
_KEPT = frozenset({Kind.AUTHORITY, Kind.CLUSTER})
log = logging.getLogger(__name__)
T = TypeVar("T")


class Node:
    """This engine in its swarm."""

    def __init__(
        self, engine: Engine, membership: Membership, keys: Keys | None, unlock_key: bytes = b""
    ) -> None:
        """`keys` is None for a manager that is locked; `unlock_key` seals them, b"" does not."""
        self.engine = engine
        self.membership = membership
        self._books = Books(engine.root)
        self._keys = keys
        self._unlock_key = unlock_key
        self._manager: Manager | None = None
        self._listener: Listener | None = None
        self._agent: asyncio.Task[None] | None = None
        self._managing: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()  # a session stands, or stood
        self._settled = asyncio.Event()  # whom its agent turns to: the manager is up, or the node is none
        self._error = ""
        self._later = Background()
        self.session: _OwnFrames | None = None  # the newest one of the agent
        self._writing = asyncio.Lock()
        self._changing = asyncio.Lock()  # one change of role or certificate at a time

    # What is known of it

    @property
    def id(self) -> str:
        return self.membership.node_id

    @property
    def keys(self) -> Keys:
        """Raises: SwarmLocked."""
        if self._keys is None:
            raise SwarmLocked
        return self._keys

    @property
    def identity(self) -> Identity:
        """What its certificate says. Raises: SwarmLocked."""
        return certificates.identity_of_pem(self.keys.certificate)

    @property
    def is_manager(self) -> bool:
        """Whether it has the role; a node that is locked has it."""
        return self._keys is None or self.identity.role == "manager"

    @property
    def local_state(self) -> str:
        if self._keys is None:
            return "locked"
        if self._error:
            return "error"
        return "active" if self._ready.is_set() else "pending"

    @property
    def manager(self) -> Manager:
        """This node as a manager that knows the state.

        Raises: SwarmLocked, NotManager, NotReady, CertificatesExpired.
        """
        if self._keys is None:
            raise SwarmLocked
        if self.is_expired:
            raise CertificatesExpired
        if not self.is_manager:
            raise NotManager
        if self._manager is None or not self._manager.up.is_set():
            raise NotReady
        return self._manager

    @property
    def is_expired(self) -> bool:
        return certificates.valid_between(self.keys.certificate)[1] < dt.datetime.now(dt.UTC)

    def info(self) -> SwarmInfo:
        """The section of /info. Source: Cluster.Info of moby."""
        peers = [InfoPeer(peer.node_id, peer.addr) for peer in self.membership.managers]
        base = SwarmInfo(
            node_id=self.id if self._keys is not None else "",
            node_addr=split_port(self.membership.advertise)[0],
            local_node_state=self.local_state,
            error=str(SwarmLocked()) if self._keys is None else self._error,
            remote_managers=peers or None if self._keys is not None else None,
        )
        manager = self._manager
        if self._keys is None or manager is None or not manager.up.is_set():
            return base
        state = manager.store.state
        there = [manager.store.manager_status(id) for id in state.nodes]
        return replace(
            base,
            control_available=True,
            nodes=len(state.nodes),
            managers=sum(each is not None for each in there),
            cluster=cluster.inspect_info(manager) if state.cluster is not None else None,
            warnings=[cluster.TWO_MANAGERS] if sum(each is not None for each in there) == 2 else [],
        )

    # How it begins

    @classmethod
    async def init(cls, engine: Engine, body: SwarmInitBody) -> "Node":
        """A swarm with this node alone. Raises: BadAddress, InvalidParameter, System."""
        wish = cluster.init_spec(body)
        place = _place_of_init(engine, body, await in_thread(host_addresses))
        pools, size = check_pools(body.default_addr_pool, body.subnet_size)
        port = check_data_path_port(body.data_path_port)
        cluster.check_availability(body.availability)
        listener = _bound(place.listen)
        try:
            await in_thread(Books(engine.root).clear)
            born = birth.new_swarm(place, wish, pools, size, port, body.availability)
            node = cls(engine, born.membership, born.keys, born.unlock_key)
            node._listener = listener
            try:
                await node._start_manager()
                await node.manager.store.commit(born.writes)
                await node._save()
            except BaseException:
                await node._stop()
                await in_thread(node._books.clear)
                raise
        except BaseException:
            await listener.close()
            raise
        node._begin()
        await node._wait_ready(JOIN_LIMIT_S)
        return node

    @classmethod
    async def join(cls, engine: Engine, body: SwarmJoinBody) -> "Node":
        """Become a node of the swarm of a token.

        Raises: BadAddress, InvalidParameter, System; JoinTimeout does not end the attempt.
        """
        listen = with_listen(body.listen_addr)
        if not body.remote_addrs:
            raise InvalidParameter("at least 1 RemoteAddr is required to join")
        remotes = [_remote(addr) for addr in body.remote_addrs]
        cluster.check_availability(body.availability)
        host = await in_thread(host_addresses)
        listen_host, listen_port = resolve_listen(listen, host)
        advertise = ""
        if body.advertise_addr:
            advertise = join_port(*resolve_advertise(body.advertise_addr, listen_port, "", host))
        data_path = resolve_data_path(body.data_path_addr, host)
        token = parse_token(body.join_token)
        request, key = certificates.new_request()
        root, answer = await _admitted(remotes, token.digest, body, request)
        seen = advertise or join_port(answer.seen, listen_port)
        membership = Membership(
            node_id=answer.node_id,
            cluster_id=answer.cluster_id,
            root=answer.root or root,
            listen=join_port(listen_host, listen_port),
            advertise=seen,
            local=split_port(seen)[0],
            data_path=data_path,
            managers=answer.managers,
        )
        await in_thread(Books(engine.root).clear)
        node = cls(engine, membership, Keys(certificate=answer.certificate, key=key))
        try:
            if answer.role == "manager":
                await node._become_manager()
            await node._save()
        except BaseException:
            await node._stop()
            await in_thread(node._books.clear)
            raise
        node._begin()
        await node._wait_ready(JOIN_LIMIT_S)
        return node

    @classmethod
    async def resume(cls, engine: Engine) -> "Node":
        """Go on after a restart of the engine; nothing of it is waited for."""
        books = Books(engine.root)
        membership = await in_thread(books.membership)
        try:
            keys: Keys | None = await in_thread(books.keys)
        except SwarmLocked:
            keys = None
        node = cls(engine, membership, keys)
        if keys is not None:
            node._begin()
        return node

    def _begin(self) -> None:
        """Everything that lives as long as the node does."""
        if self.is_expired:
            self._error = str(CertificatesExpired())
            return
        if self.is_manager:
            self._managing = self._later.start(self._manage)
        self._agent = self._later.start(self._attend)
        self._renewing = self._later.start(self._keep_young)

    async def _wait_ready(self, limit_s: float) -> None:
        """Raises: JoinTimeout."""
        try:
            async with asyncio.timeout(limit_s):
                await self._ready.wait()
        except TimeoutError:
            raise JoinTimeout from None

    # How it ends

    async def close(self) -> None:
        """The engine ends; the node stays in its swarm."""
        await self._stop()

    async def leave(self, *, force: bool) -> None:
        """Out of the swarm. Raises: Unavailable when it would be missed, and not `force`."""
        if not force:
            await self._check_leave()
        if self._keys is not None and self.is_manager:
            await self._leave_managers()
        await self._stop()
        await self._remove_tasks()
        await in_thread(self._books.clear)

    async def _check_leave(self) -> None:
        """Source: Cluster.Leave of moby."""
        if self._keys is None:
            raise Unavailable(
                "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this "
                "message."
            )
        if not self.is_manager:
            return
        text = "You are attempting to leave the swarm on a node that is participating as a manager. "
        manager = self._manager
        if manager is None or not manager.up.is_set():
            text += "Doing so may lose the consensus of your cluster. "
        else:
            there = len(manager.store.managers)
            all_of_them = sum(node.role == "manager" for node in manager.store.state.nodes.values())
            if all_of_them == 1:
                raise Unavailable(
                    text
                    + "Removing the last manager erases all current state of the swarm. Use `--force` to "
                    "ignore this message. "
                )
            if there - 2 <= all_of_them - there:
                text += (
                    f"Removing this node leaves {there - 1} managers out of {all_of_them}. Without a Raft "
                    "quorum your swarm will be inaccessible. "
                )
        raise Unavailable(
            text + "The only way to restore a swarm that has lost consensus is to reinitialize it with "
            "`--force-new-cluster`. Use `--force` to suppress this message."
        )

    async def _leave_managers(self) -> None:
        """Take this node's vote out, so that the others are not one short; what cannot be is let be."""
        manager = self._manager
        if manager is None or len(manager.store.managers) < 2:
            return
        for peer in self._others():
            with contextlib.suppress(System, OSError):
                await ask(peer.addr, LEAVE_PATH, MemberWish(0), Done, self._client_context(), deadline_s=5.0)
                return

    async def _remove_tasks(self) -> None:
        """The containers of the node's tasks go with it, and networks."""
        await forget_all(self.engine.containers)

    async def _stop(self) -> None:
        """End everything; what was begun is ended in order: first who asks, then who answers."""
        for task in (self._agent, self._renewing, self._managing):
            if task is not None:
                await ended(task)
        await self._later.close(cancel=True)
        await self._stop_manager()
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    async def unlock(self, key: str) -> None:
        """Open the keys and go on. Raises: InvalidParameter, WrongUnlockKey."""
        unlock_key = parse_key(key)
        self._keys = await in_thread(self._books.keys, unlock_key)
        self._unlock_key = unlock_key
        self._begin()
        await self._wait_ready(JOIN_LIMIT_S)

    async def force_new_cluster(self, body: SwarmInitBody) -> None:
        """Go on alone with the state that this manager has: the others are lost.

        Raises: NotManager, BadAddress, InvalidParameter, System.
        """
        if self._keys is None:
            raise SwarmLocked
        if not self.is_manager:
            raise NotManager
        place = _place_of_init(self.engine, body, await in_thread(host_addresses))
        await self._stop()
        self._later, self._error = Background(), ""
        self.membership = replace(
            self.membership,
            listen=place.listen,
            advertise=place.advertise,
            local=place.local,
            data_path=place.data_path,
            managers=(),
        )
        self._listener = _bound(place.listen)
        await self._start_manager(force_new_cluster=True)
        await birth.forget_others(self.manager.store)
        await self._save()
        self._begin()

    # The manager

    async def _start_manager(
        self, *, join: ManagerAnswer | None = None, force_new_cluster: bool = False
    ) -> None:
        """Start to be a manager; returns when it is up. Raises: MemberEnded, System, OSError."""
        if self._listener is None:
            self._listener = _bound(self.membership.listen)
        manager = Manager(
            self.engine,
            self.membership,
            self.keys,
            self._listener,
            cluster=join.cluster if join else (),
            joins=join is not None,
            force_new_cluster=force_new_cluster,
        )
        context = await in_thread(self._server_context)
        running = asyncio.create_task(manager.run(context))
        up = asyncio.create_task(manager.up.wait())
        helping = [asyncio.create_task(self._ask_for_vote(join.member_id))] if join else []
        try:
            await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await ended(running)
            raise
        finally:
            up.cancel()
            for task in helping:
                task.cancel()
        if running.done():
            running.result()
        self._manager, self._running = manager, running
        self._settled.set()

    async def _ask_for_vote(self, member_id: int) -> None:
        """A member without a vote hears nothing: a manager that has one gives it, when it has caught up."""
        for peer in self._others():
            with contextlib.suppress(System):
                await ask(peer.addr, READY_PATH, MemberWish(member_id), Done, self._client_context())
                return

    async def _stop_manager(self) -> None:
        if self._manager is not None:
            await ended(self._running)
            self._manager = None
            self._settled.clear()

    async def _manage(self) -> None:
        """Be a manager as long as the node has the role, and again when it breaks."""
        delay_s = 0.2
        while True:
            try:
                if self._manager is None and self.keys.data_keys:
                    await self._start_manager()
                elif self._manager is None:
                    await self._become_manager()
                    await self._save()
                    log.info("op=change-role node=%s role=manager", self.id)
                assert self._manager is not None
                self._error, delay_s = "", 0.2
                keeping = asyncio.create_task(self._keep_books(self._manager))
                try:
                    await asyncio.wait({self._running})
                finally:
                    await ended(keeping)
                self._manager = None
                self._settled.clear()
                self._running.result()
            except (EngineError, OSError) as error:
                self._error = str(error)
                log.warning("manager: %s", error)
                if isinstance(error, MemberEnded | RemoteRefusal) and await self._is_demoted():
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _is_demoted(self) -> bool:
        """Whether the others say that this node is no manager any more; if so it is none from now on."""
        for _ in range(10):
            try:
                await self._renew(through_others=True)
            except RemoteRefusal as refusal:
                if "not found" in str(refusal):
                    self._error = "this node was removed from the swarm"
                    return True
            except System:
                return False
            if self.identity.role == "worker":
                self._error = ""
                log.info("op=change-role node=%s role=worker", self.id)
                self._settled.set()
                self._later.start(self._end_as_manager)
                return True
            await asyncio.sleep(0.5)
        return False

    async def _end_as_manager(self) -> None:
        """What only a manager has goes."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        await in_thread(birth.erase_member, self.engine)

    async def _become_manager(self) -> None:
        """From a worker with a manager's certificate to a manager. Raises: System, OSError."""
        if self._listener is None:
            self._listener = _bound(self.membership.listen)
        await in_thread(birth.erase_member, self.engine)
        request, key = certificates.new_request()
        wish = ManagerWish(
            request, peer_url(self.membership), _own_addresses(await in_thread(host_addresses))
        )
        answer = await self._ask_others(JOIN_PATH, wish, ManagerAnswer)
        self._unlock_key = answer.unlock_key
        self._keys = replace(
            self.keys,
            data_keys=answer.data_keys,
            peer_certificate=answer.peer_certificate,
            peer_key=key,
            peer_root=answer.peer_root,
        )
        await self._start_manager(join=answer)

    async def _keep_books(self, manager: Manager) -> None:
        """Seal the keys as the swarm wishes, and note how etcd is to be started, whenever that changes."""
        with manager.store.changes() as changes:
            while True:
                authority = manager.store.state.authority
                if authority is not None and authority.unlock_key != self._unlock_key:
                    self._unlock_key = authority.unlock_key
                    await self._save()
                cluster_now = manager.store.state.cluster
                if cluster_now is not None and cluster_now.spec.raft != self.membership.raft:
                    self.membership = replace(self.membership, raft=cluster_now.spec.raft)
                    await self._save()
                while not any(kind in _KEPT for kind, _ in await changes.next()):
                    pass

    # The agent

    async def connect(self) -> AgentChannel:
        """A session's channel: to this node's own manager, or to any other.

        Raises: ChannelClosed: whoever asks tries again a little later.
        """
        if self.is_manager:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MANAGER_PATIENCE_S):
                    await self._settled.wait()
            if self._manager is not None and self._manager.up.is_set():
                return _OwnFrames(self._manager.connect(), self)
        others = list(self._others())
        random.shuffle(others)
        problem = "no other manager is known"
        for peer in others:
            try:
                return _OwnFrames(await connect(peer.addr, await in_thread(self._client_context)), self)
            except ChannelClosed as closed:
                problem = str(closed)
        raise ChannelClosed(problem)

    async def _attend(self) -> None:
        agent = Agent(
            self.engine.containers,
            self.id,
            connect=self.connect,
            description=lambda: describe(self),
            data_path=lambda: self.membership.data_path or self.membership.local,
        )
        await agent.run()

    def heard(self, frame: ManagerFrame) -> bool:
        """Take what a manager says of the node itself; whether that was all of it."""
        match frame:
            case Welcome(managers=managers):
                self._ready.set()
                self._take_managers(managers)
                return False
            case ManagersChanged(managers=managers):
                self._take_managers(managers)
            case RoleChanged() | TrustChanged(renew=True):
                self._later.start(self._renew_soon)
            case TrustChanged(root=root):
                self._later.start(self._take_root, root)
            case Expelled():
                log.warning("this node was removed from the swarm")
                self._error = "this node was removed from the swarm"
                return False
            case _:
                return False
        return True

    def _take_managers(self, managers: Sequence[Peer]) -> None:
        if managers and tuple(managers) != self.membership.managers:
            self.membership = replace(self.membership, managers=tuple(managers))
            self._later.start(self._save)

    async def _take_root(self, root: str) -> None:
        async with self._changing:
            self.membership = replace(self.membership, root=root)
            await self._save()
            await self._use_certificate()

    async def _save(self) -> None:
        """Write the books as they are now; two writers would take each other's files."""
        async with self._writing:
            await in_thread(self._write_books)

    # The certificate

    async def _keep_young(self) -> None:
        """Renew the certificate when half of its life is over, or a little later. Source: SwarmKit."""
        while True:
            begin, end = certificates.valid_between(self.keys.certificate)
            at = begin + (end - begin) * random.uniform(0.5, 0.8)
            wait_s = max((at - dt.datetime.now(dt.UTC)).total_seconds(), 1.0)
            await asyncio.sleep(min(wait_s, 3600.0))
            if wait_s <= 3600.0:
                try:
                    await self._renew()
                except EngineError as error:
                    log.warning("renewing the certificate: %s", error)
                    await asyncio.sleep(10.0)

    async def _renew_soon(self) -> None:
        """A manager wants it: the role is another, or the root."""
        delay_s = 0.2
        while True:
            try:
                await self._renew()
                return
            except (EngineError, OSError) as error:
                log.warning("renewing the certificate: %s", error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _renew(self, *, through_others: bool = False) -> None:
        """Another certificate, and the role that it says. Raises: System, NotFound, NoLeader."""
        async with self._changing:
            request, key = certificates.new_request()
            wish = IssueWish(request)
            if self._manager is not None and self._manager.up.is_set() and not through_others:
                answer = await self._manager.issue(wish, self.identity, "")
            else:
                answer = await self._ask_others(ISSUE_PATH, wish, IssueAnswer)
            keys = replace(self.keys, certificate=answer.certificate, key=key)
            if answer.role == "worker":
                keys = Keys(certificate=answer.certificate, key=key)
                self._unlock_key = b""
            self._keys = keys
            self.membership = replace(self.membership, root=answer.root)
            await self._save()
            await self._use_certificate()
            if answer.role == "manager" and (self._managing is None or self._managing.done()):
                self._managing = self._later.start(self._manage)

    async def _use_certificate(self) -> None:
        """New connections show the new certificate, and the swarm hears of it."""
        if self._manager is not None and self._listener is not None:
            await self._listener.serve(await in_thread(self._server_context), self._manager)
        if self.session is not None:
            with contextlib.suppress(ChannelClosed):
                await self.session.send(self.hello())

    def hello(self) -> Hello:
        """What this node says of itself."""
        return Hello(describe(self), self.membership.data_path)

    # Its books, and whom it asks

    def _write_books(self) -> None:
        """Blocks for the disk. The membership is last: with it the node is one."""
        self._books.write_keys(self.keys, self._unlock_key)
        self._books.write_membership(self.membership)

    def _tls_files(self) -> tuple[str, str]:
        """Paths of certificate and key, written anew: TLS reads them from files only."""
        directory = self.engine.exec_root
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = directory / "node.crt", directory / "node.key"
        write_private(certificate, self.keys.certificate)
        write_private(key, self.keys.key)
        return str(certificate), str(key)

    def _server_context(self) -> ssl.SSLContext:
        return server_context(self.membership.root, *self._tls_files())

    def _client_context(self) -> ssl.SSLContext:
        return client_context(self.membership.root, *self._tls_files())

    def _others(self) -> list[Peer]:
        return [peer for peer in self.membership.managers if peer.node_id != self.id]

    async def _ask_others(self, path: str, wish: Struct, kind: type[T]) -> T:
        """What any other manager answers. Raises: Unreachable, RemoteRefusal."""
        problem: System = Unreachable("no other manager is known")
        context = await in_thread(self._client_context)
        for peer in self._others():
            try:
                return await ask(peer.addr, path, wish, kind, context)
            except Unreachable as error:
                problem = error
        raise problem


class _OwnFrames:
    """The agent's channel without what is said to the node."""

    def __init__(self, channel: AgentChannel, node: Node) -> None:
        self._channel, self._node = channel, node
        self.silence_s = channel.silence_s
        node.session = self

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


def with_listen(text: str) -> str:
    """The listening address with its defaults. Raises: InvalidParameter."""
    try:
        return with_defaults(text)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid ListenAddr "{text}": {error}') from None


def _remote(text: str) -> str:
    try:
        return with_defaults(text)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid remoteAddr "{text}": {error}') from None


def _place_of_init(engine: Engine, body: SwarmInitBody, host: Sequence[HostAddress]) -> Place:
    """Raises: BadAddress, InvalidParameter."""
    listen_host, port = resolve_listen(with_listen(body.listen_addr), host)
    advertise = resolve_advertise(body.advertise_addr, port, engine.default_advertise_addr, host)
    data_path = resolve_data_path(body.data_path_addr, host)
    local = local_address(listen_host, advertise[0], host)
    return Place(join_port(listen_host, port), join_port(*advertise), local, data_path)


def _own_addresses(host: Sequence[HostAddress]) -> tuple[str, ...]:
    """Those that the other members of etcd may see this one come from."""
    return tuple(sorted({str(each.address) for each in host if not each.address.is_link_local}))


def _bound(listen: str) -> Listener:
    """Raises: System in dockerd's words."""
    host, port = split_port(listen)
    try:
        return Listener(bind(host, int(port)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise System(
            f"manager stopped: failed to listen on remote API address: listen tcp {listen}: bind: {reason}"
        ) from error


async def _admitted(
    remotes: Sequence[str], digest: str, body: SwarmJoinBody, request: str
) -> tuple[str, IssueAnswer]:
    """The root, and the certificate that one of the managers gives. Raises: System."""
    problem: System | None = None
    for addr in remotes:
        try:
            root = await fetch_root(addr, digest)
            wish = IssueWish(request, body.join_token, body.availability)
            return root, await ask(addr, ISSUE_PATH, wish, IssueAnswer, client_context(root))
        except Unreachable as error:
            problem = error
    assert problem is not None
    raise problem
