"""The swarm's memory: etcd, one process beside each manager, and what makes it usable.

Four words. The *mirror* is all of etcd in this manager's memory: reads never ask. A *lease* is a manager's
sign of life: what it holds is gone two seconds after the manager is. The *leader* is who holds one certain
key; its *term*, the revision of that key, stands in each of its transactions, so that a leader that has
slept writes nothing.

`member` is the process, `client` speaks with it, `keyring` seals every value, `transaction` makes
conditions of writes, `store` holds it together. gRPC and protobuf are known here only.
"""

from lighterman.swarm.store.client import Etcd, EtcdMember, OutcomeUnknown, Refused, StoreFull
from lighterman.swarm.store.keyring import DataKey, Keyring, new_data_key
from lighterman.swarm.store.member import TICK_MS, Member, MemberConfig, removal_keeps_quorum
from lighterman.swarm.store.store import AskForKeys, Changes, Lead, ManagerRecord, Store
from lighterman.swarm.store.transaction import Fenced, NameTaken, OutOfSequence

__all__ = [
    "TICK_MS",
    "AskForKeys",
    "Changes",
    "DataKey",
    "Etcd",
    "EtcdMember",
    "Fenced",
    "Keyring",
    "Lead",
    "ManagerRecord",
    "Member",
    "MemberConfig",
    "NameTaken",
    "OutOfSequence",
    "OutcomeUnknown",
    "Refused",
    "Store",
    "StoreFull",
    "new_data_key",
    "removal_keeps_quorum",
]
