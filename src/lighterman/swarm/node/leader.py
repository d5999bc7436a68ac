"""What the leader does for the cluster itself; services are the matter of `orchestrate`.

Roles: a node whose wish says manager gets the role, and asks for the rest; one whose wish says so no more
is taken out of etcd first, while it still runs, and only then loses its role: so no majority is ever lost
by a demotion. The consensus is led by another member than the swarm: then a host that dies takes one leader
with it, not both, which halves the time until the next one decides.
"""

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from lighterman.apitypes.swarm import JoinTokens
from lighterman.lib.effects import Group
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.tokens import new_token
from lighterman.swarm.errors import NoLeader
from lighterman.swarm.node import data_keys, rotation
from lighterman.swarm.orchestrate.lead import lead as orchestrate
from lighterman.swarm.state import Kind, Node, Put, State, Write
from lighterman.swarm.store import Lead, OutOfSequence, Refused, Store

if TYPE_CHECKING:
    from lighterman.swarm.node.manager import Manager

_LOOK_AGAIN_S = 5.0
_APART_AFTER_S = 3.0
_ROTATING = frozenset({Kind.AUTHORITY, Kind.NODE, Kind.NODE_STATUS})
log = logging.getLogger(__name__)


def duties(manager: "Manager") -> Lead:
    """Everything that this manager does while it leads."""

    async def lead(store: Store) -> None:
        try:
            async with Group() as group:
                group.create_task(orchestrate(store))
                group.create_task(_keep_roles(manager, store))
                group.create_task(_finish_rotations(store))
                group.create_task(data_keys.reseal(store))
                group.create_task(_keep_apart(manager))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    return lead


def must_renew(state: State, node_id: str) -> bool:
    """Whether the node's certificate has to be of another root by now."""
    next_root = state.authority.rotation if state.authority else None
    status = state.node_statuses.get(node_id)
    if next_root is None or status is None:
        return False
    _, public_key = certificates.issuer_of(next_root.certificate)
    return status.description.tls_info.cert_issuer_public_key != public_key


def rotation_writes(state: State, now_ns: int) -> list[Write]:
    """The end of a rotation: nodes are all of the next root, which is the present one now, as tokens say."""
    authority, cluster = state.authority, state.cluster
    if authority is None or cluster is None or authority.rotation is None:
        return []
    if any(id not in state.node_statuses or must_renew(state, id) for id in state.nodes):
        return []
    authority_after = rotation.finished(authority)
    digest = certificates.digest(authority_after.certificate)
    tokens = JoinTokens(new_token(digest), new_token(digest))
    return [
        Put(
            Kind.AUTHORITY,
            msgspec.structs.replace(authority_after, updated_ns=now_ns),
            state.revision_of(Kind.AUTHORITY, authority.id),
        ),
        Put(
            Kind.CLUSTER,
            msgspec.structs.replace(cluster, join_tokens=tokens, updated_ns=now_ns),
            state.revision_of(Kind.CLUSTER, cluster.id),
        ),
    ]


def role_changes(state: State) -> list[Node]:
    """Nodes whose role is not what is wished."""
    return [node for node in state.nodes.values() if node.spec.role != node.role]


async def _keep_roles(manager: "Manager", store: Store) -> None:
    with store.changes() as changes:
        while True:
            for node in role_changes(store.state):
                with contextlib.suppress(OutOfSequence):
                    await _change_role(manager, store, node)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    while not any(kind is Kind.NODE for kind, _ in await changes.next()):
                        pass


async def _change_role(manager: "Manager", store: Store, node: Node) -> None:
    revision = store.state.revision_of(Kind.NODE, node.id)
    if node.spec.role == "worker":
        if not await manager.can_lose(node.id):
            log.warning("node %s stays a manager: too few of the others are there", node.id)
            return
        if node.id == store.node_id:
            log.info("op=demote node=%s: another manager is to lead, and does it", node.id)
            await manager.lead_from_elsewhere((await manager.etcd.status()).header.member_id)
            await store.resign()
            return
        try:
            await manager.remove_member(node.id)
        except (Refused, NoLeader) as error:
            log.warning("taking node %s out of the managers: %s", node.id, error)
            return
    changed = msgspec.structs.replace(node, role=node.spec.role, updated_ns=time.time_ns())
    await store.commit([Put(Kind.NODE, changed, revision)], fenced=True)
    log.info("op=change-role node=%s role=%s", node.id, node.spec.role)


async def _finish_rotations(store: Store) -> None:
    with store.changes() as changes:
        while True:
            writes = rotation_writes(store.state, time.time_ns())
            if writes:
                with contextlib.suppress(OutOfSequence):
                    await store.commit(writes, fenced=True)
                    log.info("op=rotate-root outcome=ok")
            while not any(kind in _ROTATING for kind, _ in await changes.next()):
                pass


async def _keep_apart(manager: "Manager") -> None:
    """Let another member lead the consensus, where there are three or more."""
    await asyncio.sleep(_APART_AFTER_S)
    while True:
        with contextlib.suppress(NoLeader, Refused):
            if len(manager.store.managers) >= 3:
                status = await manager.etcd.status()
                await manager.lead_from_elsewhere(status.header.member_id)
        await asyncio.sleep(_LOOK_AGAIN_S)
