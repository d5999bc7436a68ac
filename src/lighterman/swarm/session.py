"""The conversation of a manager and an agent: msgpack frames over one channel that either end may lose.

Three words. A *frame* is one message; `encode` and `decode_from_manager`, `decode_from_agent` turn it into
bytes and back. A *channel* carries frames: a websocket over mutual TLS on port 2377 between hosts, a pair of
queues within a manager's own process. A *sequence* numbers the assignments of one session from 1, so that an
agent knows a gap when it sees one and asks for everything again by opening a new session.

The walk: the agent sends `Hello`, the manager answers `Welcome` and then `Assignments` with everything, and
later what changes. Each end sends at least a heartbeat in each period; an end that hears nothing for a few
periods gives the session up. Whoever connects again begins with `Hello`; nothing is remembered of the
session before.

States travel as the API's own texts ("running"); the structs of the wire are those of `apitypes`.
"""

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from lighterman.apitypes.service import Driver, GenericResource, PortConfig, TaskSpec, TaskStatus
from lighterman.apitypes.swarm import NodeDescription

HEARTBEAT_PERIOD_S = 2.5
"""Between frames of a quiet session, unless `Welcome` says otherwise: half of the swarm's setting."""
SILENT_PERIODS = 2
"""After so many periods without a frame an agent is gone: with the leader's patience that makes 15 s."""
PATIENT_PERIODS = 3
"""After so many periods without a frame a manager is gone."""


class Body(Struct, frozen=True, omit_defaults=True):
    """The root of all frames' parts. Fields are added at the end and have defaults: nodes differ in age."""


class Peer(Body, frozen=True):
    """A manager that an agent may turn to."""

    node_id: str
    addr: str
    """host:port of its listener."""


class NetworkPeer(Body, frozen=True):
    """A node that takes part in an overlay network, as one end of the others' tunnels."""

    node_id: str
    addr: str
    """Its data path address: where VXLAN packets go."""
    node_address: str = ""
    """Its own address in the network, with prefix length, as `AssignedNetwork.node_address` is ours. In the
    ingress network every peer has one: what it forwards comes from there, and answers go back that way."""


class Endpoint(Body, frozen=True):
    """A task's end in an overlay network: what tables of neighbours, names and balancing are made of."""

    task_id: str
    node_id: str
    name: str
    """Of the task's container, as in web.1.<id>."""
    address: str
    """IPv4 with prefix length, as in 10.0.1.5/24."""
    mac: str
    service_id: str = ""
    service_name: str = ""
    aliases: tuple[str, ...] = ()
    healthy: bool = True
    """Whether it takes part in balancing: running, and not on its way out."""


class PublishedPort(Body, frozen=True):
    """A port that the routing mesh listens on, on every node."""

    protocol: str
    target_port: int
    published_port: int


class NetworkService(Body, frozen=True):
    """A service in an overlay network."""

    service_id: str
    name: str
    vip: str = ""
    """IPv4 with prefix length; "" with endpoint mode dnsrr."""
    aliases: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    """Only in the ingress network."""


class AssignedNetwork(Body, frozen=True):
    """An overlay network that this node takes part in, with everything that is in it."""

    id: str
    name: str
    driver: str
    subnet: str
    gateway: str
    vni: int
    mtu: int = 1450
    encrypted: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipv6_subnet: str = ""
    labels: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    node_address: str = ""
    """This node's own address in it (balancing, routing mesh), with prefix length."""
    peers: tuple[NetworkPeer, ...] = ()
    """The other nodes in it."""
    endpoints: tuple[Endpoint, ...] = ()
    """Of all nodes, this one's too."""
    services: tuple[NetworkService, ...] = ()
    data_path_port: int = 4789


class Attachment(Body, frozen=True):
    """A task's place in a network."""

    network_id: str
    network_name: str
    addresses: tuple[str, ...] = ()
    """With prefix length."""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = {}


