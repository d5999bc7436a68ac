"""From writes to one transaction of etcd, and from its refusal to the reason. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from lighterman.errdefs import System
from lighterman.swarm.state import Delete, Kind, Put, State, Write
from lighterman.swarm.state.state import name_of
from lighterman.swarm.store import etcd_pb2 as pb
from lighterman.swarm.store import keys
from lighterman.swarm.store.keyring import Keyring

_encode = msgspec.msgpack.Encoder().encode


class NameTaken(Exception):
    """Another object of the kind has the name."""

    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"{kind} {name} exists")
        self.kind, self.name = kind, name


class OutOfSequence(System):
    """Somebody was faster: the object is not what the write expected. Source: SwarmKit's store."""

    def __init__(self, kind: Kind, id: str) -> None:
        super().__init__("rpc error: code = Unknown desc = update out of sequence")
        self.kind, self.id = kind, id


class Fenced(System):
    """This manager leads no more: whatever it decided is not to be."""

    def __init__(self) -> None:
        super().__init__("rpc error: code = Unknown desc = this manager is not the leader any more")


class Planned(Struct, frozen=True):
    """A transaction, and what each of its conditions stands for."""

    request: pb.TxnRequest
    reasons: tuple[Exception, ...]

    def refusal(self, answer: pb.TxnResponse) -> Exception:
        """Why the transaction was not done: the first condition that does not hold."""
        for compare, reason, found in zip(self.request.compare, self.reasons, answer.responses, strict=True):
            kvs = found.range.kvs
            is_create = compare.target == pb.Compare.CREATE
            real = (kvs[0].create_revision if is_create else kvs[0].mod_revision) if kvs else 0
            if real != (compare.create_revision if is_create else compare.mod_revision):
                return reason
        return System("the swarm's store refused a write for no reason")


class _Plan:
    def __init__(self) -> None:
        self.request = pb.TxnRequest()
        self.reasons: list[Exception] = []

    def when(self, compare: pb.Compare, reason: Exception) -> None:
        self.request.compare.append(compare)
        self.request.failure.append(pb.Op(range=pb.RangeRequest(key=compare.key, keys_only=True)))
        self.reasons.append(reason)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        self.request.success.append(pb.Op(put=pb.PutRequest(key=key, value=value, lease=lease)))

    def delete(self, key: bytes) -> None:
        self.request.success.append(pb.Op(delete=pb.DeleteRequest(key=key)))


def planned(
    writes: Sequence[Write], *, state: State, keyring: Keyring, lease: int, term: int | None
) -> Planned:
    """All `writes` or none. `state` is what this manager knows (names that go); `lease` is this manager's.

    With `term`, the revision at which this manager has come to lead, it is done only while it still does.
    """
    plan = _Plan()
    if term is not None:
        compare = pb.Compare(target=pb.Compare.CREATE, key=keys.LEADER, create_revision=term)
        plan.when(compare, Fenced())
    for write in writes:
        key = keys.object_key(write.kind, write.id)
        if write.expect is not None:
            compare = pb.Compare(target=pb.Compare.MOD, key=key, mod_revision=write.expect)
            plan.when(compare, OutOfSequence(write.kind, write.id))
        old = state.get(write.kind, write.id)
        old_name = "" if old is None else name_of(write.kind, old)
        match write:
            case Put(kind, value):
                plan.put(key, keyring.seal(key, _encode(value)), lease if kind in keys.LEASED else 0)
                new_name = name_of(kind, value)
            case Delete():
                plan.delete(key)
                new_name = ""
        if old_name and old_name != new_name:
            plan.delete(keys.name_key(write.kind, keyring.name_key(old_name)))
        if new_name and old_name != new_name:
            name = keys.name_key(write.kind, keyring.name_key(new_name))
            compare = pb.Compare(target=pb.Compare.CREATE, key=name, create_revision=0)
            plan.when(compare, NameTaken(write.kind, new_name))
            plan.put(name, write.id.encode())
    return Planned(plan.request, tuple(plan.reasons))
