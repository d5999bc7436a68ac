"""Tasks go back to nodes that have returned, or that are new: ours, and only for services that wish it.

SwarmKit never moves what runs. A service with the label is looked at whenever it rests: if one node has at
least two more of its tasks than the scheduler's next choice, one task is stopped and started there. Each move
makes the counts less uneven, so there is a last one; the next waits until the task runs, and for the delay
of the service's updates.
"""

from lighterman.swarm.orchestrate.round import Round
from lighterman.swarm.orchestrate.schedule import Room, rank, refusal, rooms
from lighterman.swarm.orchestrate.slots import is_dirty
from lighterman.swarm.state import Service, State, Task, TaskState

LABEL = "lighterman.rebalance"
_UNEVEN = 2
_ENDED_UPDATES = ("completed", "rollback_completed")


def is_wished(service: Service) -> bool:
    return service.spec.labels.get(LABEL) == "true" and service.spec.mode.replicated is not None


def rebalance(round: Round, service: Service) -> None:
    """Move one task, if that makes the service's nodes more even."""
    state = round.state
    if not is_wished(service) or round.budget <= 0:
        return
    tasks = _at_rest(state, service)
    if not tasks:
        return
    config = service.spec.update_config
    due_ns = max(state.seen(task).since_ns for task in tasks) + (config.delay if config else 0)
    if due_ns > round.now_ns:
        round.alarm(due_ns, service.id)
        return
    task = _to_move(round, service, tasks)
    if task is not None:
        round.desire(task, TaskState.SHUTDOWN)
        round.new_task(
            service,
            slot=task.slot,
            desired=TaskState.READY,
            start_after_task=task.id,
            restarts_ns=task.restarts_ns,
        )


def _at_rest(state: State, service: Service) -> list[Task]:
    """All tasks of the service that are to be; none while something is still to happen to one of them."""
    status = state.service_statuses.get(service.id)
    update = status.update if status is not None else None
    if update is not None and update.state not in _ENDED_UPDATES:
        return []
    tasks = [task for task in state.tasks_of_service(service.id) if task.desired <= TaskState.RUNNING]
    wished = service.spec.mode.replicated
    assert wished is not None, "only services with replicas come here"
    rests = len(tasks) == wished.replicas and all(
        state.seen(task).state is TaskState.RUNNING and not is_dirty(state, service, task) for task in tasks
    )
    return tasks if rests else []


def _to_move(round: Round, service: Service, tasks: list[Task]) -> Task | None:
    """A task of the node with most of them, if another node that suits has fewer by so many."""

    def has(room: Room) -> int:
        return room.of_service[service.id]

    available = [room for room in rooms(round).values() if room.available]
    if not available:
        return None
    fullest = max(available, key=has)
    there = [task for task in tasks if task.node_id == fullest.node_id]
    if not there:
        return None
    task = max(there, key=lambda task: task.slot)
    targets = [room for room in available if refusal(round.state, room, task) is None]
    if not targets:
        return None
    target = min(targets, key=lambda room: rank(room, task))
    return task if has(fullest) - has(target) >= _UNEVEN else None
