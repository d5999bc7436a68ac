"""Old tasks go. Source: SwarmKit, orchestrator/taskreaper."""

from lighterman.swarm.orchestrate.round import DEFAULT_HISTORY, Round, is_global, is_job
from lighterman.swarm.state import Service, State, Task, TaskState


def reap(round: Round, service_id: str) -> None:
    """Forget tasks that were removed and are gone, and what is more than the history of a slot holds."""
    state = round.state
    service = state.services.get(service_id)
    slots: dict[tuple[int, str], list[Task]] = {}
    for task in state.tasks_of_service(service_id):
        if task.desired is TaskState.REMOVE and _is_gone(state, task):
            round.delete_task(task)
        elif service is not None:
            slots.setdefault((task.slot, task.node_id if is_global(service) else ""), []).append(task)
    if service is None:
        return
    keep = _history(state, service)
    if is_job(service) and keep == 0:
        keep = 1  # what a job has done is known by its last task
    for tasks in slots.values():
        if 0 <= keep < len(tasks):
            _trim(round, tasks, keep)


def _is_gone(state: State, task: Task) -> bool:
    """Whether nothing of the task is left on any node."""
    seen = state.seen(task).state
    return seen < TaskState.ASSIGNED or seen >= TaskState.COMPLETE or task.node_id not in state.nodes


def _history(state: State, service: Service) -> int:
    """How many tasks of a slot are kept; negative: all."""
    policy = service.spec.task_template.restart_policy
    if policy is not None and policy.max_attempts:
        return policy.max_attempts + 1
    cluster = state.cluster
    limit = cluster.spec.orchestration.task_history_retention_limit if cluster else None
    return DEFAULT_HISTORY if limit is None else limit


def _trim(round: Round, tasks: list[Task], keep: int) -> None:
    """Forget the oldest that ended, or that never will begin."""
    state = round.state
    surplus = len(tasks) - keep
    for task in sorted(tasks, key=lambda task: state.seen(task).since_ns):
        if surplus <= 0:
            break
        seen = state.seen(task).state
        ended = seen > TaskState.RUNNING and task.desired >= TaskState.COMPLETE
        never = seen < TaskState.ASSIGNED and task.desired > TaskState.COMPLETE
        if ended or never:
            round.delete_task(task)
            surplus -= 1
