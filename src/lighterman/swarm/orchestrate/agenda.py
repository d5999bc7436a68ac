"""What the leader has to think of, and the thinking: all rules in their order, until none has more to say.

Whatever changes is noted as the service, the node or the network that it concerns. A thought is one round
over what was noted; its writes are noted in turn, within the draft, so that one transaction holds everything
that follows from a change: a new service with its ports, its tasks, their addresses and their nodes.
"""

import heapq
import logging
from collections.abc import Callable, Iterable

from lighterman.swarm.orchestrate import allocate, global_, jobs, liveness, replicated
from lighterman.swarm.orchestrate.enforce import enforce
from lighterman.swarm.orchestrate.reap import reap
from lighterman.swarm.orchestrate.rebalance import is_wished, rebalance
from lighterman.swarm.orchestrate.restart import restart_ended, start_waiting
from lighterman.swarm.orchestrate.round import Round, is_global, is_job
from lighterman.swarm.orchestrate.schedule import schedule
from lighterman.swarm.orchestrate.update import rolling_back, update
from lighterman.swarm.state import Key, Kind, State, TaskState, Write, draft

PASSES = 12
"""After so many, what is left is thought of in the next round: rules that disagree must not stop the loop."""
SERVICE, NODE = "service", "node"
log = logging.getLogger(__name__)


