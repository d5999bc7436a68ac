"""A thin client of etcd over its unix socket: calls, one watch, one lease. Nothing here knows what is stored.

gRPC costs about 25 MB and half a second to import: only a manager does, and outside of the event loop's
thread.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

# The engine starts processes all the time, and gRPC would look after each fork. Before the import: it reads
# it once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio

from lighterman.errdefs import System, Unavailable
from lighterman.swarm.errors import NoLeader
from lighterman.swarm.store import etcd_pb2 as pb

EtcdMember = pb.Member
DEADLINE_S = 5.0
"""A put without a majority would hang for 7 s in etcd."""
PAGE = 1000
NO_SPACE = 1
"""The alarm of etcd."""
_DEFRAGMENT_S = 60.0
EVERYTHING = b"\0"
"""As key and as range end: all keys there are."""
_OPTIONS = (
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", -1),  # a page of secrets is larger than the default of 4 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_FULL = "database space exceeded"
_GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...


T = TypeVar("T")


class OutcomeUnknown(NoLeader):
    """The majority did not answer in time: what was asked for may still be done."""


class Closed(OutcomeUnknown):
    """This manager is ending."""


class Refused(System):
    """etcd said no."""


class StoreFull(Unavailable, Refused):
    """What etcd may hold is used up, on one member at least: it takes nothing in but deletions."""

    def __init__(self) -> None:
        super().__init__(
            "rpc error: code = ResourceExhausted desc = the swarm's store is full: nothing can be written "
            "down before there is room again"
        )


class Compacted(Exception):
    """A watch from a revision whose history is gone: read everything again."""


def range_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _failure(error: grpc.aio.AioRpcError | grpc.aio.UsageError) -> BaseException:
    """What to raise for it.

    A call that fails at the moment of its cancellation tells of the failure only: whoever tries again for
    ever would not end.
    """
    if (me := asyncio.current_task()) is not None and me.cancelling():
        return asyncio.CancelledError()
    if isinstance(error, grpc.aio.UsageError):  # of a channel that is closed
        return Closed()
    if error.code() in _GONE or (error.details() or "").startswith("context "):  # the deadline, over there
        return OutcomeUnknown()
    if _FULL in (error.details() or ""):
        return StoreFull()
    return Refused(f"etcd: {error.details()}")


class Etcd:
    """One etcd, that of this manager."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)

    async def close(self) -> None:
        await self._channel.close()

    async def _call(
        self,
        method: str,
        request: _Message,
        kind: type[T],
        *,
        deadline_s: float = DEADLINE_S,
        wait: bool = False,
    ) -> T:
        call = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=lambda message: cast(bytes, message.SerializeToString()),
            response_deserializer=cast(Any, kind).FromString,
        )
        try:
            return cast(T, await call(request, timeout=deadline_s, wait_for_ready=wait))
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise _failure(error) from None

    # Keys

    async def txn(self, request: pb.TxnRequest, *, deadline_s: float = DEADLINE_S) -> pb.TxnResponse:
        """Raises: OutcomeUnknown, Refused."""
        return await self._call("KV/Txn", request, pb.TxnResponse, deadline_s=deadline_s)

    async def put(
        self, key: bytes, value: bytes, *, deadline_s: float = DEADLINE_S, wait: bool = False
    ) -> int:
        """The revision. Raises: OutcomeUnknown, Refused."""
        request = pb.PutRequest(key=key, value=value)
        done = await self._call("KV/Put", request, pb.PutResponse, deadline_s=deadline_s, wait=wait)
        return done.header.revision

    async def everything(self) -> tuple[int, list[pb.KeyValue]]:
        """All keys as they are at one revision, read from a majority. Raises: OutcomeUnknown, Refused."""
        key, revision, found = EVERYTHING, 0, list[pb.KeyValue]()
        while True:
            request = pb.RangeRequest(key=key, range_end=EVERYTHING, limit=PAGE, revision=revision)
            page = await self._call("KV/Range", request, pb.RangeResponse)
            revision = revision or page.header.revision
            found.extend(page.kvs)
            if not page.more:
                return revision, found
            key = page.kvs[-1].key + b"\0"

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision`. Raises: OutcomeUnknown, Refused."""
        await self._call(
            "KV/Compact", pb.CompactRequest(revision=revision, physical=True), pb.CompactResponse
        )

    async def watch(self, start_revision: int) -> AsyncIterator[list[pb.Event]]:
        """Everything that happens from `start_revision` on, revision by revision, for ever.

        Raises: Compacted, OutcomeUnknown, Refused.
        """
        call = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )(wait_for_ready=True)
        wanted = pb.WatchCreate(
            key=EVERYTHING, range_end=EVERYTHING, start_revision=start_revision, fragment=True
        )
        try:
            await call.write(pb.WatchRequest(create=wanted))
            events: list[pb.Event] = []
            while (answer := await call.read()) is not grpc.aio.EOF:
                if answer.compact_revision:
                    raise Compacted
                if answer.canceled:
                    raise Refused(f"etcd: {answer.cancel_reason}")
                events.extend(answer.events)
                if events and not answer.fragment:
                    yield events
                    events = []
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise _failure(error) from None
        finally:
            call.cancel()
        raise OutcomeUnknown

    # Leases

    async def grant(self, ttl_s: int) -> int:
        """A lease's id. Raises: OutcomeUnknown, Refused."""
        made = await self._call("Lease/LeaseGrant", pb.LeaseGrantRequest(ttl=ttl_s), pb.LeaseGrantResponse)
        return made.id

    async def keep_alive(self, lease: int, *, deadline_s: float) -> int:
        """Prolong the lease; the seconds it has now, 0 if it is over. Raises: OutcomeUnknown, Refused."""
        call = self._channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=pb.LeaseRequest.SerializeToString,
            response_deserializer=pb.LeaseAlive.FromString,
        )(timeout=deadline_s)
        try:
            await call.write(pb.LeaseRequest(id=lease))
            answer = await call.read()
            return 0 if answer is grpc.aio.EOF else answer.ttl
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise _failure(error) from None
        finally:
            call.cancel()

    async def revoke(self, lease: int, *, deadline_s: float) -> None:
        """End the lease, and with it the keys that it holds. Raises: OutcomeUnknown, Refused."""
        request = pb.LeaseRequest(id=lease)
        await self._call("Lease/LeaseRevoke", request, pb.LeaseRevokeResponse, deadline_s=deadline_s)

    # Members

    async def status(self, *, deadline_s: float = DEADLINE_S, wait: bool = False) -> pb.StatusResponse:
        """What this member knows of itself. Raises: OutcomeUnknown, Refused."""
        return await self._call(
            "Maintenance/Status", pb.Empty(), pb.StatusResponse, deadline_s=deadline_s, wait=wait
        )

    async def members(self) -> list[pb.Member]:
        """Raises: OutcomeUnknown, Refused."""
        return list((await self._call("Cluster/MemberList", pb.Empty(), pb.MembersResponse)).members)

    async def add_learner(self, peer_url: str) -> tuple[int, list[pb.Member]]:
        """A member without a vote: its id, and all members. Raises: OutcomeUnknown, Refused."""
        request = pb.MemberAddRequest(peer_urls=[peer_url], is_learner=True)
        made = await self._call("Cluster/MemberAdd", request, pb.MemberAddResponse)
        return made.member.id, list(made.members)

    async def promote(self, member_id: int) -> None:
        """Give a learner its vote. Raises: Refused while it has not caught up, OutcomeUnknown."""
        await self._call("Cluster/MemberPromote", pb.MemberRequest(id=member_id), pb.MembersResponse)

    async def remove(self, member_id: int) -> None:
        """Take a member out, unless it is gone already: lists are not of the last moment.

        Raises: OutcomeUnknown, Refused.
        """
        try:
            await self._call("Cluster/MemberRemove", pb.MemberRequest(id=member_id), pb.MembersResponse)
        except Refused as error:
            if "member not found" not in str(error):
                raise

    async def move(self, member_id: int, peer_urls: Sequence[str]) -> None:
        """Other addresses for a member. Raises: OutcomeUnknown, Refused."""
        request = pb.MemberUpdateRequest(id=member_id, peer_urls=peer_urls)
        await self._call("Cluster/MemberUpdate", request, pb.MembersResponse)

    async def move_leader(self, member_id: int) -> None:
        """Let another member lead the consensus; asked of its leader only. Raises: OutcomeUnknown,
        Refused.
        """
        await self._call(
            "Maintenance/MoveLeader", pb.MoveLeaderRequest(target_id=member_id), pb.MembersResponse
        )

    # Upkeep

    async def snapshot(self) -> AsyncIterator[bytes]:
        """The whole database as it is now. Raises: OutcomeUnknown, Refused."""
        call = self._channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=pb.Empty.SerializeToString,
            response_deserializer=pb.SnapshotResponse.FromString,
        )(pb.Empty())
        try:
            async for part in call:
                yield part.blob
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise _failure(error) from None

    async def full_members(self) -> list[int]:
        """The members that have no space left, by id. Raises: OutcomeUnknown, Refused."""
        answer = await self._call("Maintenance/Alarm", pb.AlarmRequest(), pb.AlarmResponse)
        return [each.member_id for each in answer.alarms if each.alarm == NO_SPACE]

    async def disarm(self, member_id: int) -> None:
        """This member has space again. Raises: OutcomeUnknown, Refused."""
        off = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, member_id=member_id, alarm=NO_SPACE)
        await self._call("Maintenance/Alarm", off, pb.AlarmResponse)

    async def defragment(self) -> None:
        """Let the file of this member be as small as what is in it; it answers nobody meanwhile.

        Raises: OutcomeUnknown, Refused.
        """
        await self._call("Maintenance/Defragment", pb.Empty(), pb.Empty, deadline_s=_DEFRAGMENT_S)
