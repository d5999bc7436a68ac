"""The engine about itself. Source: SystemInfo, SystemVersion; order and nulls as dockerd 20.10 sends them."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType, field

from lighterman.apitypes.build import BuildCache
from lighterman.apitypes.container import ContainerSummary
from lighterman.apitypes.image import ImageSummary
from lighterman.apitypes.volume import Volume
from lighterman.apitypes.wire import Wire


class PluginsInfo(Wire, frozen=True):
    """Names of the drivers that can be asked for."""

    volume: list[str]
    network: list[str]
    authorization: list[str] | None
    log: list[str]


class IndexInfo(Wire, frozen=True):
    name: str
    mirrors: list[str]
    secure: bool
    official: bool


class RegistryConfig(Wire, frozen=True):
    allow_nondistributable_artifacts_cidrs: list[str] = field(name="AllowNondistributableArtifactsCIDRs")
    allow_nondistributable_artifacts_hostnames: list[str]
    insecure_registry_cidrs: list[str] = field(name="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo]
    mirrors: list[str]


class RuntimeInfo(Wire, frozen=True):
    path: str = field(name="path")
    runtime_args: list[str] | UnsetType = field(name="runtimeArgs", default=UNSET)


class SwarmInfo(Wire, frozen=True):
    """Of an engine outside of any swarm."""

    node_id: str = field(name="NodeID", default="")
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: list[dict[str, str]] | None = None


class Commit(Wire, frozen=True):
    id: str = field(name="ID", default="")
    expected: str = ""


class SystemInfo(Wire, frozen=True, kw_only=True):
    id: str = field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: list[list[str]]
    plugins: PluginsInfo
    memory_limit: bool
    swap_limit: bool
    kernel_memory: bool
    kernel_memory_tcp: bool = field(name="KernelMemoryTCP")
    cpu_cfs_period: bool
    cpu_cfs_quota: bool
    cpu_shares: bool = field(name="CPUShares")
    cpu_set: bool = field(name="CPUSet")
    pids_limit: bool
    ipv4_forwarding: bool = field(name="IPv4Forwarding")
    bridge_nf_iptables: bool
    bridge_nf_ip6tables: bool = field(name="BridgeNfIp6tables")
    debug: bool
    n_fd: int = field(name="NFd")
    oom_kill_disable: bool
    n_goroutines: int = field(name="NGoroutines")
    """Here: tasks of the event loop."""
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int = field(name="NEventsListener")
    kernel_version: str
    operating_system: str
    os_version: str = field(name="OSVersion")
    os_type: str = field(name="OSType")
    architecture: str
    index_server_address: str
    registry_config: RegistryConfig
    ncpu: int = field(name="NCPU")
    mem_total: int
    generic_resources: list[Struct] | None
    docker_root_dir: str
    http_proxy: str
    https_proxy: str
    no_proxy: str
    name: str
    labels: list[str]
    experimental_build: bool
    server_version: str
    runtimes: dict[str, RuntimeInfo]
    default_runtime: str
    swarm: Wire
    """`SwarmInfo`; in a swarm that of `apitypes.swarm`, which tells more."""
    live_restore_enabled: bool
    isolation: str
    init_binary: str
    containerd_commit: Commit
    runc_commit: Commit
    init_commit: Commit
    security_options: list[str]
    warnings: list[str] | None


class Platform(Wire, frozen=True):
    name: str


class Component(Wire, frozen=True):
    """A program that the engine is made of."""

    name: str
    version: str
    details: dict[str, str]


class SystemVersion(Wire, frozen=True, kw_only=True):
    platform: Platform
    components: list[Component]
    version: str
    api_version: str
    min_api_version: str = field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    build_time: str | UnsetType = UNSET


class DataUsage(Wire, frozen=True):
    """What takes room on the disk; a kind that was not asked for is null. Source: SystemDataUsage."""

    layers_size: int
    images: Sequence[ImageSummary] | None
    containers: Sequence[ContainerSummary] | None
    volumes: Sequence[Volume] | None
    build_cache: Sequence[BuildCache] | None = None
    builder_size: int = 0
