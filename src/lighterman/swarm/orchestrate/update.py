"""From old tasks to new ones, a few at a time. Source: SwarmKit, orchestrator/update.

How far an update has come is read from the tasks: those that it made carry its generation. Only what the
tasks cannot tell is kept beside them (`Update`), so a new leader goes on where the last one was. A place is
*busy* from the making of its new task until that runs, or has failed, and the delay has passed; no more
places are busy than `parallelism` says.
"""

from msgspec.structs import replace

from lighterman.apitypes.service import UpdateConfig
from lighterman.swarm.orchestrate.round import SECOND_NS, Round, is_global
from lighterman.swarm.orchestrate.slots import Place, is_dirty
from lighterman.swarm.state import (
    Kind,
    Service,
    ServiceStatus,
    State,
    Task,
    TaskState,
    Update,
    template_of,
)

DEFAULT_MONITOR_NS = 5 * SECOND_NS
RUNNING_STATES = ("updating", "rollback_started")
MANUAL_ROLLBACK = "manually requested rollback"


def rolling_back(state: State, service: Service) -> bool:
    """Whether the service is on its way back to what it was."""
    update = current(state, service)
    return service.rollback and (update is None or update.state == "rollback_started")


def current(state: State, service: Service) -> Update | None:
    """The update to what the service is now; None if none has begun."""
    status = state.service_statuses.get(service.id)
    update = status.update if status else None
    return update if update is not None and update.generation == service.generation else None


def update(round: Round, service: Service, live: dict[Place, list[Task]]) -> None:
    """Take the update one step further. `live` are the tasks that stand for each place."""
    record = current(round.state, service)
    dirty = {
        place: tasks
        for place, tasks in live.items()
        if len(tasks) > 1 or is_dirty(round.state, service, tasks[0])
    }
    if record is None:
        record = _begin(round, service, dirty)
        if record is None:
            return
    if record.state in ("paused", "rollback_paused"):
        return
    if dirty and not record.slots:
        record = _keep(round, service, replace(record, slots=len(dirty)))
    wish = _config(service)
    judged = _judge(round, service, record, wish)
    if judged is not record:
        record = _keep(round, service, judged)
        if record.state not in RUNNING_STATES:
            return
        if record.generation != service.generation:
            return  # rolled back: the next step begins with what the service is then
    busy = _busy_places(round, service, record, wish)
    waiting = {place: tasks for place, tasks in dirty.items() if place not in busy}
    workers = (wish.parallelism or len(live)) - len(busy)
    for place in list(waiting)[: max(workers, 0)]:
        _replace(round, service, record, wish, place, waiting[place])
    if record.state in RUNNING_STATES:
        _finish(round, service, record, wish, done=not waiting and not busy)


def _config(service: Service) -> UpdateConfig:
    wish = service.spec.rollback_config if service.rollback else service.spec.update_config
    return wish or UpdateConfig(parallelism=1, failure_action="pause", order="stop-first")


def _keep(round: Round, service: Service, record: Update) -> Update:
    status = round.state.service_statuses.get(service.id) or ServiceStatus(id=service.id)
    round.draft.put(Kind.SERVICE_STATUS, replace(status, update=record, updated_ns=round.now_ns))
    return record


def _begin(round: Round, service: Service, dirty: dict[Place, list[Task]]) -> Update | None:
    """The record of an update that is needed. A rollback, and another template, are told of even when nothing
    has to change: the service may have been updated before it had any task, and clients wait for the word.
    """
    if not dirty and not service.rollback and not _has_other_template(service):
        return None
    return _keep(
        round,
        service,
        Update(
            generation=service.generation,
            state="rollback_started" if service.rollback else "updating",
            message=(service.rollback_reason or MANUAL_ROLLBACK)
            if service.rollback
            else "update in progress",
            started_ns=round.now_ns,
            slots=len(dirty),
        ),
    )


def _has_other_template(service: Service) -> bool:
    return service.previous is not None and template_of(service.previous).id != service.template_id


# Failures


def _judge(round: Round, service: Service, record: Update, wish: UpdateConfig) -> Update:
    """The record with the failures that have come since, and what follows from them."""
    if wish.failure_action == "continue" or record.state not in RUNNING_STATES:
        return record
    monitor = wish.monitor or DEFAULT_MONITOR_NS
    for task in round.state.tasks_of_service(service.id):
        if task.generation != record.generation or task.id in record.failed:
            continue
        if not _has_failed(round.state, task, monitor):
            continue
        record = replace(record, failed=(*record.failed, task.id))
        if len(record.failed) / max(record.slots, 1) > wish.max_failure_ratio:
            return _act(round, service, record, wish, task.id)
    return record


