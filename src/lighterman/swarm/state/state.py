"""All objects in memory, and the indexes that one asks by."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from lighterman.errdefs import InvalidParameter
from lighterman.swarm.state.authority import Authority
from lighterman.swarm.state.cluster import (
    Cluster,
    Node,
    NodeAddresses,
    NodeLiveness,
    NodeStatus,
    Session,
)
from lighterman.swarm.state.kinds import Change, Kind, Stored
from lighterman.swarm.state.objects import Config, Network, NetworkStatus, Secret, Service, ServiceStatus
from lighterman.swarm.state.tasks import WORDS, Seen, Task, TaskObservation, TaskState, Template

Key = tuple[Kind, str]
"""An object's kind and id."""

TYPES: Mapping[Kind, type[Stored]] = MappingProxyType(
    {
        Kind.CLUSTER: Cluster,
        Kind.AUTHORITY: Authority,
        Kind.NODE: Node,
        Kind.NODE_STATUS: NodeStatus,
        Kind.NODE_STATE: NodeLiveness,
        Kind.NODE_ADDRESSES: NodeAddresses,
        Kind.SESSION: Session,
        Kind.SERVICE: Service,
        Kind.SERVICE_STATUS: ServiceStatus,
        Kind.TEMPLATE: Template,
        Kind.TASK: Task,
        Kind.TASK_STATUS: TaskObservation,
        Kind.NETWORK: Network,
        Kind.NETWORK_STATUS: NetworkStatus,
        Kind.SECRET: Secret,
        Kind.CONFIG: Config,
    }
)
"""What the objects of a kind are: for whoever decodes them."""

NAMED = frozenset({Kind.SERVICE, Kind.NETWORK, Kind.SECRET, Kind.CONFIG})
"""Kinds in which a name belongs to one object."""


def name_of(kind: Kind, value: Stored) -> str:
    """The name that the object has to itself within its kind; "" when it needs none."""
    return cast(Service | Network | Secret | Config, value).spec.name if kind in NAMED else ""


class Ambiguous(InvalidParameter):
    """A prefix that several ids begin with. Source: moby, daemon/cluster/helpers.go."""

    def __init__(self, what: str, prefix: str, found: int) -> None:
        super().__init__(f"{what} {prefix} is ambiguous ({found} matches found)")


