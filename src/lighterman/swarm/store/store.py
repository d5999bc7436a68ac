"""The swarm's memory as a manager has it: a mirror to read from, transactions to write with.

Reads are plain lookups in `state`. A write returns when the mirror has seen it, so that whoever wrote reads
what he wrote. `changes` tells loops what is different; `lead` runs while this manager is the one that
decides.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

import msgspec

from lighterman.apitypes.swarm import ManagerStatus
from lighterman.errdefs import System
from lighterman.swarm.errors import NoLeader
from lighterman.swarm.state import Authority, Change, Kind, Put, State, Stored, Write
from lighterman.swarm.state.state import TYPES, Key
from lighterman.swarm.store import etcd_pb2 as pb
from lighterman.swarm.store import keys
from lighterman.swarm.store.client import Closed, Compacted, Etcd, OutcomeUnknown, Refused, range_end
from lighterman.swarm.store.keyring import DataKey, Keyring, UnknownKey
from lighterman.swarm.store.transaction import Fenced, planned

LEASE_S = 2
"""The shortest that etcd grants with its election time; a leader that dies is missed for so long."""
_KEEP_ALIVE_S = 0.5
_CATCH_UP_S = 10.0
_RETRY_S = 0.2
_ANSWER_S = 1.5
PATIENCE_S = 5.0
"""For one write, while the members have no leader."""
_PARTING_S = 0.5
_LOOK_FOR_ROOM_S = 10.0
_ROOM = 0.9
"""So full at most is a store that takes something in again."""
_STAND_BACK_S = 10.0
"""After a manager has resigned, another is to lead."""
log = logging.getLogger(__name__)

Lead = Callable[["Store"], Awaitable[None]]
AskForKeys = Callable[[], Awaitable[Iterable[DataKey]]]
"""The data keys that other managers have: some were made while this one was away."""


class ManagerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A manager that is there, as it tells the others."""

    addr: str
    """host:port of its listener."""
    member_id: int = 0
    version: str = ""


class _Leader(NamedTuple):
    """Who leads; `term` is the revision of its election, 0 without a leader."""

    node_id: str = ""
    term: int = 0
    lease: int = 0


