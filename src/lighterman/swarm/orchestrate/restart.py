"""Tasks that ended, and whose node is gone: what comes after them. Source: SwarmKit, orchestrator/restart.

What was restarted when is kept in the replacing task, so that a new leader knows it. The replacement is made
at once, so that its image is pulled, and is let go when the delay is over and its forerunner has stopped.
"""

from msgspec.structs import replace

from lighterman.swarm.orchestrate import constraints
from lighterman.swarm.orchestrate.round import (
    SECOND_NS,
    Round,
    is_global,
    is_job,
    node_is_gone,
    restart_policy,
)
from lighterman.swarm.state import Service, State, Task, TaskState

DEFAULT_DELAY_NS = 5 * SECOND_NS
OLD_TASK_TIMEOUT_NS = 60 * SECOND_NS
"""How long a task waits for its forerunner to stop."""


def should_restart(state: State, task: Task) -> bool:
    """Whether the restart policy wants another task after this one."""
    policy = restart_policy(state, task)
    seen = state.seen(task)
    if policy.condition == "none":
        return False
    if policy.condition == "on-failure" and seen.state is TaskState.COMPLETE:
        return False
    if not policy.max_attempts:
        return True
    counted = task.restarts_ns
    if policy.window:
        counted = tuple(at for at in counted if seen.since_ns - policy.window < at < seen.since_ns)
    return len(counted) < policy.max_attempts


def restart_ended(round: Round, service: Service) -> None:
    """Replace each task of the service that ended, or whose node is gone, as its policy wants it."""
    for task in round.state.tasks_of_service(service.id):
        if task.desired > TaskState.COMPLETE or (is_job(service) and _is_done(round.state, service, task)):
            continue
        ended = round.state.seen(task).state > TaskState.RUNNING
        moved = bool(task.node_id) and not is_global(service) and node_is_gone(round.state, task.node_id)
        if not (ended or moved):
            continue
        if ended and task.desired < TaskState.RUNNING and task.start_after_ns > round.now_ns:
            round.alarm(task.start_after_ns, service.id)  # one delay between two attempts, as with any other
            continue
        if is_global(service) and not constraints.suits(round.state, service.spec, task.node_id):
            round.desire(task, TaskState.SHUTDOWN)
        else:
            _restart(round, service, task)


def _is_done(state: State, service: Service, task: Task) -> bool:
    """Whether a job needs no other task for this one: it ended well, or is of an earlier iteration."""
    return state.seen(task).state is TaskState.COMPLETE or task.generation != service.generation


def _restart(round: Round, service: Service, task: Task) -> None:
    state = round.state
    round.desire(task, TaskState.SHUTDOWN)
    if not should_restart(state, task):
        return
    policy = restart_policy(state, task)
    node = state.nodes.get(task.node_id)
    drained = node is not None and node.spec.availability == "drain"
    delay = _delay_ns(state, task)
    same = task.template_id == service.template_id
    history = (*(task.restarts_ns if same else ()), round.now_ns) if policy.max_attempts else ()
    made = round.new_task(
        service,
        slot=task.slot,
        node_id=task.node_id if is_global(service) else "",
        desired=TaskState.READY,
        start_after_ns=round.now_ns + (0 if drained else delay),
        start_after_task="" if _has_stopped(state, task) else task.id,
        restarts_ns=history[-(policy.max_attempts or 0) :],
        generation=service.generation if is_job(service) else 0,
    )
    round.alarm(made.start_after_ns, service.id)


def _delay_ns(state: State, task: Task) -> int:
    delay = restart_policy(state, task).delay
    return DEFAULT_DELAY_NS if delay is None else delay


def _has_stopped(state: State, task: Task | None) -> bool:
    """Whether nothing of the task runs any more, as far as one can know."""
    if task is None or not task.node_id:
        return True
    if task.node_id not in state.nodes or state.node_state(task.node_id) == "down":
        return True
    return state.seen(task).state > TaskState.RUNNING


def start_waiting(round: Round, service: Service) -> None:
    """Let tasks go whose delay is over and whose forerunner has stopped."""
    for task in round.state.tasks_of_service(service.id):
        if task.desired is not TaskState.READY:
            continue
        due = task.start_after_ns
        if due > round.now_ns + _delay_ns(round.state, task):
            due = round.now_ns  # a clock was set back since: nobody waits for longer than his delay
        if not _has_stopped(round.state, round.state.tasks.get(task.start_after_task)):
            due = max(due, task.created_ns + OLD_TASK_TIMEOUT_NS)
        if round.now_ns >= due:
            goal = TaskState.COMPLETE if is_job(service) else TaskState.RUNNING
            round.put_task(replace(task, desired=goal))
        else:
            round.alarm(due, service.id)
