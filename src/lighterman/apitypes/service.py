"""Services on the wire: what a task is to be, tasks, networks, secrets and configs of a swarm.

Source: Service, Task, Secret, Config of the API; `api/types/swarm` of moby 20.10.24 for order
and for what is left out. The specs are also what the store holds: a wish is kept as it was said. Fields that
are absent from 1.36 but that dockerd knows are marked with their version.

Go leaves an empty list, map or text out, and never a nested struct. Hence the three kinds of defaults here: a
plain one is left out; `None` is a pointer that is not there; `always(...)` is written even when it is zero.
Times are ns where they are spans and RFC 3339 where they are moments.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import field

from lighterman.apitypes.container import Empty, HealthConfig, Mount, Ulimit
from lighterman.apitypes.wire import Wire

T = TypeVar("T")


def always(zero: Callable[[], T], *, name: str | None = None) -> T:
    """A field that `omit_defaults` does not leave out: msgspec knows only the factories `list` and `dict`."""
    value: T = field(default_factory=lambda: zero(), name=name)
    return value


class Version(Wire, frozen=True, omit_defaults=True):
    """The revision that an update has to name; it grows with each change of the object."""

    index: int = 0


class Driver(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    options: dict[str, str] = field(default_factory=dict)


# --- Networks, as services refer to them ---


class NetworkAttachmentConfig(Wire, frozen=True, omit_defaults=True):
    """A network that tasks are to sit in, by name or id; in the store always by id."""

    target: str = ""
    aliases: list[str] = field(default_factory=list)
    driver_opts: dict[str, str] = field(default_factory=dict)


class PortConfig(Wire, frozen=True, omit_defaults=True):
    """A published port; `published_port` 0 lets the swarm choose."""

    name: str = ""
    protocol: str = ""
    """tcp, udp or sctp."""
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = ""
    """ingress or host."""


class EndpointSpec(Wire, frozen=True, omit_defaults=True):
    mode: str = ""
    """vip or dnsrr."""
    ports: list[PortConfig] = field(default_factory=list)


class EndpointVirtualIP(Wire, frozen=True, omit_defaults=True):
    """`addr` with its prefix length."""

    network_id: str = field(name="NetworkID", default="")
    addr: str = ""


class Endpoint(Wire, frozen=True, omit_defaults=True):
    """How a service is reached."""

    spec: EndpointSpec = always(EndpointSpec)
    ports: list[PortConfig] = field(default_factory=list)
    virtual_ips: list[EndpointVirtualIP] = field(name="VirtualIPs", default_factory=list)


class IPAMConfig(Wire, frozen=True, omit_defaults=True):
    subnet: str = ""
    range: str = ""
    gateway: str = ""


class IPAMOptions(Wire, frozen=True, omit_defaults=True):
    driver: Driver = always(Driver)
    configs: list[IPAMConfig] = field(default_factory=list)


class NetworkConfigReference(Wire, frozen=True):
    network: str = ""


class NetworkSpec(Wire, frozen=True, omit_defaults=True):
    """A network of the swarm as it was wished."""

    name: str = ""
    labels: dict[str, str] = always(dict)
    driver_configuration: Driver | None = None
    ipv6_enabled: bool = field(name="IPv6Enabled", default=False)
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam_options: IPAMOptions | None = field(name="IPAMOptions", default=None)
    config_from: NetworkConfigReference | None = None
    scope: str = ""


class Network(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """A network as a task's attachment tells it; `/networks` speaks of it in its own form."""

    id: str = field(name="ID")
    version: Version = always(Version)
    created_at: str = always(str)
    updated_at: str = always(str)
    spec: NetworkSpec = always(NetworkSpec)
    driver_state: Driver = always(Driver)
    ipam_options: IPAMOptions | None = field(name="IPAMOptions", default=None)


