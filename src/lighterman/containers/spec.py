"""A container that is prepared, as the OCI runtime wants to hear of it. Pure.

`Prepared` holds the facts that only the preparation could tell; `oci_spec` decides nothing that a client
could have got wrong: that was refused before.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from msgspec import Struct, field

from lighterman.apitypes.container import HostConfig, Resources
from lighterman.containers.identity import Identity
from lighterman.containers.ipc import HOST_IPC
from lighterman.containers.merge import given
from lighterman.containers.mounts import BindMount, Mounted, TmpfsMount, VolumeMount
from lighterman.containers.plan_start import StartPlan
from lighterman.containers.process import INIT, capabilities, first_process
from lighterman.containers.security import UNCONFINED, parse_security_opt
from lighterman.containers.state import Container
from lighterman.linux.cgroup import cgroup_path
from lighterman.linux.host import Host
from lighterman.linux.userns import IdMap, Range
from lighterman.oci import spec as oci
from lighterman.oci.defaults import NETWORK_SYSCTLS, default_device_rules, default_mounts, masked_paths
from lighterman.oci.devices import device_rules
from lighterman.oci.seccomp import default_profile, parse_profile, resolve

NANO = 10**9
PERIOD_US = 100_000


class Prepared(Struct, frozen=True):
    """What the preparation found and made."""

    root: Path  # the merged root file system
    netns: str  # path of the network namespace, "" for the host's
    files: Path  # the directory with hosts, hostname and resolv.conf
    volumes: Mapping[str, Path]  # the data directories, by name
    user: Identity
    hostname: str
    devices: tuple[oci.Device, ...] = ()
    device_rules: tuple[oci.DeviceRule, ...] = ()
    block_io: oci.BlockIO | None = None
    bound_files: frozenset[str] = frozenset()  # sources of binds that are no directories
    pid_namespace_pid: int = 0
    ipc_namespace_pid: int = 0
    borrowed_shm: str = ""  # the path of another container's shared memory
    set_apart: Mapping[str, str] = field(default_factory=dict)  # binds that are not recursive: source -> path
    host_ipc: tuple[str, ...] = HOST_IPC
    cgroup_parent: str = ""
    init_path: str = ""  # of the init that the container's command runs under; "": under none
    link_variables: tuple[str, ...] = ()  # of the environment
    given: Mapping[str, str] = field(default_factory=dict)  # files of the swarm: place -> path
    id_map: IdMap | None = None
    userns: str = ""  # path of the user namespace that has this map


def oci_spec(plan: StartPlan, facts: Prepared, host: Host) -> oci.Spec:
    """The whole `config.json` but for the seccomp filter, which the runtime gets beside it."""
    container = plan.container
    wish = container.host_config
    uts_host = wish.uts_mode == "host"
    return oci.Spec(
        oci_version=oci.OCI_VERSION,
        process=first_process(
            container,
            host,
            facts.hostname,
            facts.user,
            facts.link_variables,
            under_init=bool(facts.init_path),
        ),
        root=oci.Root(path=str(facts.root), readonly=wish.readonly_rootfs),
        hostname="" if uts_host else facts.hostname,
        mounts=tuple(_mounts(plan, facts)),
        annotations=given(wish.annotations) or {},
        linux=oci.Linux(
            uid_mappings=_mappings(facts.id_map.uids) if facts.id_map else (),
            gid_mappings=_mappings(facts.id_map.gids) if facts.id_map else (),
            sysctl=_sysctls(container, facts),
            resources=_resources(wish, facts),
            cgroups_path=cgroup_path(container.id, facts.cgroup_parent),
            namespaces=tuple(_namespaces(wish, facts)),
            devices=() if facts.id_map else facts.devices,
            rootfs_propagation=_root_propagation(plan.mounts),
            masked_paths=masked_paths(wish.masked_paths, host.thermal_paths),
            readonly_paths=tuple(wish.readonly_paths or ()),
        ),
    )


def seccomp_filter(container: Container, host: Host, default: str = "") -> oci.LinuxSeccomp | None:
    """The filter of system calls; None for a privileged or unconfined container.

    `default` is the profile of one that names none: "" is the engine's own.
    """
    wish = container.host_config
    profile = parse_security_opt(wish.security_opt or (), host.features).seccomp or default
    if wish.privileged or profile == UNCONFINED or not host.features.seccomp:
        return None
    return _resolved(profile, capabilities(container, host), host.architecture, host.kernel_version)


@lru_cache(maxsize=64)
def _resolved(
    profile_text: str, bounding: tuple[str, ...], architecture: str, kernel: tuple[int, int]
) -> oci.LinuxSeccomp | None:
    profile = parse_profile(profile_text) if profile_text else default_profile()
    return None if profile is None else resolve(profile, bounding, architecture, kernel)


# Mounts


def _mounts(plan: StartPlan, facts: Prepared) -> Iterable[oci.Mount]:
    """The usual ones, less those that the container has something else for; then its own, parents first."""
    own = {mount.target: _mount(mount, facts) for mount in plan.mounts}
    own |= {mount.destination: mount for mount in _files(plan, facts) if mount.destination not in own}
    own |= {place: _bind(path, place, "rbind", "rprivate", "ro") for place, path in facts.given.items()}
    own |= {device.target: _bind(device.source, device.target, "rbind") for device in _bound(plan, facts)}
    own |= {mount.destination: mount for mount in _shared_memory(plan.container.host_config, facts)}
    wish = plan.container.host_config
    usual = default_mounts(
        shm_bytes=wish.shm_size if wish.ipc_mode in ("private", "shareable") else None,
        privileged=wish.privileged,
        readonly_rootfs=wish.readonly_rootfs,
    )
    for mount in usual:
        below_dev = mount.destination.startswith("/dev/") and "/dev" in own
        # message queues of the host's namespace cannot be mounted from another user namespace
        foreign = mount.type == "mqueue" and facts.id_map is not None and wish.ipc_mode == "host"
        if mount.destination not in own and not below_dev and not foreign:
            yield mount
    yield from sorted(own.values(), key=lambda mount: mount.destination.count("/"))


def _mount(mount: Mounted, facts: Prepared) -> oci.Mount:
    ro = ("ro",) if mount.read_only else ()
    match mount:
        case BindMount():
            bind = "rbind" if mount.recursive else "bind"
            # nothing is mounted below a file, and crun 1.8 looks for a directory there
            deep = mount.deep_read_only and mount.source not in facts.bound_files
            below = ("rro",) if deep else ()
            source = facts.set_apart.get(mount.source, mount.source) if bind == "bind" else mount.source
            return _bind(source, mount.target, bind, mount.propagation, *ro, *below)
        case VolumeMount():
            return _bind(str(facts.volumes[mount.name]), mount.target, "rbind", "rprivate", *ro)
        case TmpfsMount():
            return oci.Mount(
                destination=mount.target,
                type="tmpfs",
                source="tmpfs",
                options=("noexec", "nosuid", "nodev", *mount.options, *ro),
            )


def _bind(source: str, target: str, *options: str) -> oci.Mount:
    return oci.Mount(destination=target, type="bind", source=source, options=options)


def _files(plan: StartPlan, facts: Prepared) -> Iterable[oci.Mount]:
    wish = plan.container.host_config
    ro = ("ro",) if wish.readonly_rootfs else ()
    for name in ("resolv.conf", "hostname", "hosts"):
        yield _bind(str(facts.files / name), f"/etc/{name}", "rbind", "rprivate", *ro)
    if facts.init_path:
        yield _bind(facts.init_path, INIT, "bind", "ro")


def _bound(plan: StartPlan, facts: Prepared) -> Iterable[BindMount]:
    """Devices of a container with a user namespace: nodes cannot be made in it, but the host's shown."""
    for wish in plan.container.host_config.devices or () if facts.id_map else ():
        yield BindMount(source=wish.path_on_host, target=wish.path_in_container or wish.path_on_host)


