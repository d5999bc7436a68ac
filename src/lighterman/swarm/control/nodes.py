"""Nodes, as far as they are objects: what becomes of a change of role is the business of `swarm.node`."""

import time

from msgspec.structs import replace

from lighterman.apitypes import swarm as wire
from lighterman.errdefs import InvalidParameter, System
from lighterman.lib.filters import Filters
from lighterman.swarm.control import view
from lighterman.swarm.control.find import by_label, by_prefix
from lighterman.swarm.control.refusals import FailedPrecondition
from lighterman.swarm.control.stores import Store
from lighterman.swarm.control.tasks import node_of
from lighterman.swarm.state import Delete, Kind, Node, Put, State
from lighterman.swarm.store import OutOfSequence

FILTERS = ("name", "id", "label", "role", "membership", "node.label")
ROLES = ("worker", "manager")
AVAILABILITIES = ("active", "pause", "drain")
_MEMBERSHIPS = ("pending", "accepted")


def list_(store: Store, filters: Filters) -> list[wire.Node]:
    """The nodes asked for. Raises InvalidParameter; System for a role that is none."""
    filters.check(FILTERS)
    for name, known in (("role", ROLES), ("membership", _MEMBERSHIPS)):
        for word in filters.get(name):
            if word and word.lower() not in known:
                raise System(f"Invalid {name} filter: '{word}'")
    return [
        view.node(store.state, node, store.manager_status(node.id))
        for node in store.state.nodes.values()
        if _wanted(store.state, node, filters)
    ]


def _wanted(state: State, node: Node, filters: Filters) -> bool:
    """Every node of a swarm is accepted: there is no waiting list."""
    status = state.node_statuses.get(node.id)
    description = status.description if status else wire.NodeDescription()
    roles = {word.lower() for word in filters.get("role") if word}
    memberships = {word.lower() for word in filters.get("membership") if word}
    return (
        by_prefix(description.hostname, filters.get("name"))
        and by_prefix(node.id, filters.get("id"))
        and by_label(description.engine.labels, filters.get("label"))
        and by_label(node.spec.labels, filters.get("node.label"))
        and (not roles or node.role in roles)
        and (not memberships or "accepted" in memberships)
    )


def inspect(store: Store, ref: str) -> wire.Node:
    """Raises NoSuchObject, Ambiguous."""
    node = node_of(store.state, ref)
    return view.node(store.state, node, store.manager_status(node.id))


async def update(store: Store, ref: str, spec: wire.NodeSpec, *, version: int) -> None:
    """Wish a node's role, availability and labels.

    Raises: InvalidParameter, NoSuchObject, Ambiguous; FailedPrecondition: it is the last manager, or one that
    the others need; OutOfSequence.
    """
    spec = replace(spec, role=spec.role.lower(), availability=spec.availability.lower())
    if spec.role not in ROLES:
        raise InvalidParameter(f'invalid Role: "{spec.role}"')
    if spec.availability not in AVAILABILITIES:
        raise InvalidParameter(f'invalid Availability: "{spec.availability}"')
    state = store.state
    node = node_of(state, ref)
    if node.spec.role == "manager" and spec.role == "worker":
        _check_demotion(store, node)
    if version != state.revision_of(Kind.NODE, node.id):
        raise OutOfSequence(Kind.NODE, node.id)
    await store.commit([Put(Kind.NODE, replace(node, updated_ns=time.time_ns(), spec=spec), version)])


def _check_demotion(store: Store, node: Node) -> None:
    managers = [each for each in store.state.nodes.values() if each.role == "manager"]
    if [each.id for each in managers] == [node.id]:
        raise FailedPrecondition("attempting to demote the last manager of the swarm")
    reachable = sum(each.id in store.managers for each in managers if each.id != node.id)
    if reachable <= (len(managers) - 1) // 2:
        raise FailedPrecondition("can't remove member from the raft: this would result in a loss of quorum")


async def remove(store: Store, ref: str, *, force: bool) -> None:
    """Strike a node off; its certificate is worth nothing from then on, and its tasks are given up.

    Raises: NoSuchObject, Ambiguous; FailedPrecondition: a manager, or not down and no `force`.
    """
    node = node_of(store.state, ref)
    if node.spec.role == "manager" or node.role == "manager":
        raise FailedPrecondition(
            f"node {node.id} is a cluster manager and is a member of the raft cluster. It must be demoted to "
            "worker before removal"
        )
    if not force and store.state.node_state(node.id) == "ready":
        raise FailedPrecondition(f"node {node.id} is not down and can't be removed")
    await store.commit([Delete(Kind.NODE, node.id)])
