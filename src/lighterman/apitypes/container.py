"""What a container is asked to be. Source: ContainerConfig, HostConfig and Resources of the API;
fields that are absent from 1.36 but that dockerd takes under it as well are marked with their version.

`None` is what the wire calls null: not given. What a client gave is kept as it came.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from lighterman.apitypes.health import Health
from lighterman.apitypes.wire import Wire

Empty = dict[str, Any]
"""The `{}` that the wire puts behind a key where a set is meant."""


class HealthConfig(Wire, frozen=True, omit_defaults=True):
    """Times are ns; 0 inherits."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0
    start_interval: int = 0  # 1.44


class ContainerConfig(Wire, frozen=True):
    """What is portable between hosts."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Empty] | UnsetType | None = UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | UnsetType | None = UNSET
    args_escaped: bool | UnsetType = UNSET
    image: str = ""
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool | UnsetType = UNSET
    mac_address: str | UnsetType = UNSET
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | UnsetType = UNSET
    stop_timeout: int | UnsetType | None = UNSET
    shell: list[str] | UnsetType | None = UNSET


class PortBinding(Wire, frozen=True):
    host_ip: str = ""
    host_port: str = ""


class RestartPolicy(Wire, frozen=True):
    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(Wire, frozen=True):
    type: str = ""
    config: dict[str, str] | None = None


class DeviceMapping(Wire, frozen=True):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Wire, frozen=True):
    """1.40."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(name="DeviceIDs", default=None)
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class ThrottleDevice(Wire, frozen=True):
    path: str = ""
    rate: int = 0


class WeightDevice(Wire, frozen=True):
    path: str = ""
    weight: int = 0


class Ulimit(Wire, frozen=True):
    name: str = ""
    soft: int = 0
    hard: int = 0


class BindOptions(Wire, frozen=True, omit_defaults=True):
    propagation: str = ""
    non_recursive: bool = False  # 1.40
    create_mountpoint: bool = False  # 1.42
    read_only_non_recursive: bool = False  # 1.44
    read_only_force_recursive: bool = False  # 1.44


class DriverConfig(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Wire, frozen=True, omit_defaults=True):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None


class TmpfsOptions(Wire, frozen=True, omit_defaults=True):
    size_bytes: int = 0
    mode: int = 0


