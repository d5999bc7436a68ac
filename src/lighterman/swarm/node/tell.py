"""What a manager tells clients of `/events` about the swarm: what is new, what is different, what is gone.

Source: daemon/events.go of moby: scope "swarm", actions create, update and remove, and for an update the
few facts that have changed, each as `<fact>.old` and `<fact>.new`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lighterman.events import Events
from lighterman.swarm.state import Key, Kind, State
from lighterman.swarm.state.state import name_of
from lighterman.swarm.store import Store

_SUBJECTS = {
    Kind.NODE: Kind.NODE,
    Kind.NODE_STATUS: Kind.NODE,
    Kind.NODE_STATE: Kind.NODE,
    Kind.SESSION: Kind.NODE,
    Kind.SERVICE: Kind.SERVICE,
    Kind.SERVICE_STATUS: Kind.SERVICE,
    Kind.NETWORK: Kind.NETWORK,
    Kind.SECRET: Kind.SECRET,
    Kind.CONFIG: Kind.CONFIG,
}
"""A kind that changes -> whom it is a part of."""
WORDS = {
    Kind.NODE: "node",
    Kind.SERVICE: "service",
    Kind.NETWORK: "network",
    Kind.SECRET: "secret",
    Kind.CONFIG: "config",
}


class Told(NamedTuple):
    """What was told of an object last."""

    name: str
    updated_ns: int
    """Of its wish; one that is only sealed anew is the same."""
    facts: dict[str, str]


def told(store: Store, kind: Kind, id: str) -> Told | None:
    """What there is to tell of an object now; None when it is gone."""
    state = store.state
    if kind is Kind.NODE:
        return _node(store, id)
    if kind is Kind.SERVICE:
        return _service(state, id)
    found = state.get(kind, id)
    return None if found is None else Told(name_of(kind, found), found.updated_ns, {})


def _node(store: Store, id: str) -> Told | None:
    state = store.state
    node, status, manager = state.nodes.get(id), state.node_statuses.get(id), store.manager_status(id)
    if node is None:
        return None
    facts = {
        "availability": node.spec.availability,
        "role": node.role,
        "state": state.node_state(id),
    }
    if manager is not None:
        facts |= {"leader": str(manager.leader).lower(), "reachability": manager.reachability}
    name = node.spec.name or (status.description.hostname if status is not None else "")
    return Told(name, node.updated_ns, facts)


def _service(state: State, id: str) -> Told | None:
    service, status = state.services.get(id), state.service_statuses.get(id)
    if service is None:
        return None
    facts = {}
    if service.spec.task_template.container_spec is not None:
        facts["image"] = service.spec.task_template.container_spec.image
    replicated = service.spec.mode.replicated
    if replicated is not None and replicated.replicas is not None:
        facts["replicas"] = str(replicated.replicas)
    if status is not None and status.update is not None:
        facts["updatestate"] = status.update.state
    return Told(service.spec.name, service.updated_ns, facts)


def message(before: Told | None, now: Told | None) -> tuple[str, dict[str, str]] | None:
    """Action and attributes of the event; None when there is nothing to tell."""
    if now is None:
        return None if before is None else ("remove", {"name": before.name})
    if before is None:
        return "create", {"name": now.name}
    if before == now:
        return None
    attributes = {"name": now.name}
    for fact, value in now.facts.items():
        former = before.facts.get(fact)
        if former == value or (former is None and fact != "updatestate"):
            continue
        if former is not None:
            attributes[f"{fact}.old"] = former
        attributes[f"{fact}.new"] = value
    if len(attributes) == 1 and before.updated_ns == now.updated_ns:
        return None
    return "update", attributes


async def tell(store: Store, events: Events) -> None:
    """Publish what happens from now on, for ever."""
    with store.changes() as changes:
        known = {key: told(store, *key) for key in _subjects(store.state)}
        while True:
            for kind, id in _subjects(await changes.next()):
                now = told(store, kind, id)
                said = message(known.get((kind, id)), now)
                if now is None:
                    known.pop((kind, id), None)
                else:
                    known[kind, id] = now
                if said is not None:
                    events.publish(WORDS[kind], said[0], id, said[1], scope="swarm")


def _subjects(changed: Iterable[Key]) -> list[Key]:
    """Each object that a change is about, once, in a stable order."""
    return sorted({(_SUBJECTS[kind], id) for kind, id in changed if kind in _SUBJECTS})