class NetworkAttachment(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """A task's place in a network; addresses with their prefix length."""

    network: Network = field()
    addresses: list[str] = field(default_factory=list)


# --- What a task is to be ---


class DNSConfig(Wire, frozen=True, omit_defaults=True):
    nameservers: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


class SELinuxContext(Wire, frozen=True):
    disable: bool = False
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class CredentialSpec(Wire, frozen=True):
    """Windows only."""

    config: str = ""  # 1.40
    file: str = ""
    registry: str = ""


class Privileges(Wire, frozen=True):
    credential_spec: CredentialSpec | None = None
    se_linux_context: SELinuxContext | None = field(name="SELinuxContext", default=None)


class FileTarget(Wire, frozen=True):
    """Where a secret or config is found in the container: `mode` as chmod has it."""

    name: str = ""
    uid: str = field(name="UID", default="")
    gid: str = field(name="GID", default="")
    mode: int = 0


class SecretReference(Wire, frozen=True):
    file: FileTarget | None = None
    secret_id: str = field(name="SecretID", default="")
    secret_name: str = ""


class ConfigReference(Wire, frozen=True, omit_defaults=True):
    file: FileTarget | None = None
    runtime: Empty | None = None  # 1.40
    config_id: str = always(str, name="ConfigID")
    config_name: str = always(str)


class ContainerSpec(Wire, frozen=True, omit_defaults=True):
    """The container that a task becomes. `Command` is the entrypoint of `docker run`, `Args` its command."""

    image: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    args: list[str] = field(default_factory=list)
    hostname: str = ""
    env: list[str] = field(default_factory=list)
    dir: str = ""
    user: str = ""
    groups: list[str] = field(default_factory=list)
    privileges: Privileges | None = None
    init: bool | None = None
    stop_signal: str = ""
    tty: bool = field(name="TTY", default=False)
    open_stdin: bool = False
    read_only: bool = False
    mounts: list[Mount] = field(default_factory=list)
    stop_grace_period: int | None = None
    healthcheck: HealthConfig | None = None
    hosts: list[str] = field(default_factory=list)
    """As in /etc/hosts: address first."""
    dns_config: DNSConfig | None = field(name="DNSConfig", default=None)
    secrets: list[SecretReference] = field(default_factory=list)
    configs: list[ConfigReference] = field(default_factory=list)
    isolation: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)  # 1.40
    capability_add: list[str] = field(default_factory=list)  # 1.41
    capability_drop: list[str] = field(default_factory=list)  # 1.41
    ulimits: list[Ulimit] = field(default_factory=list)  # 1.41


class PluginPrivilege(Wire, frozen=True, omit_defaults=True):
    """Lower case on the way out, as Go's generated type has it; either case is taken."""

    name: str = field(name="name", default="")
    description: str = field(name="description", default="")
    value: list[str] = field(name="value", default_factory=list)


class PluginSpec(Wire, frozen=True, omit_defaults=True):
    name: str = field(name="name", default="")
    remote: str = field(name="remote", default="")
    privileges: list[PluginPrivilege] = field(name="privileges", default_factory=list)
    disabled: bool = field(name="disabled", default=False)
    env: list[str] = field(name="env", default_factory=list)


class NetworkAttachmentSpec(Wire, frozen=True):
    """A task that stands for a plain container in an attachable network."""

    container_id: str = field(name="ContainerID", default="")


class NamedGenericResource(Wire, frozen=True, omit_defaults=True):
    kind: str = ""
    value: str = ""


class DiscreteGenericResource(Wire, frozen=True, omit_defaults=True):
    kind: str = ""
    value: int = 0


class GenericResource(Wire, frozen=True, omit_defaults=True):
    """One of the two."""

    named_resource_spec: NamedGenericResource | None = None
    discrete_resource_spec: DiscreteGenericResource | None = None


class Resources(Wire, frozen=True, omit_defaults=True):
    """What a node has or a task reserves."""

    nano_cpus: int = field(name="NanoCPUs", default=0)
    memory_bytes: int = 0
    generic_resources: list[GenericResource] = field(default_factory=list)


class Limit(Wire, frozen=True, omit_defaults=True):
    nano_cpus: int = field(name="NanoCPUs", default=0)
    memory_bytes: int = 0
    pids: int = 0  # 1.41


class ResourceRequirements(Wire, frozen=True, omit_defaults=True):
    limits: Limit | None = None
    reservations: Resources | None = None


class RestartPolicy(Wire, frozen=True, omit_defaults=True):
    condition: str = ""
    """none, on-failure or any."""
    delay: int | None = None
    max_attempts: int | None = None
    window: int | None = None


class SpreadOver(Wire, frozen=True):
    spread_descriptor: str = ""


class PlacementPreference(Wire, frozen=True):
    spread: SpreadOver | None = None


class Platform(Wire, frozen=True, omit_defaults=True):
    architecture: str = ""
    os: str = field(name="OS", default="")


class Placement(Wire, frozen=True, omit_defaults=True):
    constraints: list[str] = field(default_factory=list)
    preferences: list[PlacementPreference] = field(default_factory=list)
    max_replicas: int = 0  # 1.40
    platforms: list[Platform] = field(default_factory=list)


class TaskSpec(Wire, frozen=True, omit_defaults=True):
    """What each task of a service is to be: a container, a plugin or an attachment."""

    container_spec: ContainerSpec | None = None
    plugin_spec: PluginSpec | None = None
    network_attachment_spec: NetworkAttachmentSpec | None = None
    resources: ResourceRequirements | None = None
    restart_policy: RestartPolicy | None = None
    placement: Placement | None = None
    networks: list[NetworkAttachmentConfig] = field(default_factory=list)
    log_driver: Driver | None = None
    force_update: int = always(int)
    runtime: str = ""
    """container, plugin or attachment; "" is container."""