class State:
    """The mirror of the store. Only `apply` changes it; what it hands out is not to be changed."""

    def __init__(self) -> None:
        self.revision = 0
        self._tables: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self._revisions: dict[Key, int] = {}
        self._names: dict[Kind, dict[str, str]] = {kind: {} for kind in NAMED}
        self._by_service: dict[str, dict[str, None]] = {}
        self._by_node: dict[str, dict[str, None]] = {}
        self._by_template: dict[str, dict[str, None]] = {}
        self._addresses: dict[str, dict[str, None]] = {}
        self._ports: dict[str, dict[str, None]] = {}

    # Tables: id -> object

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._tables[Kind.NODE]

    @property
    def node_statuses(self) -> Mapping[str, NodeStatus]:
        return self._tables[Kind.NODE_STATUS]

    @property
    def node_addresses(self) -> Mapping[str, NodeAddresses]:
        return self._tables[Kind.NODE_ADDRESSES]

    @property
    def liveness(self) -> Mapping[str, NodeLiveness]:
        return self._tables[Kind.NODE_STATE]

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._tables[Kind.SESSION]

    @property
    def services(self) -> Mapping[str, Service]:
        return self._tables[Kind.SERVICE]

    @property
    def service_statuses(self) -> Mapping[str, ServiceStatus]:
        return self._tables[Kind.SERVICE_STATUS]

    @property
    def templates(self) -> Mapping[str, Template]:
        return self._tables[Kind.TEMPLATE]

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self._tables[Kind.TASK]

    @property
    def observations(self) -> Mapping[str, TaskObservation]:
        return self._tables[Kind.TASK_STATUS]

    @property
    def networks(self) -> Mapping[str, Network]:
        return self._tables[Kind.NETWORK]

    @property
    def network_statuses(self) -> Mapping[str, NetworkStatus]:
        return self._tables[Kind.NETWORK_STATUS]

    @property
    def secrets(self) -> Mapping[str, Secret]:
        return self._tables[Kind.SECRET]

    @property
    def configs(self) -> Mapping[str, Config]:
        return self._tables[Kind.CONFIG]

    @property
    def cluster(self) -> Cluster | None:
        """The one there is; None before the first write of a swarm."""
        return next(iter(self._tables[Kind.CLUSTER].values()), None)

    @property
    def authority(self) -> Authority | None:
        """The one there is; None before the first write of a swarm."""
        return next(iter(self._tables[Kind.AUTHORITY].values()), None)

    # Questions

    def get(self, kind: Kind, id: str) -> Stored | None:
        """The object, or None."""
        return cast(Stored | None, self._tables[kind].get(id))

    def all(self, kind: Kind) -> Iterable[Stored]:
        return cast(Iterable[Stored], self._tables[kind].values())

    def revision_of(self, kind: Kind, id: str) -> int:
        """When the object was written last; 0 when there is none."""
        return self._revisions.get((kind, id), 0)

    def id_of(self, kind: Kind, name: str) -> str | None:
        """The id of the object that has this name."""
        return self._names[kind].get(name)

    def find(self, kind: Kind, ref: str, what: str) -> Stored | None:
        """The object by id, by name, or by the beginning of its id; None when there is none.

        Raises: Ambiguous, which calls it `what`. Source: moby, daemon/cluster/helpers.go.
        """
        table = self._tables[kind]
        id = ref if ref in table else self._names.get(kind, {}).get(ref)
        if id is not None:
            return cast(Stored, table[id])
        found = [each for each in table if ref and each.startswith(ref)]
        if len(found) > 1:
            raise Ambiguous(what, ref, len(found))
        return cast(Stored, table[found[0]]) if found else None

    def tasks_of_service(self, service_id: str) -> list[Task]:
        """In the order in which they came; tasks of no service are under ""."""
        tasks = self.tasks
        return [tasks[id] for id in self._by_service.get(service_id, ())]

    def tasks_of_node(self, node_id: str) -> list[Task]:
        tasks = self.tasks
        return [tasks[id] for id in self._by_node.get(node_id, ())]

    def template_is_used(self, template_id: str) -> bool:
        """Whether a task has it."""
        return template_id in self._by_template

    def address_is_taken(self, network_id: str, address: str) -> bool:
        """Whether a task, a service or a node has this address, written without prefix length."""
        return f"{address} {network_id}" in self._addresses

    def publisher(self, protocol: str, port: int) -> str | None:
        """The id of the service that has this port in the routing mesh."""
        return next(iter(self._ports.get(f"{port}/{protocol}", ())), None)

    def seen(self, task: Task) -> Seen:
        """How far the task is, by whichever half is further."""
        observed = self.observations.get(task.id)
        if observed is not None:
            state = WORDS.get(observed.status.state, TaskState.NEW)
            if state > task.state:
                return Seen(state, observed.applied_ns)
        return Seen(task.state, task.state_ns)

    def node_state(self, node_id: str) -> str:
        """ready, down, unknown or disconnected."""
        if node_id in self.sessions:
            return "ready"
        judged = self.liveness.get(node_id)
        return "unknown" if judged is None else judged.state

    def __iter__(self) -> Iterator[Key]:
        """Keys of all objects."""
        for kind, table in self._tables.items():
            for id in table:
                yield kind, id

    # The one way to change it

    def apply(self, change: Change) -> Key:
        """Take a change in; the key of what is different now."""
        kind, id, value = change.kind, change.id, change.value
        self.revision = max(self.revision, change.revision)
        self.set_row(kind, id, value, change.revision)
        return kind, id

    def set_row(self, kind: Kind, id: str, value: Stored | None, revision: int) -> None:
        """Put the object into its table and the indexes; None takes it out. For `apply` and drafts."""
        table = self._tables[kind]
        old = table.get(id)
        if old is not None:
            self._unindex(kind, old, value)
        if value is None:
            table.pop(id, None)
            self._revisions.pop((kind, id), None)
            return
        table[id] = value
        self._revisions[kind, id] = revision
        self._index(kind, value)

    def _index(self, kind: Kind, value: Stored) -> None:
        if kind in NAMED:
            self._names[kind][name_of(kind, value)] = value.id
        for index, key, entry in self._entries(kind, value):
            index.setdefault(key, {})[entry] = None

    def _unindex(self, kind: Kind, old: Stored, new: Stored | None) -> None:
        if kind in NAMED:
            name = name_of(kind, old)
            if self._names[kind].get(name) == old.id:
                del self._names[kind][name]
        kept = [] if new is None else list(self._entries(kind, new))
        for each in self._entries(kind, old):
            if each in kept:
                continue  # so that it keeps its place in the order
            index, key, entry = each
            index[key].pop(entry, None)
            if not index[key]:
                del index[key]

    def _entries(self, kind: Kind, value: Any) -> Iterator[tuple[dict[str, dict[str, None]], str, str]]:
        """Where an object is found: index, key and entry."""
        if kind is Kind.TASK:
            yield self._by_template, value.template_id, value.id
            yield self._by_service, value.service_id, value.id
            if value.node_id:
                yield self._by_node, value.node_id, value.id
            for place in value.attached:
                for address in place.addresses:
                    yield self._addresses, f"{address.partition('/')[0]} {place.network_id}", value.id
        elif kind is Kind.SERVICE_STATUS and value.endpoint is not None:
            for vip in value.endpoint.virtual_ips:
                yield self._addresses, f"{vip.addr.partition('/')[0]} {vip.network_id}", value.id
            for port in value.endpoint.ports:
                if port.publish_mode == "ingress":
                    yield self._ports, f"{port.published_port}/{port.protocol}", value.id
        elif kind is Kind.NODE_ADDRESSES:
            for network_id, address in value.addresses.items():
                yield self._addresses, f"{address.partition('/')[0]} {network_id}", value.id