class AssignedTask(Body, frozen=True):
    """What a node has to bring about, complete: nothing else is asked for to do it."""

    id: str
    desired_state: str
    """ready, running, complete, shutdown or remove."""
    spec: TaskSpec
    name: str = ""
    """Of its container: <service>.<slot or node>.<task id>."""
    service_id: str = ""
    service_name: str = ""
    service_labels: Mapping[str, str] = {}
    slot: int = 0
    """0 in a global service."""
    attachments: tuple[Attachment, ...] = ()
    host_ports: tuple[PortConfig, ...] = ()
    """Those of mode host."""
    log_driver: Driver | None = None
    """The task's own, or the swarm's default."""
    registry_auth: str = ""
    """X-Registry-Auth as the client sent it."""
    generic_resources: tuple[GenericResource, ...] = ()
    """What it was given of those that it reserves."""


class AssignedSecret(Body, frozen=True):
    """A secret that a task of this node has: kept in memory only."""

    id: str
    name: str
    content: bytes
    templating: str = ""
    """"golang": the content is a template, filled in for each task."""


class AssignedConfig(Body, frozen=True):
    """A config that a task of this node has."""

    id: str
    name: str
    content: bytes
    templating: str = ""


class Removed(Body, frozen=True):
    """Ids of what does not concern this node any more."""

    tasks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class TaskReport(Body, frozen=True):
    """What became of a task. Kept by the manager only if it is further on than what is known."""

    task_id: str
    status: TaskStatus


class LogLine(Body, frozen=True):
    """What a task wrote at once."""

    task_id: str
    node_id: str
    service_id: str
    stream: str
    """stdout or stderr."""
    time_ns: int
    text: bytes
    attributes: Mapping[str, str] = {}
    """What `details` shows."""


# Frames of the manager


class FromManager(Body, frozen=True, tag_field="t"):
    """A frame that an agent receives."""


class Welcome(FromManager, frozen=True, tag="welcome"):
    """The session stands."""

    session_id: str
    manager_id: str
    heartbeat_period_s: float = HEARTBEAT_PERIOD_S
    managers: tuple[Peer, ...] = ()


class Heartbeat(FromManager, frozen=True, tag="beat"):
    """Only that the manager is there."""


class Assignments(FromManager, frozen=True, tag="assign"):
    """What this node has to do. With `full` it is all there is; what the agent holds beyond it goes."""

    sequence: int
    full: bool = False
    tasks: tuple[AssignedTask, ...] = ()
    secrets: tuple[AssignedSecret, ...] = ()
    configs: tuple[AssignedConfig, ...] = ()
    networks: tuple[AssignedNetwork, ...] = ()
    removed: Removed = field(default_factory=Removed)


class ManagersChanged(FromManager, frozen=True, tag="managers"):
    """Whom to turn to when this manager is lost."""

    managers: tuple[Peer, ...]


class RoleChanged(FromManager, frozen=True, tag="role"):
    """The node shall be a manager, or be one no more: it asks for a certificate of its new role."""

    role: str


class TrustChanged(FromManager, frozen=True, tag="trust"):
    """The swarm's root certificates are others now; `renew` wants a new certificate of this node at once."""

    root: str
    """PEM, one certificate or two while the root is rotated."""
    renew: bool = False


class LogsWanted(FromManager, frozen=True, tag="logs"):
    """Somebody reads logs of tasks of this node: send `LogsRead` frames under this id."""

    subscription_id: str
    task_ids: tuple[str, ...]
    follow: bool = False
    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    tail: int = -1
    """-1: all."""


class LogsUnwanted(FromManager, frozen=True, tag="logs-end"):
    """The reader of these logs has left."""

    subscription_id: str


class AttachRefused(FromManager, frozen=True, tag="attach-no"):
    """A plain container does not get into the network that it asked for."""

    request_id: str
    error: str


