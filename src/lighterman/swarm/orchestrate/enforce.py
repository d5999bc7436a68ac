"""Tasks whose node does not suit them any more. Source: SwarmKit, orchestrator/constraintenforcer.

The leader says that such a task is rejected, whatever its node reports: what follows is up to the restart
policy, as with any other end.
"""

from msgspec.structs import replace

from lighterman.swarm.orchestrate import constraints
from lighterman.swarm.orchestrate.round import Round, template_for
from lighterman.swarm.state import State, Task, TaskState


def enforce(round: Round, node_id: str) -> None:
    """Reject tasks of a node by the constraints that their service has now, and by what the node has."""
    state = round.state
    status = state.node_statuses.get(node_id)
    if node_id not in state.nodes or status is None:
        return
    cpus, memory = status.description.resources.nano_cpus, status.description.resources.memory_bytes
    for task in state.tasks_of_node(node_id):
        if task.desired > TaskState.COMPLETE or state.seen(task).state > TaskState.RUNNING:
            continue
        if task.state < TaskState.ASSIGNED:
            continue
        if not constraints.matches(_constraints(state, task), state, node_id):
            _reject(round, task)
            continue
        resources = state.templates[task.template_id].spec.resources
        reserved = resources.reservations if resources else None
        if reserved is None:
            continue
        if reserved.memory_bytes > memory or reserved.nano_cpus > cpus:
            _reject(round, task)
            continue
        cpus, memory = cpus - reserved.nano_cpus, memory - reserved.memory_bytes


def _constraints(state: State, task: Task) -> tuple[constraints.Constraint, ...]:
    service = state.services.get(task.service_id)
    template = template_for(state, service) if service else state.templates[task.template_id]
    placement = template.spec.placement
    return constraints.parse(placement.constraints) if placement else ()


def _reject(round: Round, task: Task) -> None:
    round.put_task(
        replace(
            task,
            state=TaskState.REJECTED,
            state_ns=round.now_ns,
            message="task rejected by constraint enforcer",
            error="assigned node no longer meets constraints",
        )
    )
