"""The cluster and its nodes."""

from lighterman.apitypes.swarm import JoinTokens, ManagerStatus, NodeDescription, NodeSpec, SwarmSpec
from lighterman.swarm.state.kinds import Stored


class Cluster(Stored, frozen=True):
    """The swarm itself; there is one."""

    spec: SwarmSpec
    default_addr_pool: tuple[str, ...] = ("10.0.0.0/8",)
    """Where networks without a wish get their subnets from."""
    subnet_size: int = 24
    data_path_port: int = 4789
    join_tokens: JoinTokens = JoinTokens()


class Node(Stored, frozen=True):
    """A node as it was wished: `spec` is what the API may change."""

    spec: NodeSpec
    role: str = "worker"
    """What its certificate says; it follows `spec.role`."""


class NodeStatus(Stored, frozen=True):
    """What a node has said of itself, written by the manager that it is connected with."""

    description: NodeDescription
    addr: str = ""
    """Its address, without a port."""
    data_path_addr: str = ""
    """Where its tunnels end."""
    manager: ManagerStatus | None = None


class Session(Stored, frozen=True):
    """The node of this id is connected with a manager; it goes with the lease of that manager."""

    manager_id: str


class NodeLiveness(Stored, frozen=True):
    """The leader's judgement of a node without a session: `state` is "down", "unknown" or "disconnected".

    A node with a session needs none: it is ready.
    """

    state: str
    message: str = ""
    since_ns: int = 0


class NodeAddresses(Stored, frozen=True):
    """The node's own addresses in overlay networks that it takes part in: network id -> address/prefix."""

    addresses: dict[str, str]
