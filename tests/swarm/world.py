"""A swarm in memory: its state, its leader, a clock that one sets, and nodes that do what they are told.

etcd is what is played here, and the nodes; the rules are the real ones.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from lighterman.apitypes.service import (
    ContainerSpec,
    NetworkAttachmentConfig,
    NetworkSpec,
    Placement,
    ReplicatedService,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    TaskStatus,
)
from lighterman.apitypes.swarm import ManagerStatus, NodeDescription, NodeSpec, SwarmSpec
from lighterman.swarm.control.spec import complete
from lighterman.swarm.control.stores import Changes
from lighterman.swarm.orchestrate.agenda import Agenda
from lighterman.swarm.state import (
    Change,
    Cluster,
    Kind,
    Network,
    Node,
    NodeStatus,
    Put,
    Service,
    Session,
    State,
    Stored,
    Task,
    TaskObservation,
    TaskState,
    Write,
    observe,
    template_of,
)
from lighterman.swarm.state.state import name_of
from lighterman.swarm.store import NameTaken, OutOfSequence

SECOND = 1_000_000_000
BEGINNING = 1_700_000_000 * SECOND
GIGABYTE = 1 << 30


class Memory:
    """The store without etcd: the same refusals, at once."""

    def __init__(self) -> None:
        self.state = State()
        self.revision = 0
        self.managers: Mapping[str, object] = {}

    def put(self, kind: Kind, value: Stored | None, id: str = "") -> None:
        """What somebody else has written."""
        self.revision += 1
        self.state.apply(Change(kind, value.id if value else id, value, self.revision))

    async def commit(self, writes: Sequence[Write], *, fenced: bool = False) -> int:
        return self.write(writes)

    @contextmanager
    def changes(self) -> Iterator[Changes]:
        """Nobody here needs to wait."""
        raise NotImplementedError
        yield

    def write(self, writes: Sequence[Write]) -> int:
        for write in writes:
            if write.expect is not None and write.expect != self.state.revision_of(write.kind, write.id):
                raise OutOfSequence(write.kind, write.id)
            name = name_of(write.kind, write.value) if isinstance(write, Put) else ""
            if name and self.state.id_of(write.kind, name) not in (None, write.id):
                raise NameTaken(write.kind, name)
        self.revision += 1
        for write in writes:
            value = write.value if isinstance(write, Put) else None
            self.state.apply(Change(write.kind, write.id, value, self.revision))
        return self.revision

    def manager_status(self, node_id: str) -> ManagerStatus | None:
        return None


class World:
    """`nodes` nodes with 4 CPUs and 8 GB each; the first is a manager."""

    def __init__(self, nodes: int = 1) -> None:
        self.store = Memory()
        self.now_ns = BEGINNING
        self._ids = (f"id{number:023d}" for number in itertools.count())
        self.fails: Callable[[Task], bool] = lambda task: False
        """Whether a task that shall run fails instead."""
        self.lasts: Callable[[Task], bool] = lambda task: False
        """Whether a task of a job that shall complete still runs."""
        self.store.put(Kind.CLUSTER, Cluster(id="cluster", spec=SwarmSpec(name="default")))
        for number in range(1, nodes + 1):
            self.add_node(f"node{number}", role="manager" if number == 1 else "worker")
        self.agenda = Agenda(self.state, lambda: next(self._ids))

    @property
    def state(self) -> State:
        return self.store.state

    def put(self, kind: Kind, value: Stored | None, id: str = "") -> None:
        self.store.put(kind, value, id)
        self.agenda.note([(kind, value.id if value else id)])

    # Nodes

    def add_node(
        self,
        id: str,
        *,
        role: str = "worker",
        labels: dict[str, str] | None = None,
        cpus: int = 4,
        memory: int = 8 * GIGABYTE,
    ) -> None:
        described = NodeDescription(
            hostname=id,
            resources=Resources(nano_cpus=cpus * SECOND, memory_bytes=memory),
        )
        spec = NodeSpec(role=role, availability="active", labels=labels or {})
        put = self.put if hasattr(self, "agenda") else self.store.put
        put(Kind.NODE, Node(id=id, spec=spec, role=role))
        put(Kind.NODE_STATUS, NodeStatus(id=id, description=described, addr="10.0.0.1"))
        put(Kind.SESSION, Session(id=id, manager_id="node1"))

    def change_node(self, id: str, **changes: object) -> None:
        node = self.state.nodes[id]
        self.put(Kind.NODE, replace(node, spec=replace(node.spec, **changes)))

    def lose(self, id: str) -> None:
        """The node's session is gone."""
        self.put(Kind.SESSION, None, id)

    def regain(self, id: str) -> None:
        self.put(Kind.SESSION, Session(id=id, manager_id="node1"))

    # Services

    def create(self, spec: ServiceSpec) -> str:
        """A new service; its id is its name."""
        spec = complete(spec, spec.name)
        service = Service(id=spec.name, created_ns=self.now_ns, spec=spec, template_id=template_of(spec).id)
        self.put(Kind.SERVICE, service)
        return service.id

    def update(self, id: str, spec: ServiceSpec) -> None:
        service = self.state.services[id]
        spec = complete(spec, spec.name)
        self.put(
            Kind.SERVICE,
            replace(
                service,
                spec=spec,
                previous=service.spec,
                template_id=template_of(spec).id,
                generation=service.generation + 1,
                rollback=False,
            ),
        )

    def roll_back(self, id: str) -> None:
        """As a client wishes it; nothing without a spec from before."""
        service = self.state.services[id]
        if service.previous is not None:
            self.put(
                Kind.SERVICE,
                replace(
                    service,
                    spec=service.previous,
                    previous=service.spec,
                    template_id=template_of(service.previous).id,
                    generation=service.generation + 1,
                    rollback=True,
                ),
            )

    def network(self, name: str, *, ingress: bool = False) -> str:
        self.put(Kind.NETWORK, Network(id=f"net-{name}", spec=NetworkSpec(name=name, ingress=ingress)))
        return f"net-{name}"

    # Time passes

    def think(self) -> list[Write]:
        """The leader thinks until it has nothing more to say; all its writes."""
        done: list[Write] = []
        for _ in range(50):
            writes = self.agenda.think(self.now_ns)
            self.store.write(writes)
            self.agenda.note((write.kind, write.id) for write in writes)
            done += writes
            wake = self.agenda.wake_ns()
            if not writes and (wake is None or wake > self.now_ns):
                return done
        raise AssertionError("the leader does not come to rest")

    def work(self) -> bool:
        """Each connected node brings its tasks to where they shall be; whether anything moved."""
        moved = False
        for task in list(self.state.tasks.values()):
            if task.node_id not in self.state.sessions or task.state is not TaskState.ASSIGNED:
                continue
            goal, seen = self._goal(task), self.state.seen(task).state
            if seen < goal and seen < TaskState.COMPLETE:  # what has ended stays so
                moved |= self.report(task, goal)
        return moved

    def _goal(self, task: Task) -> TaskState:
        if task.desired > TaskState.COMPLETE:
            return TaskState.SHUTDOWN
        if task.desired >= TaskState.RUNNING and self.fails(task):
            return TaskState.FAILED
        if task.desired is TaskState.COMPLETE and self.lasts(task):
            return TaskState.RUNNING
        return task.desired

    def report(self, task: Task, state: TaskState) -> bool:
        """What the task's node says of it."""
        status = TaskStatus(timestamp="2023-11-14T22:13:20Z", state=state.word)
        observed = observe(self.state.observations.get(task.id), task.id, status, self.now_ns)
        if observed is None:
            return False
        self.put(Kind.TASK_STATUS, observed)
        return True

    def settle(self) -> None:
        """Leader and nodes go on until nothing moves at this moment."""
        for _ in range(50):
            self.think()
            if not self.work():
                return
        raise AssertionError("the swarm does not come to rest")

    def wait(self, seconds: float) -> None:
        """Time passes, and nobody sleeps through an alarm."""
        end_ns = self.now_ns + int(seconds * SECOND)
        while (wake := self.agenda.wake_ns()) is not None and wake <= end_ns:
            self.now_ns = max(self.now_ns, wake)
            self.settle()
        self.now_ns = end_ns
        self.settle()

    # Looking

    def tasks(self, service: str) -> list[Task]:
        return self.state.tasks_of_service(service)

    def running(self, service: str) -> list[Task]:
        """Tasks that run and shall run, by slot."""
        return sorted(
            (
                task
                for task in self.tasks(service)
                if task.desired is TaskState.RUNNING and self.state.seen(task).state is TaskState.RUNNING
            ),
            key=lambda task: task.slot,
        )

    def slots(self, service: str) -> list[int]:
        return [task.slot for task in self.running(service)]

    def images(self, service: str) -> list[str]:
        """What runs, sorted."""
        return sorted(self.image(task) for task in self.running(service))

    def image(self, task: Task) -> str:
        container = self.state.templates[task.template_id].spec.container_spec
        assert container is not None
        return container.image

    def update_state(self, service: str) -> str:
        status = self.state.service_statuses.get(service)
        return status.update.state if status and status.update else ""


def spec(
    name: str = "web",
    *,
    replicas: int | None = 1,
    image: str = "busybox",
    constraints: Sequence[str] = (),
    networks: Sequence[str] = (),
    **more: object,
) -> ServiceSpec:
    """A service's wish; without `replicas` it is global. `more` are fields of the spec and of its task."""
    mode = (
        ServiceMode(global_={}) if replicas is None else ServiceMode(replicated=ReplicatedService(replicas))
    )
    in_task = {key: more.pop(key) for key in list(more) if key in TaskSpec.__struct_fields__}
    task = TaskSpec(
        container_spec=ContainerSpec(image=image),
        placement=Placement(constraints=list(constraints)) if constraints else None,
        networks=[NetworkAttachmentConfig(target=target) for target in networks],
    )
    wish = ServiceSpec(name=name, mode=mode, task_template=replace(task, **in_task))
    return replace(wish, **more)


def nodes_of(tasks: Sequence[Task]) -> Iterator[str]:
    return (task.node_id for task in tasks)


__all__ = [
    "GIGABYTE",
    "SECOND",
    "Memory",
    "TaskObservation",
    "World",
    "nodes_of",
    "spec",
]