class Agenda:
    """One leadership's notes. Nothing here is needed by the next leader: it notes everything anew."""

    def __init__(self, state: State, new_id: Callable[[], str]) -> None:
        self._state = state
        self._new_id = new_id
        self._cursor = allocate.Cursor()
        self._services: set[str] = set()
        self._nodes: set[str] = set()
        self._networks: set[str] = set()
        self._node_of: dict[str, str] = {}  # by task: that of one that is gone is known no more
        self._lighter: set[str] = set()  # nodes on which a task has ended
        self._unassigned: set[str] = set()
        self._missing: dict[str, int] = {}  # node id -> since when it has no session
        self._alarms: list[tuple[int, str, str]] = []  # a heap
        self._alarms_set: set[tuple[int, str, str]] = set()
        self.note(list(state))

    def note(self, changed: Iterable[Key]) -> None:
        """Something of these objects is different."""
        state = self._state
        for kind, id in changed:
            match kind:
                case Kind.SERVICE | Kind.SERVICE_STATUS:
                    self._services.add(id)
                case Kind.TASK:
                    self._note_task(id)
                case Kind.TASK_STATUS if self._matters(id):
                    self._note_task(id)
                case Kind.NETWORK | Kind.NETWORK_STATUS:
                    self._networks.add(id)
                case Kind.NODE | Kind.NODE_STATUS | Kind.NODE_STATE | Kind.SESSION:
                    self._nodes.add(id)
                case Kind.CLUSTER:  # limits of history, pools of addresses
                    self._services.update(state.services)
                    self._networks.update(state.networks)

    def _matters(self, id: str) -> bool:
        """Whether a node's report changes anything: that a task comes up matters to updates and moves."""
        task = self._state.tasks.get(id)
        if task is None:
            return False
        seen = self._state.seen(task).state
        if seen is not TaskState.RUNNING:
            return seen > TaskState.RUNNING
        service = self._state.services.get(task.service_id)
        status = self._state.service_statuses.get(task.service_id)
        updated = status is not None and status.update is not None
        return updated or (service is not None and is_wished(service))

    def _note_task(self, id: str) -> None:
        task = self._state.tasks.get(id)
        if task is None:
            self._unassigned.discard(id)
            if id in self._node_of:
                self._lighter.add(self._node_of.pop(id))
            return
        self._services.add(task.service_id)
        if task.node_id:
            self._node_of[id] = task.node_id
            if self._state.seen(task).state > TaskState.RUNNING:
                self._lighter.add(task.node_id)
        if task.state < TaskState.ASSIGNED and task.desired <= TaskState.COMPLETE:
            self._unassigned.add(id)

    def wake_ns(self) -> int | None:
        """When there is something to think of at the latest, though nothing may have changed."""
        if self._services or self._nodes or self._networks or self._lighter:
            return 0
        return self._alarms[0][0] if self._alarms else None

    def _alarm(self, at_ns: int, what: str, id: str) -> None:
        if (at_ns, what, id) not in self._alarms_set:
            self._alarms_set.add((at_ns, what, id))
            heapq.heappush(self._alarms, (at_ns, what, id))

    def think(self, now_ns: int) -> list[Write]:
        """What is to be written down now."""
        while self._alarms and self._alarms[0][0] <= now_ns:
            alarm = heapq.heappop(self._alarms)
            self._alarms_set.discard(alarm)
            _, what, id = alarm
            (self._services if what == SERVICE else self._nodes).add(id)
        with draft(self._state) as made:
            round = Round(made, now_ns, self._new_id)
            for _ in range(PASSES):
                if not (self._services or self._nodes or self._networks or self._lighter):
                    break
                self._pass(round)
                self.note(made.news())
            else:
                log.warning("the swarm's rules did not come to an end in %d passes", PASSES)
            for at_ns, service_id in round.alarms:
                self._alarm(at_ns, SERVICE, service_id)
            return made.writes

    def _pass(self, round: Round) -> None:
        """Each rule once, over what is noted now."""
        nodes, self._nodes = self._nodes, set()
        networks, self._networks = self._networks, set()
        for node_id in sorted(nodes):
            self._node(round, node_id)
        for network_id in sorted(networks):
            self._network(round, network_id)
        services, self._services = self._services, set()
        for service_id in sorted(services):
            self._service(round, service_id)
        self._assign(round)
        lighter, self._lighter = self._lighter, set()
        for node_id in sorted(round.touched_nodes | nodes | lighter):
            allocate.allocate_node(round, self._cursor, node_id)
        round.touched_nodes.clear()

    def _node(self, round: Round, node_id: str) -> None:
        state = self._state
        if node_id not in state.nodes:
            liveness.orphan(round, node_id, "Task belonged to a node that has been deleted")
            for kind in (Kind.NODE_STATUS, Kind.NODE_STATE):
                round.draft.delete(kind, node_id)
        if node_id in state.nodes and node_id not in state.sessions:
            self._missing.setdefault(node_id, round.now_ns)
        else:
            self._missing.pop(node_id, None)
        due_ns = liveness.judge(round, node_id, self._missing.get(node_id, round.now_ns))
        if due_ns is not None:
            self._alarm(due_ns, NODE, node_id)
        enforce(round, node_id)
        self._services.update(task.service_id for task in state.tasks_of_node(node_id))
        self._services.update(
            service.id for service in state.services.values() if is_global(service) or is_wished(service)
        )

    def _network(self, round: Round, network_id: str) -> None:
        network = self._state.networks.get(network_id)
        if network is None:
            round.draft.delete(Kind.NETWORK_STATUS, network_id)
            waiting = (status.id for status in self._state.network_statuses.values() if status.error)
            self._networks.update(waiting)
            return
        allocate.allocate_network(round, network)
        if network.spec.ingress:
            round.touched_nodes.update(self._state.nodes)
        for service in self._state.services.values():  # those that waited for it
            status = self._state.service_statuses.get(service.id)
            if status is None or status.endpoint is None or status.endpoint_error:
                self._services.add(service.id)

    def _service(self, round: Round, service_id: str) -> None:
        state = self._state
        service = state.services.get(service_id)
        if service is not None:
            allocate.allocate_service(round, self._cursor, service)
            restart_ended(round, service)
            if is_job(service):
                jobs.reconcile(round, service)
            else:
                reconcile = global_.reconcile if is_global(service) else replicated.reconcile
                live = reconcile(round, service, rolling_back=rolling_back(state, service))
                update(round, service, live)
            start_waiting(round, service)
            rebalance(round, service)
        elif service_id:
            round.remove(state.tasks_of_service(service_id), service_id)
            round.draft.delete(Kind.SERVICE_STATUS, service_id)
            self._services.update(
                status.id for status in state.service_statuses.values() if status.endpoint_error
            )  # its ports and addresses are free now
        reap(round, service_id)

    def _assign(self, round: Round) -> None:
        """Addresses and nodes for tasks without. Each round tries all: any change may have made room."""
        self._unassigned |= round.unassigned
        round.unassigned.clear()
        pending = []
        for task_id in sorted(self._unassigned):
            task = self._state.tasks.get(task_id)
            if task is None or task.state >= TaskState.ASSIGNED or task.desired > TaskState.COMPLETE:
                self._unassigned.discard(task_id)
                continue
            if task.state is TaskState.NEW:
                allocate.allocate_task(round, self._cursor, task)
                task = self._state.tasks[task_id]
            if task.state is TaskState.PENDING:
                pending.append(task)
        pending.sort(key=lambda task: (task.service_id, task.slot))
        schedule(round, pending)
