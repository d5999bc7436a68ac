"""One round of thought: what the rules read and write, the present moment, and when to think again."""

from collections.abc import Callable

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.apitypes.service import RestartPolicy
from lighterman.swarm.state import (
    Cluster,
    Draft,
    Kind,
    Service,
    State,
    Task,
    TaskState,
    Template,
    template_of,
)

SECOND_NS = 1_000_000_000
PENDING = "pending task scheduling"
"""The message of a task that has its addresses, and waits for a node."""
DEFAULT_HISTORY = 5
"""Tasks kept for each slot. Source: SwarmKit, TaskHistoryRetentionLimit."""


class Round(Struct):
    """Rules get one and nothing else. They write into the draft, and are the same whoever runs them when."""

    draft: Draft
    now_ns: int
    new_id: Callable[[], str]
    alarms: list[tuple[int, str]] = field(default_factory=list)
    """(moment, service id): think of the service again then, though nothing may have changed."""
    unassigned: set[str] = field(default_factory=set)
    """Tasks that wait for addresses or for a node."""
    touched_nodes: set[str] = field(default_factory=set)
    """Nodes that got or lost a task in this round."""
    endings: int = 400
    """Tasks that it may still wish away; that costs a quarter of making one."""
    budget: int = 100
    """New tasks that this round may still make: the loop serves others, too, and a transaction has an end."""

    @property
    def state(self) -> State:
        return self.draft.state

    def alarm(self, at_ns: int, service_id: str) -> None:
        self.alarms.append((at_ns, service_id))

    def cluster(self) -> Cluster:
        cluster = self.state.cluster
        assert cluster is not None, "a swarm has a cluster from its first write on"
        return cluster

    def put_task(self, task: Task) -> Task:
        """Write the task down."""
        task = replace(task, updated_ns=self.now_ns)
        self.draft.put(Kind.TASK, task)
        if task.node_id:
            self.touched_nodes.add(task.node_id)
        if task.state < TaskState.ASSIGNED and task.desired <= TaskState.COMPLETE:
            self.unassigned.add(task.id)
        return task

    def desire(self, task: Task, desired: TaskState) -> None:
        """Wish the task further; never back."""
        current = self.state.tasks.get(task.id)
        if current is not None and current.desired < desired:
            self.put_task(replace(current, desired=desired))

    def remove(self, tasks: list[Task], service_id: str) -> None:
        """Wish tasks away, in this round or the next."""
        tasks = [task for task in tasks if task.desired < TaskState.REMOVE]
        for task in tasks[: self.endings]:
            self.desire(task, TaskState.REMOVE)
        if len(tasks) > self.endings:
            self.alarm(self.now_ns, service_id)
        self.endings -= min(self.endings, len(tasks))

    def delete_task(self, task: Task) -> None:
        """Forget the task, and its template with the last of its kind."""
        self.draft.delete(Kind.TASK_STATUS, task.id)
        self.draft.delete(Kind.TASK, task.id)
        if task.node_id:
            self.touched_nodes.add(task.node_id)
        if not self.state.template_is_used(task.template_id):
            self.draft.delete(Kind.TEMPLATE, task.template_id)

    def new_task(
        self,
        service: Service,
        *,
        slot: int = 0,
        node_id: str = "",
        desired: TaskState = TaskState.RUNNING,
        start_after_ns: int = 0,
        start_after_task: str = "",
        generation: int = 0,
        restarts_ns: tuple[int, ...] = (),
    ) -> Task:
        """Make a task of the service as it is now. Source: SwarmKit, orchestrator.NewTask."""
        self.budget -= 1
        if service.template_id not in self.state.templates:
            self.draft.put(Kind.TEMPLATE, template_for(self.state, service))
        return self.put_task(
            Task(
                id=self.new_id(),
                created_ns=self.now_ns,
                template_id=service.template_id,
                service_id=service.id,
                service_name=service.spec.name,
                slot=slot,
                node_id=node_id,
                desired=desired,
                state=TaskState.NEW,
                state_ns=self.now_ns,
                message="created",
                start_after_ns=start_after_ns,
                start_after_task=start_after_task,
                generation=generation,
                restarts_ns=restarts_ns,
            )
        )


def template_for(state: State, service: Service) -> Template:
    """The template that tasks of the service have to have now."""
    return state.templates.get(service.template_id) or template_of(service.spec)


def is_global(service: Service) -> bool:
    """Whether its tasks belong to nodes, not to slots."""
    mode = service.spec.mode
    return mode.global_ is not None or mode.global_job is not None


def is_job(service: Service) -> bool:
    """Whether its tasks are to end well."""
    mode = service.spec.mode
    return mode.replicated_job is not None or mode.global_job is not None


def restart_policy(state: State, task: Task) -> RestartPolicy:
    """The task's own, from its template."""
    return state.templates[task.template_id].spec.restart_policy or RestartPolicy()


def node_is_gone(state: State, node_id: str) -> bool:
    """Whether tasks of the node have to go elsewhere. Source: SwarmKit, orchestrator.InvalidNode."""
    node = state.nodes.get(node_id)
    return node is None or node.spec.availability == "drain" or state.node_state(node_id) == "down"
