"""A swarm on the wire: the cluster, its settings and its nodes.

Source: Swarm, Node, SwarmInit, SwarmJoin of the API; `api/types/swarm` of moby 20.10.24. Defaults are written
as in `apitypes.service`.
"""

from msgspec import field

from lighterman.apitypes.service import Driver, Platform, Resources, Version, always
from lighterman.apitypes.wire import Wire

# --- Nodes ---


class NodeSpec(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    labels: dict[str, str] = always(dict)
    role: str = ""
    """worker or manager."""
    availability: str = ""
    """active, pause or drain."""


class PluginDescription(Wire, frozen=True, omit_defaults=True):
    type: str = ""
    name: str = ""


class EngineDescription(Wire, frozen=True, omit_defaults=True):
    engine_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    plugins: list[PluginDescription] = field(default_factory=list)


class TLSInfo(Wire, frozen=True, omit_defaults=True):
    """The root a node trusts (PEM) and who signed its certificate (DER; base64 on the wire)."""

    trust_root: str = ""
    cert_issuer_subject: bytes = b""
    cert_issuer_public_key: bytes = b""


class NodeDescription(Wire, frozen=True, omit_defaults=True):
    """What a node says of itself."""

    hostname: str = ""
    platform: Platform = always(Platform)
    resources: Resources = always(Resources)
    engine: EngineDescription = always(EngineDescription)
    tls_info: TLSInfo = always(TLSInfo, name="TLSInfo")


class NodeStatus(Wire, frozen=True, omit_defaults=True):
    state: str = ""
    """unknown, down, ready or disconnected."""
    message: str = ""
    addr: str = ""


class ManagerStatus(Wire, frozen=True, omit_defaults=True):
    leader: bool = False
    reachability: str = ""
    """unknown, unreachable or reachable."""
    addr: str = ""


class Node(Wire, frozen=True, omit_defaults=True, kw_only=True):
    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    spec: NodeSpec = field()
    description: NodeDescription = field()
    status: NodeStatus = field()
    manager_status: ManagerStatus | None = None


# --- The cluster ---


class OrchestrationConfig(Wire, frozen=True, omit_defaults=True):
    task_history_retention_limit: int | None = None


class RaftConfig(Wire, frozen=True, omit_defaults=True):
    snapshot_interval: int = 0
    keep_old_snapshots: int | None = None
    log_entries_for_slow_followers: int = 0
    election_tick: int = always(int)
    heartbeat_tick: int = always(int)


class DispatcherConfig(Wire, frozen=True, omit_defaults=True):
    heartbeat_period: int = 0


class ExternalCA(Wire, frozen=True, omit_defaults=True):
    protocol: str = always(str)
    url: str = always(str, name="URL")
    options: dict[str, str] = field(default_factory=dict)
    ca_cert: str = always(str, name="CACert")  # 1.30


class CAConfig(Wire, frozen=True, omit_defaults=True):
    """`signing_ca_cert` and `signing_ca_key` are taken and never told."""

    node_cert_expiry: int = 0
    external_cas: list[ExternalCA] = field(name="ExternalCAs", default_factory=list)
    signing_ca_cert: str = field(name="SigningCACert", default="")
    signing_ca_key: str = field(name="SigningCAKey", default="")
    force_rotate: int = 0


class TaskDefaults(Wire, frozen=True, omit_defaults=True):
    log_driver: Driver | None = None


class EncryptionConfig(Wire, frozen=True):
    auto_lock_managers: bool = False


class SwarmSpec(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    labels: dict[str, str] = always(dict)
    orchestration: OrchestrationConfig = always(OrchestrationConfig)
    raft: RaftConfig = always(RaftConfig)
    dispatcher: DispatcherConfig = always(DispatcherConfig)
    ca_config: CAConfig = always(CAConfig, name="CAConfig")
    task_defaults: TaskDefaults = always(TaskDefaults)
    encryption_config: EncryptionConfig = always(EncryptionConfig)


class JoinTokens(Wire, frozen=True):
    worker: str = ""
    manager: str = ""


class ClusterInfo(Wire, frozen=True, kw_only=True):
    """The cluster as `/info` tells it."""

    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    spec: SwarmSpec = field()
    tls_info: TLSInfo = field(name="TLSInfo")
    root_rotation_in_progress: bool = False
    default_addr_pool: list[str] | None = None
    subnet_size: int = 0
    data_path_port: int = 0


class Swarm(ClusterInfo, frozen=True, kw_only=True):
    """Source: SwarmInspect."""

    join_tokens: JoinTokens = field()


class SwarmInitBody(Wire, frozen=True):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""  # 1.30
    data_path_port: int = 0  # 1.40
    force_new_cluster: bool = False
    spec: SwarmSpec = always(SwarmSpec)
    auto_lock_managers: bool = False
    availability: str = ""
    default_addr_pool: list[str] | None = None  # 1.39
    subnet_size: int = 0  # 1.39


class SwarmJoinBody(Wire, frozen=True):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: list[str] | None = None
    join_token: str = ""
    availability: str = ""


class SwarmUnlockBody(Wire, frozen=True):
    unlock_key: str = ""


class SwarmUnlockKeyResponse(Wire, frozen=True):
    unlock_key: str = ""


class Peer(Wire, frozen=True):
    node_id: str = field(name="NodeID", default="")
    addr: str = ""


class SwarmInfo(Wire, frozen=True, omit_defaults=True):
    """The section `Swarm` of `/info`."""

    node_id: str = always(str, name="NodeID")
    node_addr: str = always(str)
    local_node_state: str = always(lambda: "inactive")
    control_available: bool = always(bool)
    error: str = always(str)
    remote_managers: list[Peer] | None = always(lambda: None)
    nodes: int = 0
    managers: int = 0
    cluster: ClusterInfo | None = None
    warnings: list[str] = field(default_factory=list)
