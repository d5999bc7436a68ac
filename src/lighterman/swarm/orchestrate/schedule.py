"""Which node a task goes to, or why there is none. Source: SwarmKit, manager/scheduler.

Nodes pass through filters, in one order, and the reasons of those that fail are what the user reads. Among
the others a task goes where its service has fewest tasks, then where there are fewest at all; a node on which
the service failed five times in five minutes comes last. Spread preferences divide the nodes into branches
first, which are kept even.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.apitypes.service import GenericResource, PlacementPreference, Platform, Resources
from lighterman.apitypes.swarm import NodeDescription
from lighterman.swarm.orchestrate import constraints, generic
from lighterman.swarm.orchestrate.round import PENDING, SECOND_NS, Round
from lighterman.swarm.state import State, Task, TaskState, Template

MANY_FAILURES = 5
RECENT_NS = 300 * SECOND_NS
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Room(Struct):
    """What is left on a node for more tasks."""

    node_id: str
    available: bool
    description: NodeDescription
    nano_cpus: int
    memory_bytes: int
    generic: list[GenericResource]
    tasks: int = 0
    of_service: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(service id, template id) -> tasks that failed lately."""
    host_ports: set[tuple[str, int]] = field(default_factory=set)

    def take(self, state: State, task: Task) -> tuple[GenericResource, ...]:
        """Count a task in; the generic resources that it gets."""
        template = state.templates[task.template_id]
        if task.desired <= TaskState.COMPLETE:
            self.tasks += 1
            self.of_service[task.service_id] += 1
        self.host_ports |= _host_ports(template)
        reserved = _reservation(template)
        if reserved is None:
            return ()
        self.nano_cpus -= reserved.nano_cpus
        self.memory_bytes -= reserved.memory_bytes
        claimed = task.generic_resources or generic.claim(self.generic, reserved.generic_resources)
        self.generic = generic.without(self.generic, claimed)
        return tuple(claimed)


def rooms(round: Round) -> dict[str, Room]:
    """What is left on each node, from all tasks that are there."""
    state = round.state
    found = {}
    for node_id, node in state.nodes.items():
        status = state.node_statuses.get(node_id)
        description = NodeDescription() if status is None else status.description
        room = found[node_id] = Room(
            node_id=node_id,
            available=state.node_state(node_id) == "ready" and node.spec.availability == "active",
            description=description,
            nano_cpus=description.resources.nano_cpus,
            memory_bytes=description.resources.memory_bytes,
            generic=list(description.resources.generic_resources),
        )
        for task in state.tasks_of_node(node_id):
            seen = state.seen(task)
            if TaskState.ASSIGNED <= seen.state <= TaskState.RUNNING:
                room.take(state, task)
            elif (
                seen.state in (TaskState.FAILED, TaskState.REJECTED)
                and seen.since_ns > round.now_ns - RECENT_NS
            ):
                room.failures[task.service_id, task.template_id] += 1
    return found


# Filters: each says whether a node is out of the question


class Filter(Struct, frozen=True):
    """A reason against nodes: `explain` is one node's text and that of several."""

    refuses: Callable[[State, Room, Task, Template], bool]
    explain: tuple[str, str]


def _not_ready(state: State, room: Room, task: Task, template: Template) -> bool:
    return not room.available


def _reservation(template: Template) -> Resources | None:
    return template.spec.resources.reservations if template.spec.resources else None


def _no_resources(state: State, room: Room, task: Task, template: Template) -> bool:
    reserved = _reservation(template)
    return reserved is not None and (
        reserved.nano_cpus > max(room.nano_cpus, 0)
        or reserved.memory_bytes > max(room.memory_bytes, 0)
        or not generic.enough(room.generic, reserved.generic_resources)
    )


def _no_plugin(state: State, room: Room, task: Task, template: Template) -> bool:
    have = {(plugin.type, plugin.name.removesuffix(":latest")) for plugin in room.description.engine.plugins}
    if not have:
        return False  # a node that says nothing of its plugins
    container = template.spec.container_spec
    for mount in container.mounts if container else ():
        driver = mount.volume_options.driver_config if mount.volume_options else None
        wished = driver.name.removesuffix(":latest") if mount.type == "volume" and driver else ""
        if wished not in ("", "local") and ("Volume", wished) not in have:
            return True
    for place in task.attached:
        network = state.networks.get(place.network_id)
        driver_of = network.spec.driver_configuration if network else None
        if driver_of and driver_of.name and ("Network", driver_of.name) not in have:
            return True
    log = template.spec.log_driver
    return log is not None and log.name not in ("", "none") and ("Log", log.name) not in have


