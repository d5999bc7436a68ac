"""What the API shows of a container, computed from its wish, its life and the rooms below."""

from collections.abc import Iterable, Sequence

from msgspec import UNSET, structs

from lighterman.apitypes.container import (
    ContainerInspectResponse,
    ContainerState,
    ContainerSummary,
    EndpointSettings,
    GraphDriverData,
    MountPoint,
    NetworkSettings,
    Port,
    PortBinding,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from lighterman.containers import links
from lighterman.containers.ago import human_duration
from lighterman.containers.health import Health, in_status
from lighterman.containers.health import shown as shown_health
from lighterman.containers.life import (
    LIVING,
    Created,
    Creating,
    Exited,
    Life,
    Paused,
    Removing,
    Restarting,
    Running,
    exit_code,
    status,
)
from lighterman.containers.mounts import BindMount, Mounted, TmpfsMount, VolumeMount
from lighterman.containers.network_owner import network_owner
from lighterman.containers.ports import exposed_ports
from lighterman.containers.process import command
from lighterman.containers.security import apparmor_profile, parse_security_opt
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import NotFound
from lighterman.lib.go_time import rfc3339_nano
from lighterman.networks import Endpoint, Sandbox

NANO = 10**9
STORAGE_DRIVER = "overlay2"


async def inspect(cs: Containers, ref: str, *, size: bool = False) -> ContainerInspectResponse:
    """All about one container. Raises: NoSuchContainer. Source: ContainerInspect."""
    container = cs.find(ref)
    size_rw, size_root = await sizes(cs, container) if size else (UNSET, UNSET)
    path, *args = command(container)
    files = _files(cs, container)
    log = container.attempted and container.host_config.log_config.type == "json-file"
    return ContainerInspectResponse(
        id=container.id,
        created=rfc3339_nano(container.created_ns),
        path=path,
        args=args,
        state=state(container.life, oom_killed=container.oom_killed, health=container.health),
        image=container.image_id,
        resolv_conf_path=files.format("resolv.conf"),
        hostname_path=files.format("hostname"),
        hosts_path=files.format("hosts"),
        log_path=str(cs.settings.log_path(container.id)) if log else "",
        name=f"/{container.name}",
        restart_count=container.restart_count,
        driver=STORAGE_DRIVER,
        platform="linux",
        mount_label="",
        process_label="",
        app_armor_profile=_apparmor(cs, container),
        exec_ids=cs.running_execs(container.id) or None,
        host_config=structs.replace(container.host_config, links=links.shown(container, cs.find)),
        graph_driver=GraphDriverData(_dirs(cs, container), STORAGE_DRIVER),
        size_rw=size_rw,
        size_root_fs=size_root,
        mounts=[mount_point(cs, mount) for mount in container.mounts],
        config=container.config,
        network_settings=network_settings(cs, container),
    )


def summary(
    cs: Containers,
    container: Container,
    *,
    now_ns: int,
    size: tuple[int, int],
    linked: Sequence[str] = (),
) -> ContainerSummary:
    """One line of a list; a size of 0 is left out, as Go does it. `linked`: the names that links give it."""
    sandbox = sandbox_of(cs, container)
    return ContainerSummary(
        id=container.id,
        names=sorted([f"/{container.name}", *linked]),
        image=image_name(cs, container),
        image_id=container.image_id,
        command=shown_command(container),
        created=container.created_ns // NANO,
        ports=list(port_rows(container, sandbox)),
        size_rw=size[0] or UNSET,
        size_root_fs=size[1] or UNSET,
        labels=container.config.labels,
        state=status(container.life),
        status=status_text(container.life, now_ns, container.health),
        host_config=SummaryHostConfig(container.host_config.network_mode),
        network_settings=SummaryNetworkSettings(networks(cs, container, sandbox)),
        mounts=[mount_point(cs, mount) for mount in container.mounts],
    )


# The life


def state(life: Life, *, oom_killed: bool = False, health: Health | None = None) -> ContainerState:
    """The API's form of a life, with what goes on in it. Source: ContainerState; measured on dockerd."""
    before = life.before if isinstance(life, Removing) else life
    started_ns, finished_ns = None, None
    match before:
        case Running(_, began_ns) | Paused(_, began_ns):
            started_ns = began_ns
        case Exited(_, _, began_ns, ended_ns) | Restarting(_, _, began_ns, ended_ns):
            started_ns, finished_ns = began_ns, ended_ns
    return ContainerState(
        status=status(life),
        running=isinstance(life, Running | Paused | Restarting),
        paused=isinstance(life, Paused),
        restarting=isinstance(life, Restarting),
        oom_killed=oom_killed or (isinstance(before, Exited | Restarting) and before.oom_killed),
        dead=False,
        pid=life.pid if isinstance(life, LIVING) else 0,
        exit_code=exit_code(life),
        error=before.error if isinstance(before, Created | Exited) else "",
        started_at=rfc3339_nano(started_ns),
        finished_at=rfc3339_nano(finished_ns),
        health=shown_health(health, runs=isinstance(life, LIVING)) or UNSET,
    )


def status_text(life: Life, now_ns: int, health: Health | None = None) -> str:
    """What `docker ps` shows: "Up 3 minutes (Paused)", "Exited (0) 2 seconds ago"."""
    match life:
        case Creating() | Created():
            return "Created"
        case Running(_, started_ns):
            return f"Up {human_duration((now_ns - started_ns) / NANO)}{in_status(health)}"
        case Paused(_, started_ns):
            return f"Up {human_duration((now_ns - started_ns) / NANO)} (Paused)"
        case Restarting(code, _, _, finished_ns):
            return f"Restarting ({code}) {human_duration((now_ns - finished_ns) / NANO)} ago"
        case Exited(code, _, _, finished_ns):
            return f"Exited ({code}) {human_duration((now_ns - finished_ns) / NANO)} ago"
        case Removing():
            return "Removal In Progress"


def shown_command(container: Container) -> str:
    """The command in one line; what has a space is quoted. Source: measured, `sh -c 'echo out; sleep 3'`."""
    path, *args = command(container)
    return " ".join((path, *(f"'{arg}'" if " " in arg else arg for arg in args)))


def image_name(cs: Containers, container: Container) -> str:
    """The name that the client used, or the id when that name means another image by now."""
    try:
        same = cs.images.find(container.config.image).id == container.image_id
    except NotFound:
        same = False
    return container.config.image if same else container.image_id


# Files and mounts


async def sizes(cs: Containers, container: Container) -> tuple[int, int]:
    """(bytes that the container wrote, bytes with its image's)."""
    written = await cs.snapshots.size(container.id)
    try:
        below = cs.images.find(container.image_id).size_bytes
    except NotFound:
        below = 0
    return written, written + below


def _files(cs: Containers, container: Container) -> str:
    """A pattern of the paths of its files: another container's when that one's network is used."""
    if not container.attempted:
        return ""
    try:
        return f"{cs.settings.home(network_owner(container, cs.find).id)}/{{}}"
    except NotFound:
        return ""


def _dirs(cs: Containers, container: Container) -> dict[str, str]:
    try:
        return dict(cs.snapshots.dirs(container.id))
    except NotFound:  # half removed
        return {}


def _apparmor(cs: Containers, container: Container) -> str:
    wish, features = container.host_config, cs.host.features
    if not container.attempted or not features.apparmor:
        return ""
    security = parse_security_opt(wish.security_opt or (), features)
    return apparmor_profile(security, features, privileged=wish.privileged)


def mount_point(cs: Containers, mount: Mounted) -> MountPoint:
    """A mount as inspect and list show it."""
    match mount:
        case BindMount():
            return MountPoint(
                type="bind",
                source=mount.source,
                destination=mount.target,
                mode=mount.mode,
                rw=not mount.read_only,
                propagation=mount.propagation,
            )
        case VolumeMount():
            return MountPoint(
                type="volume",
                name=mount.name,
                source=str(cs.volumes.path(mount.name)),
                destination=mount.target,
                driver=cs.volumes.driver_of(mount.name),
                mode=mount.mode,
                rw=not mount.read_only,
                propagation="",
            )
        case TmpfsMount():
            return MountPoint(
                type="tmpfs",
                source="",
                destination=mount.target,
                mode="",
                rw=not mount.read_only,
                propagation="",
            )


# Networks


def sandbox_of(cs: Containers, container: Container) -> Sandbox | None:
    """What a container that runs has of the network; None also where it shares another's."""
    return cs.networks.sandbox(container.id) if container.runs else None


def networks(cs: Containers, container: Container, sandbox: Sandbox | None) -> dict[str, EndpointSettings]:
    """The container's place in each network: what was wished, and what came of it."""
    ends = {end.network_name: end for end in sandbox.endpoints if not end.hidden} if sandbox else {}
    shown = {name: _endpoint(cs, container, name, wish) for name, wish in container.endpoints.items()}
    for name, end in ends.items():
        shown[name] = _connected(container, container.endpoints.get(name, EndpointSettings()), end)
    return shown


def _endpoint(cs: Containers, container: Container, name: str, wish: EndpointSettings) -> EndpointSettings:
    """Not connected: the network's id is known once a start was tried."""
    if not container.attempted:
        return wish if wish.dns_names is None else structs.replace(wish, dns_names=None)
    try:
        return structs.replace(wish, network_id=cs.networks.find(name).id, dns_names=None)
    except NotFound:
        return structs.replace(wish, dns_names=None)


def _connected(container: Container, wish: EndpointSettings, end: Endpoint) -> EndpointSettings:
    return structs.replace(
        wish,
        aliases=list(end.aliases) or None,
        network_id=end.network_id,
        endpoint_id=end.id,
        gateway=end.gateway,
        ip_address=end.ipv4,
        ip_prefix_len=end.ipv4_prefix,
        ipv6_gateway=end.ipv6_gateway,
        global_ipv6_address=end.ipv6,
        global_ipv6_prefix_len=end.ipv6_prefix,
        mac_address=end.mac,
        dns_names=_dns_names(container, end),
    )


def _dns_names(container: Container, end: Endpoint) -> list[str] | None:
    """What the network's name server calls it; the default bridge has none. Source: moby 25."""
    if end.network_name == "bridge":
        return None
    names = (container.name, *end.aliases, container.id[:12], container.config.hostname)
    return list(dict.fromkeys(filter(None, names)))


def network_settings(cs: Containers, container: Container) -> NetworkSettings:
    """The sandbox, and at the top the endpoint in the default bridge once more."""
    sandbox = sandbox_of(cs, container)
    shown = networks(cs, container, sandbox)
    bridge = shown.get("bridge", EndpointSettings())
    own = container.attempted and not container.host_config.network_mode.startswith("container:")
    return NetworkSettings(
        sandbox_id=container.id if own else "",
        ports=published(container, sandbox),
        sandbox_key=sandbox.key if sandbox else "",
        endpoint_id=bridge.endpoint_id,
        gateway=bridge.gateway,
        global_ipv6_address=bridge.global_ipv6_address,
        global_ipv6_prefix_len=bridge.global_ipv6_prefix_len,
        ip_address=bridge.ip_address,
        ip_prefix_len=bridge.ip_prefix_len,
        ipv6_gateway=bridge.ipv6_gateway,
        mac_address=bridge.mac_address,
        networks=shown,
    )


def published(container: Container, sandbox: Sandbox | None) -> dict[str, list[PortBinding] | None]:
    """For inspect: each port of a running container, null for one that is only exposed."""
    if sandbox is None:
        return {}
    shown: dict[str, list[PortBinding] | None] = {
        f"{port}/{proto}": None for port, proto in exposed_ports(container.config)
    }
    for port in sandbox.ports:
        bindings = shown.get(f"{port.container_port}/{port.proto}") or []
        bindings.append(PortBinding(port.host_ip, str(port.host_port)))
        shown[f"{port.container_port}/{port.proto}"] = bindings
    return shown


def port_rows(container: Container, sandbox: Sandbox | None) -> Iterable[Port]:
    """For a list: the same as rows."""
    for text, bindings in published(container, sandbox).items():
        port, _, proto = text.partition("/")
        if bindings is None:
            yield Port(private_port=int(port), type=proto)
        for binding in bindings or ():
            yield Port(binding.host_ip, int(port), int(binding.host_port), proto)