class CallWanted(FromManager, frozen=True, tag="call"):
    """A manager wants to speak with this node apart from the session: it connects to it, under this id."""

    call_id: str
    addr: str
    """host:port of that manager's listener."""


class Expelled(FromManager, frozen=True, tag="removed"):
    """The node is out of the swarm: it drops its tasks and asks no manager any more."""


# Frames of the agent


class FromAgent(Body, frozen=True, tag_field="t"):
    """A frame that a manager receives."""


class Hello(FromAgent, frozen=True, tag="hello"):
    """Opens the session; sent again within it when the description has changed."""

    description: NodeDescription
    data_path_addr: str = ""
    """Where the tunnels of overlay networks end; "" where the connection comes from."""


class Alive(FromAgent, frozen=True, tag="beat"):
    """Only that the agent is there."""


class Statuses(FromAgent, frozen=True, tag="statuses"):
    reports: tuple[TaskReport, ...]


class AttachWanted(FromAgent, frozen=True, tag="attach"):
    """A plain container wants into an attachable network: the manager makes a task with its
    `network_attachment_spec`, which comes with the next assignments, or answers `AttachRefused`.
    """

    request_id: str
    container_id: str
    target: str
    """The network's id or name."""
    addresses: tuple[str, ...] = ()
    """Those that were wished, without prefix length."""
    aliases: tuple[str, ...] = ()
    """What others find it by: its name, its short id and its aliases. They become those of its endpoint."""


class DetachWanted(FromAgent, frozen=True, tag="detach"):
    """A plain container has left: its task can go."""

    task_id: str


class LogsRead(FromAgent, frozen=True, tag="logs"):
    """Lines for somebody who reads."""

    subscription_id: str
    lines: tuple[LogLine, ...] = ()
    done: bool = False
    """No more will come from this node; `error` says whether that is for a reason."""
    error: str = ""


ManagerFrame = (
    Welcome
    | Heartbeat
    | Assignments
    | ManagersChanged
    | RoleChanged
    | TrustChanged
    | LogsWanted
    | LogsUnwanted
    | AttachRefused
    | CallWanted
    | Expelled
)
AgentFrame = Hello | Alive | Statuses | AttachWanted | DetachWanted | LogsRead
Received = TypeVar("Received", covariant=True)
Sent = TypeVar("Sent", contravariant=True)

_ENCODER = msgspec.msgpack.Encoder()
_FROM_MANAGER: msgspec.msgpack.Decoder[ManagerFrame] = msgspec.msgpack.Decoder(ManagerFrame)
_FROM_AGENT: msgspec.msgpack.Decoder[AgentFrame] = msgspec.msgpack.Decoder(AgentFrame)


def encode(frame: ManagerFrame | AgentFrame) -> bytes:
    return _ENCODER.encode(frame)


def decode_from_manager(frame: bytes) -> ManagerFrame:
    """Raises: msgspec.ValidationError, msgspec.DecodeError."""
    return _FROM_MANAGER.decode(frame)


def decode_from_agent(frame: bytes) -> AgentFrame:
    """Raises: msgspec.ValidationError, msgspec.DecodeError."""
    return _FROM_AGENT.decode(frame)


class ChannelClosed(ConnectionError):
    """The other end is gone, or has been silent for too long."""


class Channel(Protocol[Received, Sent]):
    """One end of a session. `send` waits while the other end does not keep up."""

    silence_s: float
    """After so long without a frame, or with one that the other end does not take, it is gone."""

    async def send(self, frame: Sent) -> None:
        """Raises: ChannelClosed."""

    async def receive(self) -> Received:
        """The next frame, in order. Raises: ChannelClosed."""

    async def close(self) -> None:
        """Idempotent; what was sent before arrives if it can."""


AgentChannel = Channel[ManagerFrame, AgentFrame]
"""The agent's end; `swarm.node` opens it: `connect: Callable[[], Awaitable[AgentChannel]]`."""
ManagerChannel = Channel[AgentFrame, ManagerFrame]
"""The manager's end."""