class Mount(Wire, frozen=True, omit_defaults=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class Resources(Wire, frozen=True):
    """Limits; the part of HostConfig that `update` may change. Bytes, ns, us as the spec says."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceReadIOps", default=None)
    blkio_device_write_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceWriteIOps", default=None)
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None  # 1.40
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(name="KernelMemoryTCP", default=0)
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = field(name="IOMaximumBandwidth", default=0)
    disk_quota: int | UnsetType = UNSET  # dockerd has forgotten it


class HostConfig(Resources, frozen=True):
    """What is not portable between hosts."""

    binds: list[str] | None = None
    container_id_file: str = field(name="ContainerIDFile", default="")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[Mount] | UnsetType | None = UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""  # 1.41
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | UnsetType | None = UNSET
    tmpfs: dict[str, str] | UnsetType | None = UNSET
    uts_mode: str = field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | UnsetType | None = UNSET
    runtime: str | UnsetType = UNSET
    console_size: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    isolation: str = ""
    annotations: dict[str, str] | UnsetType | None = UNSET  # 1.43
    init: bool | UnsetType | None = UNSET  # 1.25 in dockerd
    masked_paths: list[str] | None = None  # 1.38; null is the default list, [] is none
    readonly_paths: list[str] | None = None


class EndpointIPAMConfig(Wire, frozen=True, omit_defaults=True):
    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: list[str] | None = field(name="LinkLocalIPs", default=None)


class EndpointSettings(Wire, frozen=True):
    """How a container sits in one network: wishes first, then what came of them."""

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default=None)
    links: list[str] | None = None
    aliases: list[str] | None = None
    network_id: str = field(name="NetworkID", default="")
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int | UnsetType = UNSET
    dns_names: list[str] | UnsetType | None = field(name="DNSNames", default=UNSET)  # 1.44, told only


class NetworkingConfig(Wire, frozen=True):
    endpoints_config: dict[str, EndpointSettings | None] | None = None


class ContainerCreateBody(ContainerConfig, frozen=True):
    """The body of ContainerCreate: a ContainerConfig with two more keys."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class ContainerCreateResponse(Wire, frozen=True):
    id: str
    warnings: list[str]


class ContainerState(Wire, frozen=True, kw_only=True):
    """Source: ContainerState; `Health` is there for containers with a check only."""

    status: str
    running: bool
    paused: bool
    restarting: bool
    oom_killed: bool = field(name="OOMKilled")
    dead: bool
    pid: int  # 0 when there is no process, as the API says it
    exit_code: int
    error: str
    started_at: str
    finished_at: str
    health: Health | UnsetType = UNSET


class GraphDriverData(Wire, frozen=True):
    """Where a container's or image's file system lies. Source: GraphDriverData."""

    data: dict[str, str]
    name: str


class MountPoint(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """A mount as it is. `Name` and `Driver` are there for volumes only."""

    type: str = msgspec.field()
    name: str = ""
    source: str = msgspec.field()
    destination: str = msgspec.field()
    driver: str = ""
    mode: str = msgspec.field()
    rw: bool = field(name="RW")
    propagation: str = msgspec.field()


class Address(Wire, frozen=True):
    addr: str
    prefix_len: int


class NetworkSettings(Wire, frozen=True, kw_only=True):
    """The sandbox, with the default bridge's endpoint once more at the top, as old clients want it."""

    bridge: str = ""
    sandbox_id: str = field(name="SandboxID", default="")
    hairpin_mode: bool = False
    link_local_ipv6_address: str = field(name="LinkLocalIPv6Address", default="")
    link_local_ipv6_prefix_len: int = field(name="LinkLocalIPv6PrefixLen", default=0)
    ports: dict[str, list[PortBinding] | None]
    sandbox_key: str = ""
    secondary_ip_addresses: list[Address] | None = field(name="SecondaryIPAddresses", default=None)
    secondary_ipv6_addresses: list[Address] | None = field(name="SecondaryIPv6Addresses", default=None)
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    mac_address: str = ""
    networks: dict[str, EndpointSettings]


class ContainerInspectResponse(Wire, frozen=True, kw_only=True):
    """Source: ContainerInspect; order and nulls as dockerd 20.10.24 sends them."""

    id: str
    created: str
    path: str
    args: list[str]
    state: ContainerState
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str
    platform: str
    mount_label: str
    process_label: str
    app_armor_profile: str
    exec_ids: list[str] | None = field(name="ExecIDs")
    host_config: HostConfig
    graph_driver: GraphDriverData
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPoint]
    config: ContainerConfig
    network_settings: NetworkSettings


class Port(Wire, frozen=True, omit_defaults=True):
    """A port in a list: published (with IP and PublicPort) or only exposed."""

    ip: str = field(name="IP", default="")
    private_port: int = 0
    public_port: int = 0
    type: str = ""


class SummaryHostConfig(Wire, frozen=True):
    network_mode: str


class SummaryNetworkSettings(Wire, frozen=True):
    networks: dict[str, EndpointSettings]


class ContainerSummary(Wire, frozen=True, kw_only=True):
    """One line of ContainerList. The sizes are there when they were asked for."""

    id: str
    names: list[str]
    image: str
    image_id: str = field(name="ImageID")
    command: str
    created: int  # seconds since the epoch
    ports: list[Port]
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str] | None
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworkSettings
    mounts: list[MountPoint]


class ContainerWaitError(Wire, frozen=True):
    message: str


class ContainerWaitResponse(Wire, frozen=True):
    error: ContainerWaitError | None
    status_code: int


class ContainerTopResponse(Wire, frozen=True):
    processes: list[list[str]]
    titles: list[str]


class ContainerPruneResponse(Wire, frozen=True):
    containers_deleted: list[str] | None
    space_reclaimed: int


class ContainerUpdateBody(Resources, frozen=True):
    """The body of ContainerUpdate. A zero is "not given", so a limit cannot be taken away.

    `port_bindings` is an extension of ours: all that the container is to publish from now on.
    """

    restart_policy: RestartPolicy = RestartPolicy()
    port_bindings: dict[str, list[PortBinding] | None] | UnsetType | None = UNSET


class ContainerUpdateResponse(Wire, frozen=True):
    warnings: list[str] | None