def _shared_memory(wish: HostConfig, facts: Prepared) -> Iterable[oci.Mount]:
    if facts.borrowed_shm:
        yield _bind(facts.borrowed_shm, "/dev/shm", "rbind", "nosuid", "noexec", "nodev")
    if wish.ipc_mode == "host":
        for path in facts.host_ipc:
            yield _bind(path, path, "rbind", "nosuid", "noexec", "nodev")


def _root_propagation(mounts: Iterable[Mounted]) -> str:
    """What a mount that passes mounts on demands of the root: crun makes all in it as private as it is."""
    kinds: set[str] = set()
    for mount in mounts:
        match mount:
            case BindMount():
                kinds.add(mount.propagation)
            case TmpfsMount():
                kinds |= {"shared", "rshared"}.intersection(mount.options)
    if kinds & {"shared", "rshared"}:
        return "shared"
    return "rslave" if kinds & {"slave", "rslave"} else ""


# Namespaces and limits


def _namespaces(wish: HostConfig, facts: Prepared) -> Iterable[oci.Namespace]:
    yield oci.Namespace(type="mount")
    if facts.id_map is not None:
        yield oci.Namespace(type="user", path=facts.userns)
    if facts.netns:
        yield oci.Namespace(type="network", path=facts.netns)
    if wish.uts_mode != "host":
        yield oci.Namespace(type="uts")
    if facts.pid_namespace_pid:
        yield oci.Namespace(type="pid", path=f"/proc/{facts.pid_namespace_pid}/ns/pid")
    elif wish.pid_mode != "host":
        yield oci.Namespace(type="pid")
    if facts.ipc_namespace_pid:
        yield oci.Namespace(type="ipc", path=f"/proc/{facts.ipc_namespace_pid}/ns/ipc")
    elif wish.ipc_mode != "host":
        yield oci.Namespace(type="ipc")
    if wish.cgroupns_mode == "private":
        yield oci.Namespace(type="cgroup")


