"""Tasks."""

from lighterman.apitypes import service as wire
from lighterman.errdefs import System
from lighterman.lib.filters import Filters
from lighterman.swarm.control import view
from lighterman.swarm.control.find import by_label, by_prefix, one
from lighterman.swarm.control.refusals import NoSuchObject
from lighterman.swarm.control.stores import Store
from lighterman.swarm.orchestrate.slots import is_dirty
from lighterman.swarm.state import Ambiguous, Kind, Node, Service, State, Task
from lighterman.swarm.state.tasks import WORDS

FILTERS = ("name", "id", "label", "service", "node", "desired-state", "_up-to-date", "runtime")
"""`_up-to-date` is how clients follow an update; it is in no documentation."""


def name_of(task: Task) -> str:
    """As its container is called: <service>.<slot or node>.<task id>."""
    return f"{task.service_name}.{task.slot or task.node_id}.{task.id}"


def list_(store: Store, filters: Filters) -> list[wire.Task]:
    """The tasks asked for. Raises InvalidParameter, NoSuchObject for a service or node that is not there."""
    filters.check(FILTERS)
    state = store.state
    services = {one(state, Kind.SERVICE, ref, Service).id for ref in filters.get("service")}
    nodes = {node_of(state, ref).id for ref in filters.get("node")}
    desired = set()
    for word in filters.get("desired-state"):
        if word and word.lower() not in WORDS:
            raise System(f"Invalid desired-state filter: '{word}'")
        desired.add(word.lower())
    tasks = (
        [task for id in services for task in state.tasks_of_service(id)]
        if services
        else list(state.tasks.values())
    )
    return [
        view.task(state, task)
        for task in tasks
        if (not nodes or task.node_id in nodes)
        and (not desired or task.desired.word in desired)
        and by_prefix(name_of(task), filters.get("name"))
        and by_prefix(task.id, filters.get("id"))
        and _has_labels(state, task, filters)
        and _runtime(state, task) in (filters.get("runtime") or ("container",))
        and ("_up-to-date" not in filters or _is_up_to_date(state, task))
    ]


def node_of(state: State, ref: str) -> Node:
    """The node by id, by host name, or by the beginning of its id. Raises NoSuchObject, Ambiguous."""
    if ref in state.nodes:
        return state.nodes[ref]
    named = [
        id
        for id in state.nodes
        if (status := state.node_statuses.get(id)) is not None and status.description.hostname == ref
    ]
    found = named or [id for id in state.nodes if ref and id.startswith(ref)]
    if not found:
        raise NoSuchObject("node", ref)
    if len(found) > 1:
        raise Ambiguous("node", ref, len(found))
    return state.nodes[found[0]]


def _has_labels(state: State, task: Task, filters: Filters) -> bool:
    service = state.services.get(task.service_id)
    return by_label(service.spec.labels if service else None, filters.get("label"))


def _runtime(state: State, task: Task) -> str:
    template = state.templates.get(task.template_id)
    return template.spec.runtime or "container" if template else "container"


def _is_up_to_date(state: State, task: Task) -> bool:
    service = state.services.get(task.service_id)
    return service is not None and not is_dirty(state, service, task)


def find(state: State, ref: str) -> Task:
    """The task by id, by name, or by the beginning of its id. Raises NoSuchObject, Ambiguous."""
    for task in state.tasks.values():
        if name_of(task) == ref:
            return task
    return one(state, Kind.TASK, ref, Task)


def inspect(store: Store, ref: str) -> wire.Task:
    """Raises NoSuchObject, Ambiguous."""
    return view.task(store.state, find(store.state, ref))
