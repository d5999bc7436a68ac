"""Services with a number of replicas. Source: SwarmKit, orchestrator/replicated."""

from lighterman.swarm.orchestrate.round import Round
from lighterman.swarm.orchestrate.slots import Place, by_place, updatable
from lighterman.swarm.state import Service, State, Task, TaskState


def reconcile(round: Round, service: Service, *, rolling_back: bool) -> dict[Place, list[Task]]:
    """Make as many slots as are wished; the tasks that stand for each slot that stays."""
    state = round.state
    live: dict[Place, list[Task]] = {}
    for place, tasks in by_place(state, service).items():
        standing = updatable(state, service, tasks, rolling_back=rolling_back)
        if standing:
            live[place] = standing
        else:
            for task in tasks:
                round.desire(task, TaskState.REMOVE)
    mode = service.spec.mode.replicated
    wished = 1 if mode is None or mode.replicas is None else mode.replicas
    if len(live) < wished:
        _add(round, service, live, wished - len(live))
    else:
        surplus = _in_order(state, live)[wished:]
        round.remove([task for place in surplus for task in live.pop(place)], service.id)
    return live


def _add(round: Round, service: Service, live: dict[Place, list[Task]], count: int) -> None:
    """Fill the lowest numbers that are free. Who is still on his way out of a slot is waited for."""
    leaving = {
        task.slot: task.id
        for task in round.state.tasks_of_service(service.id)
        if task.desired > TaskState.RUNNING and _runs(round.state, task)
    }
    slot = 0
    for _ in range(count):
        if round.budget <= 0:
            round.alarm(round.now_ns, service.id)
            break
        slot += 1
        while slot in live:
            slot += 1
        forerunner = leaving.get(slot, "")
        live[slot] = [
            round.new_task(
                service,
                slot=slot,
                desired=TaskState.READY if forerunner else TaskState.RUNNING,
                start_after_task=forerunner,
            )
        ]


def _runs(state: State, task: Task) -> bool:
    return TaskState.ASSIGNED <= state.seen(task).state <= TaskState.RUNNING


def _in_order(state: State, live: dict[Place, list[Task]]) -> list[Place]:
    """Slots in the order in which they are worth keeping: those that make their node hold many copies go
    first, then those that do not run, then high numbers.
    """

    def running_first(place: Place) -> tuple[bool, Place]:
        runs = any(state.seen(task).state is TaskState.RUNNING for task in live[place])
        return not runs, place

    copies: dict[str, int] = {}
    rank: dict[Place, tuple[bool, int]] = {}
    ordered = sorted(live, key=running_first)
    for place in ordered:
        tasks = live[place]
        if len(tasks) == 1 and tasks[0].node_id:
            node_id = tasks[0].node_id
            copies[node_id] = copies.get(node_id, 0) + 1
            rank[place] = False, copies[node_id]
        else:
            rank[place] = True, 0
    return sorted(ordered, key=rank.__getitem__)
