"""Services with one task on each node. Source: SwarmKit, orchestrator/global."""

from lighterman.swarm.orchestrate import constraints
from lighterman.swarm.orchestrate.round import Round, node_is_gone
from lighterman.swarm.orchestrate.slots import Place, by_place, updatable
from lighterman.swarm.state import Service, Task, TaskState


def reconcile(round: Round, service: Service, *, rolling_back: bool) -> dict[Place, list[Task]]:
    """One task on each node that suits; the tasks that stand for each node that may be updated."""
    state = round.state
    placement = service.spec.task_template.placement
    wishes = constraints.parse(placement.constraints) if placement else ()
    on_node = by_place(state, service)
    live: dict[Place, list[Task]] = {}
    for node_id, node in state.nodes.items():
        tasks = on_node.pop(node_id, [])
        standing = updatable(state, service, tasks, rolling_back=rolling_back)
        if node_is_gone(state, node_id) or not constraints.matches(wishes, state, node_id):
            _shut_down(round, standing)
        elif node.spec.availability == "pause":
            continue
        elif standing:
            live[node_id] = standing
        else:
            live[node_id] = [round.new_task(service, node_id=node_id)]
    for tasks in on_node.values():  # of nodes that are no more
        _shut_down(round, tasks)
    return live


def _shut_down(round: Round, tasks: list[Task]) -> None:
    for task in tasks:
        round.desire(task, TaskState.SHUTDOWN)