def _mappings(ranges: Iterable[Range]) -> tuple[oci.IDMapping, ...]:
    return tuple(
        oci.IDMapping(container_id=each.inside, host_id=each.outside, size=each.length) for each in ranges
    )


def _sysctls(container: Container, facts: Prepared) -> dict[str, str]:
    wish = container.host_config
    own = given(wish.sysctls) or {}
    usual = NETWORK_SYSCTLS if facts.netns and not wish.network_mode.startswith("container:") else {}
    if facts.id_map is not None:  # it names all groups, and most are none there; its root can ping
        usual = {key: value for key, value in usual.items() if key != "net.ipv4.ping_group_range"}
    domain = container.config.domainname
    names = {"kernel.domainname": domain} if domain and wish.uts_mode != "host" else {}
    return {**usual, **names, **own}


def _resources(wish: HostConfig, facts: Prepared) -> oci.Resources:
    return oci.Resources(
        devices=(
            *default_device_rules(privileged=wish.privileged),
            *facts.device_rules,
            *device_rules(wish.device_cgroup_rules),
        ),
        memory=_memory(wish),
        cpu=_cpu(wish),
        # no limit is said by silence: crun 1.8 writes -1 into pids.max as it is, which the kernel refuses
        pids=oci.Pids(limit=wish.pids_limit) if wish.pids_limit and wish.pids_limit > 0 else None,
        block_io=facts.block_io,
    )


def _memory(wish: Resources) -> oci.Memory | None:
    if (
        not (wish.memory or wish.memory_reservation or wish.oom_kill_disable)
        and wish.memory_swappiness is None
    ):
        return None
    return oci.Memory(
        limit=wish.memory or None,
        reservation=wish.memory_reservation or None,
        swap=wish.memory_swap or None,
        swappiness=wish.memory_swappiness,
        disable_oom_killer=wish.oom_kill_disable or None,
    )


def cpu_quota(wish: Resources) -> tuple[int | None, int | None]:
    """(quota, period) in us, None where nothing is wished: NanoCpus says both in one."""
    if wish.nano_cpus:
        return wish.nano_cpus * PERIOD_US // NANO, PERIOD_US
    return wish.cpu_quota or None, wish.cpu_period or None


def _cpu(wish: Resources) -> oci.CPU | None:
    quota, period = cpu_quota(wish)
    cpu = oci.CPU(
        shares=wish.cpu_shares or None,
        quota=quota,
        period=period,
        realtime_runtime=wish.cpu_realtime_runtime or None,
        realtime_period=wish.cpu_realtime_period or None,
        cpus=wish.cpuset_cpus,
        mems=wish.cpuset_mems,
    )
    return None if cpu == oci.CPU() else cpu
