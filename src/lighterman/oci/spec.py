"""The OCI runtime specification as values: what `config.json` says, and how it is encoded.

One Struct per definition of the specification, with its names in Python's spelling. A field without a
default is always written (a limit of 0 is a limit); a field with its default is left out, which the
specification reads as "not wanted". Nothing here decides: the defaults live in `oci.defaults`, the plans in
the room of the containers.

Source: https://github.com/opencontainers/runtime-spec, config.md and config-linux.md, 1.1.
"""

import msgspec
from msgspec import field

OCI_VERSION = "1.0.2"
"""What we ask for: runc 1.1 and crun 1.8 both refuse a newer major, and need nothing newer."""

RWM = "rwm"
"""Read, write and mknod: all that a device rule can allow."""


class Struct(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True, kw_only=True):
    """A definition of the specification."""


class ConsoleSize(Struct, frozen=True, kw_only=True):
    height: int
    width: int


class User(Struct, frozen=True, kw_only=True):
    uid: int
    gid: int
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Rlimit(Struct, frozen=True, kw_only=True):
    type: str
    """RLIMIT_NOFILE, ..."""
    hard: int
    soft: int


class Capabilities(Struct, frozen=True, kw_only=True):
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Scheduler(Struct, frozen=True, kw_only=True):
    """1.1. Times are ns."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IOPriority(Struct, frozen=True, kw_only=True):
    """1.1."""

    class_: str = field(name="class")
    """IOPRIO_CLASS_BE, ..."""
    priority: int


class Process(Struct, frozen=True, kw_only=True):
    """A container's first process, or one of `exec`."""

    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    oom_score_adj: int | None = None
    selinux_label: str = ""
    scheduler: Scheduler | None = None
    io_priority: IOPriority | None = None


class Root(Struct, frozen=True, kw_only=True):
    path: str
    readonly: bool = False


class IDMapping(Struct, frozen=True, kw_only=True):
    container_id: int = field(name="containerID")
    host_id: int = field(name="hostID")
    size: int


class Mount(Struct, frozen=True, kw_only=True):
    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()


class Hook(Struct, frozen=True, kw_only=True):
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Hooks(Struct, frozen=True, kw_only=True):
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Namespace(Struct, frozen=True, kw_only=True):
    type: str
    """pid, network, mount, ipc, uts, user, cgroup or time."""
    path: str = ""
    """A namespace to enter; "" makes a new one."""


class TimeOffset(Struct, frozen=True, kw_only=True):
    secs: int = 0
    nanosecs: int = 0


class Device(Struct, frozen=True, kw_only=True):
    """A node that the runtime makes. `file_mode` has permission bits only."""

    path: str
    type: str
    """c, b, u or p."""
    major: int
    minor: int
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(Struct, frozen=True, kw_only=True):
    """A line of the device cgroup; None is every number (`*`)."""

    allow: bool
    type: str = ""
    """c, b, or a (both)."""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Memory(Struct, frozen=True, kw_only=True):
    """Bytes; -1 is no limit. `swap` is memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = field(name="kernelTCP", default=None)
    swappiness: int | None = None
    disable_oom_killer: bool | None = field(name="disableOOMKiller", default=None)
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class CPU(Struct, frozen=True, kw_only=True):
    """Times are us."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class Pids(Struct, frozen=True, kw_only=True):
    limit: int
    """-1 is no limit."""


class WeightDevice(Struct, frozen=True, kw_only=True):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Struct, frozen=True, kw_only=True):
    major: int
    minor: int
    rate: int


class BlockIO(Struct, frozen=True, kw_only=True):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = field(name="throttleReadIOPSDevice", default=())
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = field(name="throttleWriteIOPSDevice", default=())


class HugepageLimit(Struct, frozen=True, kw_only=True):
    page_size: str
    limit: int


class InterfacePriority(Struct, frozen=True, kw_only=True):
    name: str
    priority: int


class Network(Struct, frozen=True, kw_only=True):
    class_id: int | None = field(name="classID", default=None)
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Struct, frozen=True, kw_only=True):
    """What may be used of one RDMA device."""

    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Struct, frozen=True, kw_only=True):
    """The limits of a container's cgroup."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = field(name="blockIO", default=None)
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: dict[str, Rdma] = {}
    unified: dict[str, str] = {}


class SyscallArg(Struct, frozen=True, kw_only=True):
    """A condition on an argument of a system call."""

    index: int
    value: int
    value_two: int = 0
    op: str
    """SCMP_CMP_EQ, ..."""


class Syscall(Struct, frozen=True, kw_only=True):
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SyscallArg, ...] = ()


class LinuxSeccomp(Struct, frozen=True, kw_only=True):
    """A filter of system calls, resolved: no rule depends on anything any more."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[Syscall, ...] = ()


class Personality(Struct, frozen=True, kw_only=True):
    domain: str
    flags: tuple[str, ...] = ()


class IntelRdt(Struct, frozen=True, kw_only=True):
    clos_id: str = field(name="closID", default="")
    l3_cache_schema: str = field(name="l3CacheSchema", default="")
    mem_bw_schema: str = field(name="memBwSchema", default="")
    enable_cmt: bool = field(name="enableCMT", default=False)
    enable_mbm: bool = field(name="enableMBM", default=False)


class Linux(Struct, frozen=True, kw_only=True):
    """All that is Linux's own."""

    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    sysctl: dict[str, str] = {}
    resources: Resources | None = None
    cgroups_path: str = ""
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: LinuxSeccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    intel_rdt: IntelRdt | None = None
    personality: Personality | None = None
    time_offsets: dict[str, TimeOffset] = {}


class Spec(Struct, frozen=True, kw_only=True):
    """A whole `config.json`."""

    oci_version: str = field(name="ociVersion")
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks | None = None
    annotations: dict[str, str] = {}
    linux: Linux | None = None


def encode(value: Spec | Process | LinuxSeccomp) -> bytes:
    """JSON of a whole configuration, of the process of an `exec`, or of a filter (the key of a cache)."""
    return msgspec.json.encode(value)
