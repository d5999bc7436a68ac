"""Services whose tasks are to end well: jobs. Source: SwarmKit, orchestrator/jobs.

Each wish of a job, when it is made and whenever it is changed, is one *iteration* of it: the service's
generation, which the tasks made for it carry. They are desired to be complete, not running. What fails is
started again by `restart`, in its place, as its policy wants it; a place whose policy has enough is not
filled a second time.
"""

from msgspec.structs import replace

from lighterman.swarm.orchestrate import constraints
from lighterman.swarm.orchestrate.round import Round, is_global, node_is_gone
from lighterman.swarm.state import Service, State, Task, TaskState


def reconcile(round: Round, service: Service) -> None:
    """Go on with the iteration that is wished; what runs of earlier ones is wished away."""
    state, tasks = round.state, []
    for task in state.tasks_of_service(service.id):
        if is_over(state, task):
            if task.attached:  # there may be more of them than a network has addresses
                round.put_task(replace(task, attached=()))
        elif task.generation != service.generation:
            round.desire(task, TaskState.REMOVE)
        if task.generation == service.generation:
            tasks.append(task)
    _spare(round, service, tasks)
    if service.spec.mode.global_job is not None:
        _once_on_each_node(round, service, tasks)
    else:
        _so_many_times(round, service, tasks)


def _spare(round: Round, service: Service, tasks: list[Task]) -> None:
    """Who was to do again what has been done after all: a task that was to end for another one ended well."""
    by_node = is_global(service)
    done = {
        task.node_id if by_node else task.slot
        for task in tasks
        if round.state.seen(task).state is TaskState.COMPLETE
    }
    for task in tasks:
        if (task.node_id if by_node else task.slot) in done and _goes_on(round.state, task):
            round.desire(task, TaskState.REMOVE)


def is_over(state: State, task: Task) -> bool:
    """Whether nothing of the task runs or will run."""
    seen = state.seen(task).state
    return seen > TaskState.RUNNING or (seen < TaskState.ASSIGNED and task.desired > TaskState.COMPLETE)


def _goes_on(state: State, task: Task) -> bool:
    return task.desired <= TaskState.COMPLETE and not is_over(state, task)


def _so_many_times(round: Round, service: Service, tasks: list[Task]) -> None:
    """Fill the slots from 0 on, no more at a time than is wished. Clients count on it that they begin so."""
    mode = service.spec.mode.replicated_job
    assert mode is not None, "a completed spec has one"
    slots = {task.slot for task in tasks}
    running = sum(_goes_on(round.state, round.state.tasks[task.id]) for task in tasks)
    free = [slot for slot in range(mode.total_completions or 0) if slot not in slots]
    for slot in free[: max((mode.max_concurrent or 0) - running, 0)]:
        if not _make(round, service, slot=slot):
            break


def _once_on_each_node(round: Round, service: Service, tasks: list[Task]) -> None:
    state = round.state
    newest = {task.node_id: task for task in sorted(tasks, key=lambda task: task.created_ns)}
    placement = service.spec.task_template.placement
    wishes = constraints.parse(placement.constraints) if placement else ()
    for node_id, node in state.nodes.items():
        task = newest.get(node_id)
        if node_is_gone(state, node_id):
            if task is not None and not is_over(state, task):
                round.desire(task, TaskState.SHUTDOWN)
        elif task is not None and (_goes_on(state, task) or _is_settled(state, task)):
            continue
        elif (
            node.spec.availability == "active"
            and state.node_state(node_id) == "ready"
            and constraints.matches(wishes, state, node_id)
            and not _make(round, service, node_id=node_id)
        ):
            break


def _is_settled(state: State, task: Task) -> bool:
    """Whether the task has done its work, or failed for good; one that was interrupted has not."""
    return state.seen(task).state in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)


def _make(round: Round, service: Service, *, slot: int = 0, node_id: str = "") -> bool:
    """A task of this iteration; False when the round has made enough."""
    if round.budget <= 0:
        round.alarm(round.now_ns, service.id)
        return False
    round.new_task(
        service, slot=slot, node_id=node_id, desired=TaskState.COMPLETE, generation=service.generation
    )
    return True