def _no_match(state: State, room: Room, task: Task, template: Template) -> bool:
    placement = template.spec.placement
    return placement is not None and not constraints.matches(
        constraints.parse(placement.constraints), state, room.node_id
    )


def _no_platform(state: State, room: Room, task: Task, template: Template) -> bool:
    placement = template.spec.placement
    if placement is None or not placement.platforms:
        return False
    return not any(_suits(wish, room.description.platform) for wish in placement.platforms)


def _suits(wish: Platform, have: Platform) -> bool:
    architecture = _ARCHITECTURES.get(wish.architecture, wish.architecture)
    return architecture in ("", _ARCHITECTURES.get(have.architecture, have.architecture)) and wish.os in (
        "",
        have.os,
    )


def _host_ports(template: Template) -> set[tuple[str, int]]:
    return {
        (port.protocol, port.published_port)
        for port in (template.endpoint.ports if template.endpoint else ())
        if port.publish_mode == "host" and port.published_port
    }


def _port_in_use(state: State, room: Room, task: Task, template: Template) -> bool:
    return not room.host_ports.isdisjoint(_host_ports(template))


def _too_many(state: State, room: Room, task: Task, template: Template) -> bool:
    placement = template.spec.placement
    return placement is not None and 0 < placement.max_replicas <= room.of_service[task.service_id]


FILTERS = (
    Filter(_not_ready, ("1 node not available for new tasks", "{} nodes not available for new tasks")),
    Filter(_no_resources, ("insufficient resources on 1 node", "insufficient resources on {} nodes")),
    Filter(_no_plugin, ("missing plugin on 1 node", "missing plugin on {} nodes")),
    Filter(
        _no_match,
        (
            "scheduling constraints not satisfied on 1 node",
            "scheduling constraints not satisfied on {} nodes",
        ),
    ),
    Filter(_no_platform, ("unsupported platform on 1 node", "unsupported platform on {} nodes")),
    Filter(
        _port_in_use,
        ("host-mode port already in use on 1 node", "host-mode port already in use on {} nodes"),
    ),
    Filter(_too_many, ("max replicas per node limit exceed",) * 2),
)


def refusal(state: State, room: Room, task: Task) -> Filter | None:
    """The first filter that refuses the node; None when it suits."""
    template = state.templates[task.template_id]
    return next((each for each in FILTERS if each.refuses(state, room, task, template)), None)


def explain(refusals: Iterable[Filter]) -> str:
    """Why no node would do, the most frequent reason first."""
    counts = Counter(refusals)
    parts = []
    for each, count in sorted(counts.items(), key=lambda item: -item[1]):
        parts.append(each.explain[0] if count == 1 else each.explain[1].format(count))
    return "; ".join(parts)


def unmet(state: State, nodes: Sequence[Room], task: Task) -> list[str]:
    """What exactly the task waits for, beside SwarmKit's words.

    Not how much is free: that changes with each task, and would be written down for each that waits.
    """
    template = state.templates[task.template_id]
    placement, reserved = template.spec.placement, _reservation(template)
    told = constraints.unmet(constraints.parse(placement.constraints) if placement else (), state)
    there = [room for room in nodes if room.available]
    if reserved is not None and there:
        if reserved.nano_cpus > max(0, *(room.nano_cpus for room in there)):
            told.append(f"{reserved.nano_cpus / 1e9:g} CPUs are more than any node has free")
        if reserved.memory_bytes > max(0, *(room.memory_bytes for room in there)):
            told.append(f"{reserved.memory_bytes >> 20} MiB are more than any node has free")
    return told


# The choice


def schedule(round: Round, tasks: Sequence[Task]) -> None:
    """Assign pending tasks to nodes; a task without a node says why."""
    if not tasks:
        return
    left = rooms(round)
    groups: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        if task.node_id:
            _confirm(round, left.get(task.node_id), task)
        else:
            groups.setdefault((task.service_id, task.template_id), []).append(task)
    for group in groups.values():
        _spread(round, left, group)


