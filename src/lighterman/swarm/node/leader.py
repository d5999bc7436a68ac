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

from lighterman.swarm.errors import NoLeader
from lighterman.swarm.orchestrate.lead import lead as orchestrate
from lighterman.swarm.state import Kind, Node, Put, State
from lighterman.swarm.store import Lead, OutOfSequence, Refused, Store

if TYPE_CHECKING:
    from lighterman.swarm.node.manager import Manager

_LOOK_AGAIN_S = 5.0
_APART_AFTER_S = 3.0
log = logging.getLogger(__name__)


def duties(manager: "Manager") -> Lead:
    """Everything that this manager does while it leads."""

    async def lead(store: Store) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(orchestrate(store))
                group.create_task(_keep_roles(manager, store))
                group.create_task(_keep_apart(manager))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    return lead


def must_renew(state: State, node_id: str) -> bool:
    """Whether the node's certificate has to be of another root by now."""
    return False


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


async def _keep_apart(manager: "Manager") -> None:
    """Let another member lead the consensus, where there are three or more."""
    await asyncio.sleep(_APART_AFTER_S)
    while True:
        with contextlib.suppress(NoLeader, Refused):
            if len(manager.store.managers) >= 3:
                status = await manager.etcd.status()
                await manager.lead_from_elsewhere(status.header.member_id)
        await asyncio.sleep(_LOOK_AGAIN_S)