class Changes:
    """What has become different since somebody looked last."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()
        self._some = asyncio.Event()

    def add(self, changed: Iterable[Key]) -> None:
        self._keys.update(changed)
        if self._keys:
            self._some.set()

    async def next(self) -> frozenset[Key]:
        """Wait for something; all keys since the last time, each once."""
        await self._some.wait()
        return self.pending()

    def pending(self) -> frozenset[Key]:
        """All keys since the last time, perhaps none."""
        self._some.clear()
        found, self._keys = frozenset(self._keys), set()
        return found


class Store:
    """A manager's copy of the state, kept up with etcd while `run` goes on."""

    def __init__(
        self,
        etcd: Etcd,
        keyring: Keyring,
        *,
        node_id: str,
        addr: str,
        version: str,
        ask_for_keys: AskForKeys | None = None,
    ) -> None:
        self.state = State()
        self.etcd = etcd
        self.node_id = node_id
        self.keyring = keyring
        self._ask_for_keys = ask_for_keys
        self._record = ManagerRecord(addr, version=version)
        self._decoders = {kind: msgspec.msgpack.Decoder(type_) for kind, type_ in TYPES.items()}
        self._revision = 0
        self._moved = asyncio.Condition()
        self._subscribers: set[Changes] = set()
        self._lease = 0
        self._lease_until_s = 0.0
        self._leader = _Leader()
        self._managers: dict[str, ManagerRecord] = {}
        self._last_addrs: dict[str, str] = {}  # of managers, those that are away too
        self._caught_up = asyncio.Event()
        self._vacant = asyncio.Event()  # nobody leads
        self._granted = asyncio.Event()
        self._stands_back_until_s = 0.0
        self.is_full = False
        """Whether nothing can be written down for want of space; see `keep_room`."""

    # Reading

    @property
    def is_leader(self) -> bool:
        """Whether this manager decides, as far as it knows; `fenced` writes are safe in any case."""
        return (
            bool(self._lease) and self._leader.lease == self._lease and time.monotonic() < self._lease_until_s
        )

    @property
    def leader_id(self) -> str:
        """The node id of the leader; "" when there is none just now."""
        return self._leader.node_id

    @property
    def has_quorum(self) -> bool:
        """Whether etcd has answered this manager lately: without a majority it does not."""
        return time.monotonic() < self._lease_until_s

    @property
    def managers(self) -> Mapping[str, ManagerRecord]:
        """The managers that are there, by node id."""
        return self._managers

    def manager_status(self, node_id: str) -> ManagerStatus | None:
        """What the API tells of a manager, whether it is there or only should be; None of a worker."""
        record = self._managers.get(node_id)
        if record is not None:
            return ManagerStatus(leader=node_id == self.leader_id, reachability="reachable", addr=record.addr)
        node, status = self.state.nodes.get(node_id), self.state.node_statuses.get(node_id)
        if node is None or node.role != "manager":
            return None
        addr = self._last_addrs.get(node_id) or f"{status.addr if status else ''}:2377"
        return ManagerStatus(reachability="unreachable", addr=addr)

    @contextlib.contextmanager
    def changes(self) -> Iterator[Changes]:
        """A subscription for as long as the block lasts."""
        made = Changes()
        self._subscribers.add(made)
        try:
            yield made
        finally:
            self._subscribers.discard(made)

    async def ready(self) -> None:
        """Wait until the mirror holds everything, once."""
        await self._caught_up.wait()

    async def another_lease(self, known: int) -> int:
        """Wait until this manager holds a lease that is not `known`: what the former held is gone."""
        while self._lease in (0, known):
            await self._granted.wait()
            if self._lease in (0, known):
                self._granted.clear()
        return self._lease

    # Writing

    async def commit(
        self, writes: Sequence[Write], *, fenced: bool = False, patience_s: float = PATIENCE_S
    ) -> int:
        """Do all `writes` or none; the revision that they have made. Returns when `state` shows them.

        `fenced` is for the leader's decisions: they are done only while it leads. `patience_s` is for members
        without a leader.

        Raises: NameTaken, OutOfSequence, Fenced, NoLeader; OutcomeUnknown when it may or may not be done.
        """
        if not writes:
            return self._revision
        term = None
        if fenced:
            if not self.is_leader:
                raise Fenced
            term = self._leader.term
        if not self._lease and any(write.kind in keys.LEASED for write in writes):
            raise NoLeader
        plan = planned(writes, state=self.state, keyring=self.keyring, lease=self._lease, term=term)
        answer, tries = await self._transact(plan.request, patience_s)
        await self._see(answer.header.revision)  # whoever is refused and tries again shall see why
        if not answer.succeeded and not (tries > 1 and self._shows(writes)):
            raise plan.refusal(answer)
        return int(answer.header.revision)

    async def _transact(self, request: pb.TxnRequest, patience_s: float) -> tuple[pb.TxnResponse, int]:
        """The answer, and how often it was asked for: what is on its way to a member that dies is lost, or
        not.

        Raises: OutcomeUnknown, Refused.
        """
        until_s, tries = time.monotonic() + patience_s, 0
        while True:
            tries += 1
            try:
                return await self.etcd.txn(request, deadline_s=min(_ANSWER_S, patience_s)), tries
            except OutcomeUnknown as error:
                if isinstance(error, Closed) or time.monotonic() >= until_s:
                    raise
            await asyncio.sleep(_RETRY_S)

    def _shows(self, writes: Sequence[Write]) -> bool:
        """Whether everything is as it was to be written: a try whose answer was lost has done it."""
        return all(
            self.state.get(write.kind, write.id) == (write.value if isinstance(write, Put) else None)
            for write in writes
        )

    async def _see(self, revision: int) -> None:
        """Wait until the mirror has come to `revision`."""
        try:
            async with asyncio.timeout(_CATCH_UP_S), self._moved:
                await self._moved.wait_for(lambda: self._revision >= revision)
        except TimeoutError:
            raise OutcomeUnknown from None

    # The mirror

    async def mirror(self) -> None:
        """Keep the state up with etcd, for ever."""
        while True:
            try:
                await self._read_everything()
                async for events in self.etcd.watch(self._revision + 1):
                    await self._take(events)
            except Compacted:
                log.warning("the swarm's store has forgotten what this manager missed: reading it anew")
            except NoLeader:
                await asyncio.sleep(_RETRY_S)
            except Refused as error:
                log.warning("%s", error)
                await asyncio.sleep(_RETRY_S)
            except UnknownKey:
                if self._ask_for_keys is None or not self.keyring.adopt(await self._ask_for_keys()):
                    raise

    async def _read_everything(self) -> None:
        """All objects as they are now: for the start, and after a gap."""
        revision, found = await self.etcd.everything()
        events = [pb.Event(type=pb.Event.PUT, kv=kv) for kv in found]
        there = {kv.key for kv in found}
        events += [
            pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=key, mod_revision=revision))
            for key in self._known_keys()
            if key not in there
        ]
        await self._take(events, up_to=revision)
        self._caught_up.set()

    def _known_keys(self) -> list[bytes]:
        return [
            *(keys.object_key(kind, id) for kind, id in self.state),
            *(keys.MANAGERS + id.encode() for id in self._managers),
            *([keys.LEADER] if self._leader.node_id else []),
        ]

    async def _take(self, events: Sequence[pb.Event], up_to: int = 0) -> None:
        changed = set[Key]()
        for event in events:
            key, is_put = event.kv.key, event.type == pb.Event.PUT
            if key == keys.LEADER:
                former, kv = self._leader, event.kv
                self._leader = (
                    _Leader(kv.value.decode(), kv.create_revision, kv.lease) if is_put else _Leader()
                )
                (self._vacant.clear if is_put else self._vacant.set)()
                changed |= {(Kind.NODE, id) for id in (former.node_id, self._leader.node_id) if id}
            elif key.startswith(keys.MANAGERS):
                node_id = key.removeprefix(keys.MANAGERS).decode()
                self._take_manager(node_id, event.kv.value if is_put else b"")
                changed.add((Kind.NODE, node_id))
            elif (place := keys.parse_object_key(key)) is not None:
                kind, id = place
                value = self._opened(kind, key, event.kv.value) if is_put else None
                if isinstance(value, Authority):
                    self.keyring.use(value.data_key)
                changed.add(self.state.apply(Change(kind, id, value, event.kv.mod_revision)))
        self._revision = max(self._revision, up_to, *(event.kv.mod_revision for event in events), 0)
        async with self._moved:
            self._moved.notify_all()
        for subscriber in self._subscribers:
            subscriber.add(changed)

    # Room

    async def keep_room(self, quota_bytes: int) -> NoReturn:
        """See to it that the store takes something in again after it was full, for ever."""
        while True:
            with contextlib.suppress(NoLeader, Refused):
                full = await self.etcd.full_members()
                if full and not self.is_full:
                    log.error("the swarm's store is full: nothing can be written down")
                if full:
                    self.is_full = True
                    full = await self.make_room(quota_bytes, full)
                if self.is_full and not full:
                    log.warning("the swarm's store has room again")
                self.is_full = bool(full)
            await asyncio.sleep(_LOOK_FOR_ROOM_S)

    async def make_room(self, quota_bytes: int, full: Sequence[int]) -> list[int]:
        """Forget the history, and give back what it took on this member; those of `full` that are full still.

        Raises: NoLeader, Refused.
        """
        with contextlib.suppress(Refused):  # another manager has done it already
            await self.etcd.compact(self._revision)
        await self.etcd.defragment()
        status = await self.etcd.status()
        own = status.header.member_id
        if own in full and status.db_size < _ROOM * quota_bytes:
            await self.etcd.disarm(own)
        return await self.etcd.full_members()

    async def sealed_otherwise(self) -> list[tuple[Kind, str, int]]:
        """Objects that are not sealed with the key that seals now: kind, id and revision. What goes with a
        lease is none of them. Raises: NoLeader, Refused.
        """
        _, found = await self.etcd.everything()
        return [
            (*place, kv.mod_revision)
            for kv in found
            if not self.keyring.is_current(kv.value)
            and (place := keys.parse_object_key(kv.key)) is not None
            and place[0] not in keys.LEASED
        ]

    def _opened(self, kind: Kind, key: bytes, sealed: bytes) -> Stored:
        """Raises: UnknownKey; System: of a manager that is too new for this one, or forged."""
        try:
            return self._decoders[kind].decode(self.keyring.open(key, sealed))
        except msgspec.MsgspecError as error:
            raise System(f"the swarm's store holds {key.decode()} in a form that is not known") from error

    def _take_manager(self, node_id: str, record: bytes) -> None:
        if record:
            self._managers[node_id] = msgspec.msgpack.decode(record, type=ManagerRecord)
            self._last_addrs[node_id] = self._managers[node_id].addr
        else:
            self._managers.pop(node_id, None)

    # The lease, and who leads

    async def serve(self, lead: Lead) -> None:
        """Be there for the others, for ever; run `lead` whenever this manager is the leader."""
        while True:
            try:
                await self._hold_lease(lead)
            except (NoLeader, Refused) as error:
                log.debug("lease: %s", error)
            self._lease, self._lease_until_s = 0, 0.0
            await asyncio.sleep(_RETRY_S)

    async def _hold_lease(self, lead: Lead) -> None:
        """One lease, from its grant to its loss."""
        began_s = time.monotonic()
        self._lease = await self.etcd.grant(LEASE_S)
        self._lease_until_s = began_s + LEASE_S
        self._granted.set()
        status = await self.etcd.status()
        self._record = msgspec.structs.replace(self._record, member_id=status.header.member_id)
        await self._register()
        leading: asyncio.Task[None] | None = None
        try:
            while True:
                if leading is not None and (leading.done() or not self.is_leader):
                    await _ended(leading)
                    leading = None
                if leading is None and await self._win():
                    leading = asyncio.create_task(self._lead(lead))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        await self._vacant.wait()
                await self._prolong()
        finally:
            if leading is not None:
                await _ended(leading)
            await self._let_go()

    async def forget_managers(self) -> None:
        """Nobody leads, and no manager is there, until they say so: their leases would hold that for a while.

        Raises: NoLeader.
        """
        gone = [
            pb.DeleteRequest(key=keys.LEADER),
            pb.DeleteRequest(key=keys.MANAGERS, range_end=range_end(keys.MANAGERS)),
        ]
        await self.etcd.txn(pb.TxnRequest(success=[pb.Op(delete=each) for each in gone]))
        if self._lease:
            await self._register()

    async def resign(self) -> None:
        """Let another manager lead. Raises: Fenced, NoLeader."""
        self._stands_back_until_s = time.monotonic() + _STAND_BACK_S
        await self._clear_leader()
        raise Fenced

    async def _clear_leader(self) -> None:
        term = pb.Compare(target=pb.Compare.CREATE, key=keys.LEADER, create_revision=self._leader.term)
        gone = pb.Op(delete=pb.DeleteRequest(key=keys.LEADER))
        await self.etcd.txn(pb.TxnRequest(compare=[term], success=[gone]))

    async def _register(self) -> None:
        key = keys.MANAGERS + self.node_id.encode()
        put = pb.PutRequest(key=key, value=msgspec.msgpack.encode(self._record), lease=self._lease)
        await self.etcd.txn(pb.TxnRequest(success=[pb.Op(put=put)]))

    async def _prolong(self) -> None:
        """Raises: OutcomeUnknown when the lease is over, or nobody could prolong it in time."""
        while True:
            began_s = time.monotonic()
            with contextlib.suppress(NoLeader):
                if not await self.etcd.keep_alive(
                    self._lease, deadline_s=max(self._lease_until_s - began_s, 0.1)
                ):
                    raise Refused("the lease is over")
                self._lease_until_s = began_s + LEASE_S
                return
            if time.monotonic() >= self._lease_until_s:
                raise OutcomeUnknown
            await asyncio.sleep(_RETRY_S)

    async def _win(self) -> bool:
        """Become the leader if there is none; whether this manager leads now."""
        if time.monotonic() < self._stands_back_until_s:
            return False
        former = self._leader
        if former.node_id == self.node_id and former.lease != self._lease:
            # It is of a life before this one, and would go with that one's lease.
            await self._clear_leader()
        elif former.node_id:
            return self.is_leader
        put = pb.PutRequest(key=keys.LEADER, value=self.node_id.encode(), lease=self._lease)
        free = pb.Compare(target=pb.Compare.CREATE, key=keys.LEADER, create_revision=0)
        answer = await self.etcd.txn(pb.TxnRequest(compare=[free], success=[pb.Op(put=put)]))
        # Only who has seen everything up to its election may decide.
        await self._see(answer.header.revision)
        return self.is_leader

    async def _lead(self, lead: Lead) -> None:
        log.info("op=lead-swarm node=%s", self.node_id)
        try:
            await lead(self)
        except Fenced:
            log.info("op=lead-swarm node=%s outcome=fenced", self.node_id)
        except (NoLeader, Refused) as error:
            log.warning("leading the swarm: %s", error)

    async def _let_go(self) -> None:
        """Leave at once what the lease would hold until it runs out."""
        lease, self._lease, self._lease_until_s = self._lease, 0, 0.0
        with contextlib.suppress(NoLeader, Refused):
            await self.etcd.revoke(lease, deadline_s=_PARTING_S)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait; its failure is told."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        # A leader that fails is a leader no more; it tries again with the next lease.
        log.error("leading the swarm failed", exc_info=error)
