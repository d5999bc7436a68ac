"""A service's tasks by the place that they hold: a slot of a replicated service, a node of a global one."""

from msgspec.structs import replace

from lighterman.apitypes.service import TaskSpec
from lighterman.swarm.orchestrate import constraints
from lighterman.swarm.orchestrate.restart import should_restart
from lighterman.swarm.orchestrate.round import is_global, template_for
from lighterman.swarm.state import Service, State, Task, TaskState, Template

Place = int | str
"""A slot's number, or a node's id."""


def by_place(state: State, service: Service) -> dict[Place, list[Task]]:
    """All tasks that are not to be removed."""
    places: dict[Place, list[Task]] = {}
    for task in state.tasks_of_service(service.id):
        if task.desired < TaskState.REMOVE:
            places.setdefault(task.node_id if is_global(service) else task.slot, []).append(task)
    return places


def updatable(state: State, service: Service, tasks: list[Task], *, rolling_back: bool) -> list[Task]:
    """Which tasks of a place stand for it: those that shall run, or the last one, when its restart policy
    lets it rest. None: the place is free. Source: SwarmKit, restart.UpdatableTasksInSlot.
    """
    alive = [task for task in tasks if task.desired <= TaskState.RUNNING]
    if alive or rolling_back or not tasks:
        return alive
    newest = max(reversed(tasks), key=lambda task: (state.seen(task).since_ns, task.created_ns))
    return [] if should_restart(state, newest) else [newest]


def is_dirty(state: State, service: Service, task: Task) -> bool:
    """Whether the task is not what the service wants now. Source: SwarmKit, orchestrator.IsTaskDirty.

    Other credentials alone do not make a task dirty: they are not part of its template.
    """
    if task.template_id == service.template_id:
        return False
    have, want = state.templates[task.template_id], template_for(state, service)
    if have.endpoint != want.endpoint:
        return True
    if _without_placement(have) != _without_placement(want):
        return True
    placement = want.spec.placement
    wishes = constraints.parse(placement.constraints) if placement else ()
    return not (task.node_id and constraints.matches(wishes, state, task.node_id))


def _without_placement(template: Template) -> TaskSpec:
    return replace(template.spec, placement=None)