def _confirm(round: Round, room: Room | None, task: Task) -> None:
    """A task of a global service stays pending until its node suits."""
    if room is None:
        return
    refused = refusal(round.state, room, task)
    if refused is not None:
        _say(round, task, explain([refused]))
        return
    _assign(round, room, task, "scheduler confirmed task can run on preassigned node")


def _assign(round: Round, room: Room, task: Task, message: str) -> None:
    claimed = room.take(round.state, task)
    round.put_task(
        replace(
            task,
            node_id=room.node_id,
            generic_resources=claimed,
            state=TaskState.ASSIGNED,
            state_ns=round.now_ns,
            message=message,
            error="",
        )
    )


def _say(round: Round, task: Task, error: str, message: str = "") -> None:
    message = message or PENDING
    if (task.error, task.message) != (error, message):
        round.put_task(replace(task, error=error, message=message))


def _spread(round: Round, left: dict[str, Room], group: list[Task]) -> None:
    placement = round.state.templates[group[0].template_id].spec.placement
    queue = list(group)
    _fill(round, list(left.values()), queue, len(queue), placement.preferences if placement else [])
    if queue:
        refusals = [each for room in left.values() if (each := refusal(round.state, room, queue[0]))]
        reason = explain(refusals)
        error = f"no suitable node ({reason})" if reason else "no suitable node"
        message = "; ".join(unmet(round.state, list(left.values()), queue[0]))
        for task in queue:
            _say(round, task, error, message)


def _fill(
    round: Round,
    nodes: list[Room],
    queue: list[Task],
    count: int,
    preferences: Sequence[PlacementPreference],
) -> int:
    """Give `count` tasks of the queue to these nodes, branches first; how many found a place."""
    for position, preference in enumerate(preferences):
        branches = _branches(round.state, nodes, preference)
        if branches is not None:
            return _fill_evenly(round, branches, queue, count, preferences[position + 1 :])
    return _fill_nodes(round, nodes, queue, count)


def _branches(state: State, nodes: list[Room], preference: PlacementPreference) -> list[list[Room]] | None:
    """The nodes by the label that they are to be spread over; None for a wish that is not known."""
    if preference.spread is None:
        return None
    branches: dict[str, list[Room]] = {}
    for room in nodes:
        value = constraints.label(preference.spread.spread_descriptor, state, room.node_id)
        if value is None:
            return None
        branches.setdefault(value, []).append(room)
    return list(branches.values())


def _fill_evenly(
    round: Round,
    branches: list[list[Room]],
    queue: list[Task],
    count: int,
    preferences: Sequence[PlacementPreference],
) -> int:
    """One task after the other to the branch with fewest of the service that has room."""
    placed = 0
    open_branches = list(branches)
    while placed < count and open_branches and queue:
        service_id = queue[0].service_id
        branch = min(open_branches, key=lambda nodes: sum(room.of_service[service_id] for room in nodes))
        if _fill(round, branch, queue, 1, preferences):
            placed += 1
        else:
            open_branches = [each for each in open_branches if each is not branch]
    return placed


def _fill_nodes(round: Round, nodes: list[Room], queue: list[Task], count: int) -> int:
    """One task after the other to the node that comes first in the order.

    A node that refuses one task of a group refuses the others, too: it is not looked at again.
    """
    first = queue[0]
    heap = [
        (rank(room, first), position)
        for position, room in enumerate(nodes)
        if refusal(round.state, room, first) is None
    ]
    heapify(heap)
    placed = 0
    while placed < count and queue and heap:
        _, position = heappop(heap)
        _assign(round, nodes[position], queue.pop(0), "scheduler assigned task to node")
        placed += 1
        if refusal(round.state, nodes[position], first) is None:
            heappush(heap, (rank(nodes[position], first), position))
    return placed


def rank(room: Room, task: Task) -> tuple[int, int, int]:
    """Where a task goes first, among the nodes that suit: the lowest."""
    failures = room.failures[task.service_id, task.template_id]
    return (
        failures if failures >= MANY_FAILURES else 0,
        room.of_service[task.service_id],
        room.tasks,
    )