def _has_failed(state: State, task: Task, monitor_ns: int) -> bool:
    """Whether the task ended without being asked to, too soon after it began to run."""
    seen = state.seen(task)
    if seen.state not in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED):
        return False
    observed = state.observations.get(task.id)
    began = observed.running_ns if observed else 0
    return not began or seen.since_ns - began <= monitor_ns


def _act(round: Round, service: Service, record: Update, wish: UpdateConfig, task_id: str) -> Update:
    because = f"due to failure or early termination of task {task_id}"
    if service.rollback:  # never roll back a rollback
        return replace(record, state="rollback_paused", message=f"rollback paused {because}")
    if wish.failure_action != "rollback" or service.previous is None:
        return replace(record, state="paused", message=f"update paused {because}")
    back = replace(
        service,
        updated_ns=round.now_ns,
        spec=service.previous,
        previous=None,
        template_id=template_of(service.previous).id,
        registry_auth=service.previous_registry_auth,
        generation=service.generation + 1,
        rollback=True,
        rollback_reason=f"update rolled back {because}",
    )
    round.draft.put(Kind.SERVICE, back)
    return Update(
        generation=back.generation,
        state="rollback_started",
        message=back.rollback_reason,
        started_ns=record.started_ns,
    )


# Places


def _busy_places(round: Round, service: Service, record: Update, wish: UpdateConfig) -> set[Place]:
    """Places whose new task has not come up yet, or whose delay has not passed."""
    busy: set[Place] = set()
    for task in round.state.tasks_of_service(service.id):
        if task.generation != record.generation:
            continue
        up_ns = _up_since(round.state, task)
        if up_ns is None or up_ns + wish.delay > round.now_ns:
            busy.add(task.node_id if is_global(service) else task.slot)
            if up_ns is not None:
                round.alarm(up_ns + wish.delay, service.id)
    return busy


def _up_since(state: State, task: Task) -> int | None:
    """When the task came up, or turned out not to; None while that is open."""
    observed = state.observations.get(task.id)
    if observed is not None and observed.running_ns:
        return observed.running_ns
    seen = state.seen(task)
    if seen.state > TaskState.RUNNING:
        return seen.since_ns
    return task.updated_ns if task.desired > TaskState.RUNNING else None


def _replace(
    round: Round,
    service: Service,
    record: Update,
    wish: UpdateConfig,
    place: Place,
    tasks: list[Task],
) -> None:
    """Put a task of the new kind into a place, or go on with the one that is there."""
    state = round.state
    clean = [task for task in tasks if not is_dirty(state, service, task)]
    alive = [task for task in clean if task.desired <= TaskState.RUNNING]
    start_first = wish.order == "start-first"
    if alive:
        keep = max(alive, key=lambda task: (task.desired, -task.created_ns))
        if start_first and state.seen(keep).state < TaskState.RUNNING:
            return  # the old task stays until the new one runs
        for task in tasks:
            if task.id != keep.id:
                round.desire(task, TaskState.SHUTDOWN)
        return
    running = next((task for task in tasks if task.desired <= TaskState.RUNNING), None)
    if not start_first:
        for task in tasks:
            round.desire(task, TaskState.SHUTDOWN)
    wait = running is not None and not start_first
    round.new_task(
        service,
        slot=0 if is_global(service) else int(place),
        node_id=str(place) if is_global(service) else "",
        desired=TaskState.READY if wait else TaskState.RUNNING,
        start_after_task=running.id if running is not None and wait else "",
        generation=record.generation,
    )


def _finish(round: Round, service: Service, record: Update, wish: UpdateConfig, *, done: bool) -> None:
    """The update is complete when its last task has been watched for one more period."""
    if not done:
        if record.done_ns:
            _keep(round, service, replace(record, done_ns=0))
        return
    monitor = wish.monitor or DEFAULT_MONITOR_NS
    if wish.delay >= monitor:
        monitor = wish.delay + SECOND_NS
    if not record.done_ns:
        record = _keep(round, service, replace(record, done_ns=round.now_ns))
    if record.slots and round.now_ns < record.done_ns + monitor:
        round.alarm(record.done_ns + monitor, service.id)
        return
    word = "rollback" if service.rollback else "update"
    _keep(
        round,
        service,
        replace(
            record,
            state="rollback_completed" if service.rollback else "completed",
            message=f"{word} completed",
            completed_ns=round.now_ns,
        ),
    )