# --- Services ---


class ReplicatedService(Wire, frozen=True, omit_defaults=True):
    replicas: int | None = None


class ReplicatedJob(Wire, frozen=True, omit_defaults=True):
    max_concurrent: int | None = None
    total_completions: int | None = None


class ServiceMode(Wire, frozen=True, omit_defaults=True):
    """One of them; jobs since 1.41."""

    replicated: ReplicatedService | None = None
    global_: Empty | None = field(name="Global", default=None)
    replicated_job: ReplicatedJob | None = None
    global_job: Empty | None = None


class UpdateConfig(Wire, frozen=True, omit_defaults=True):
    """How an update goes from task to task."""

    parallelism: int = always(int)
    """0 is all at once."""
    delay: int = 0
    failure_action: str = ""
    """pause, continue or rollback."""
    monitor: int = 0
    max_failure_ratio: float = always(float)
    order: str = always(str)
    """stop-first or start-first."""


class ServiceSpec(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    labels: dict[str, str] = always(dict)
    task_template: TaskSpec = always(TaskSpec)
    mode: ServiceMode = always(ServiceMode)
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    networks: list[NetworkAttachmentConfig] = field(default_factory=list)
    """The old place; `task_template.networks` goes before it."""
    endpoint_spec: EndpointSpec | None = None


class UpdateStatus(Wire, frozen=True, omit_defaults=True):
    """`state` is updating, paused, completed, rollback_started, rollback_paused or rollback_completed."""

    state: str = ""
    started_at: str | None = None
    completed_at: str | None = None
    message: str = ""


class ServiceStatus(Wire, frozen=True):
    """Since 1.41, where it is asked for. Source: ServiceList."""

    running_tasks: int
    desired_tasks: int
    completed_tasks: int = 0


class JobStatus(Wire, frozen=True):
    """Which execution of a job it is, and when that began. Since 1.41."""

    job_iteration: Version
    last_execution: str


class Service(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """Source: ServiceInspect."""

    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    spec: ServiceSpec = field()
    previous_spec: ServiceSpec | None = None
    endpoint: Endpoint = field()
    update_status: UpdateStatus | None = None
    service_status: ServiceStatus | None = None
    job_status: JobStatus | None = None


class ServiceCreateResponse(Wire, frozen=True, omit_defaults=True):
    id: str = field(name="ID", default="")
    warnings: list[str] = field(default_factory=list)


class ServiceUpdateResponse(Wire, frozen=True):
    warnings: list[str] | None = None


# --- Tasks ---


class ContainerStatus(Wire, frozen=True):
    """The container behind a task; `pid` 0 when it does not run."""

    container_id: str = field(name="ContainerID", default="")
    pid: int = field(name="PID", default=0)
    exit_code: int = 0


class PortStatus(Wire, frozen=True, omit_defaults=True):
    """Ports of mode host as the node has bound them."""

    ports: list[PortConfig] = field(default_factory=list)


class TaskStatus(Wire, frozen=True, omit_defaults=True, kw_only=True):
    timestamp: str = field()
    state: str = ""
    message: str = ""
    err: str = ""
    container_status: ContainerStatus | None = None
    port_status: PortStatus = always(PortStatus)


class Task(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """Source: TaskInspect."""

    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    name: str = ""
    labels: dict[str, str] = always(dict)
    spec: TaskSpec = field()
    service_id: str = field(name="ServiceID", default="")
    slot: int = 0
    node_id: str = field(name="NodeID", default="")
    status: TaskStatus = field()
    desired_state: str = ""
    networks_attachments: list[NetworkAttachment] = field(default_factory=list)
    generic_resources: list[GenericResource] = field(default_factory=list)
    job_iteration: Version | None = None


# --- Secrets and configs ---


class SecretSpec(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    labels: dict[str, str] = always(dict)
    data: bytes = b""
    """Base64 on the wire; never in an answer."""
    driver: Driver | None = None
    templating: Driver | None = None  # 1.37


class Secret(Wire, frozen=True, kw_only=True):
    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    spec: SecretSpec = field()


class ConfigSpec(Wire, frozen=True, omit_defaults=True):
    name: str = ""
    labels: dict[str, str] = always(dict)
    data: bytes = b""
    templating: Driver | None = None  # 1.37


class Config(Wire, frozen=True, kw_only=True):
    id: str = field(name="ID")
    version: Version = field()
    created_at: str = field()
    updated_at: str = field()
    spec: ConfigSpec = field()


class IdResponse(Wire, frozen=True):
    """Source: SecretCreate, ConfigCreate."""

    id: str = field(name="ID")
