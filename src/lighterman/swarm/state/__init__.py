"""What a swarm remembers, as plain values: no I/O here, and no decisions.

Four words. An *object* is a frozen struct with an id, stored under its `Kind`. The *state* is all objects in
memory with the indexes that one asks by; every manager has one, the mirror of the store. A *write* (`Put`,
`Delete`) is a wish to change the store, with the revision that it expects. A *change* is what the store tells
has become of an object.

One writer for each kind, so that nobody overwrites what he has not seen: the API and joining nodes write
wishes (CLUSTER, AUTHORITY, NODE, SERVICE, NETWORK, SECRET, CONFIG), the leader writes decisions
(SERVICE_STATUS, NETWORK_STATUS, TEMPLATE, TASK, NODE_STATE, NODE_ADDRESSES), and the manager that a node is
connected with writes what it observes (NODE_STATUS, SESSION, TASK_STATUS). A wish's revision, the version
that clients see, therefore moves with wishes only.

The leader thinks ahead in a `draft`: it applies to the state what it would write, the next rule sees it, and
at the end everything is taken back and committed as one transaction.
"""

from lighterman.swarm.state.authority import Authority, Rotation
from lighterman.swarm.state.cluster import (
    Cluster,
    Node,
    NodeAddresses,
    NodeLiveness,
    NodeStatus,
    Session,
)
from lighterman.swarm.state.draft import Draft, draft
from lighterman.swarm.state.kinds import Change, Delete, Kind, Put, Stored, Write
from lighterman.swarm.state.objects import (
    Config,
    Network,
    NetworkStatus,
    Secret,
    Service,
    ServiceStatus,
    Update,
)
from lighterman.swarm.state.state import Ambiguous, Key, State
from lighterman.swarm.state.tasks import (
    Attached,
    Seen,
    Task,
    TaskObservation,
    TaskState,
    Template,
    observe,
)
from lighterman.swarm.state.template import template, template_of

__all__ = [
    "Ambiguous",
    "Attached",
    "Authority",
    "Change",
    "Cluster",
    "Config",
    "Delete",
    "Draft",
    "Key",
    "Kind",
    "Network",
    "NetworkStatus",
    "Node",
    "NodeAddresses",
    "NodeLiveness",
    "NodeStatus",
    "Put",
    "Rotation",
    "Secret",
    "Seen",
    "Service",
    "ServiceStatus",
    "Session",
    "State",
    "Stored",
    "Task",
    "TaskObservation",
    "TaskState",
    "Template",
    "Update",
    "Write",
    "draft",
    "observe",
    "template",
    "template_of",
]
