"""Everything that is decided when a container is made. Pure: it refuses before anything has happened.

`plan_create` merges the wish with the image, resolves every default as dockerd stores it, and refuses in
Docker's words what cannot be or what this engine does not do yet. What it needs to know of other containers
comes in as `peer`, a lookup. Whether files of the host exist is asked by `create`.

Source of the texts: measured on dockerd 20.10.24, and moby's daemon/container.go and runconfig.
"""

import ipaddress
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, Struct, structs

from lighterman.apitypes.container import (
    ContainerConfig,
    ContainerCreateBody,
    EndpointSettings,
    HostConfig,
    LogConfig,
    RestartPolicy,
)
from lighterman.containers.defaults import Defaults
from lighterman.containers.health import check_health
from lighterman.containers.limits import check_limits, check_ulimit, with_swap_default
from lighterman.containers.links import parse_link
from lighterman.containers.log_options import resolve_log_config
from lighterman.containers.merge import given, merge
from lighterman.containers.mounts import (
    Mounted,
    VolumeMount,
    parse_tmpfs,
    parse_volumes_from,
    plan_mounts,
)
from lighterman.containers.network_owner import network_owner
from lighterman.containers.ports import exposed_ports, port_wishes
from lighterman.containers.security import parse_security_opt
from lighterman.containers.signals import is_known, parse_signal
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.images import Image
from lighterman.linux.capabilities import NAMES
from lighterman.linux.host import Host
from lighterman.oci.capabilities import effective, unavailable
from lighterman.oci.defaults import MASKED_PATHS, READONLY_PATHS
from lighterman.oci.devices import device_rules
from lighterman.oci.seccomp import parse_profile


class Peer(Protocol):
    """What a plan may know of another container."""

    @property
    def id(self) -> str: ...
    @property
    def mounts(self) -> tuple[Mounted, ...]: ...
    @property
    def host_config(self) -> HostConfig: ...


class Engine(Struct, frozen=True):
    """What of the engine's configuration decides about a container."""

    runtimes: frozenset[str]
    log: LogConfig
    data_root: str
    default_runtime: str = ""
    init_path: str = ""
    remaps: bool = False  # containers get user namespaces of their own
    defaults: Defaults = Defaults()


class CreatePlan(Struct, frozen=True):
    """A container as it will be: the wish with its defaults, and what must be made for it."""

    config: ContainerConfig
    host_config: HostConfig
    endpoints: dict[str, EndpointSettings]
    mounts: tuple[Mounted, ...]
    warnings: list[str]

    @property
    def volumes(self) -> tuple[VolumeMount, ...]:
        """The volumes that must exist."""
        return tuple(mount for mount in self.mounts if isinstance(mount, VolumeMount))


def plan_create(
    body: ContainerCreateBody,
    container_id: str,
    *,
    image: Image,
    host: Host,
    engine: Engine,
    peer: Callable[[str], Peer],
    new_name: Callable[[], str],
    network_name: Callable[[str], str] = str,
    deep_read_only: bool = False,
) -> CreatePlan:
    """The container `container_id` that `body` asks for, made from `image`.

    `peer` finds a container by any ref or raises NotFound; `new_name` names anonymous volumes;
    `network_name` is the name of the network that an id or a name means; `deep_read_only` makes read-only
    binds so with all that is mounted below them, where kernel and runtime can do it.
    Raises: InvalidParameter, Unimplemented.
    """
    config = _wished_config(body)
    wish = _with_switches(body.host_config or HostConfig(), engine.defaults)
    if body.host_config is not None and not given(wish.runtime):
        wish = structs.replace(wish, runtime=engine.default_runtime)  # without one, the first start does it
    _check_config(config)
    _check_network_mode(config, wish)
    _check_modes(wish)
    config = _complete(
        merge(config, image.config), host.hostname if wish.network_mode == "host" else container_id[:12]
    )
    host_config, warnings = _plan_host_config(wish, config, host=host, engine=engine, peer=peer)
    mounts = plan_mounts(
        config,
        host_config,
        _inherited(host_config, peer),
        new_name=new_name,
        data_root=engine.data_root,
        deep_read_only=deep_read_only and _can_be_deep(host_config, host),
    )
    parse_tmpfs(given(host_config.tmpfs) or {})
    return CreatePlan(
        config=config,
        host_config=host_config,
        endpoints=_endpoints(body, config, host_config, network_name),
        mounts=mounts,
        warnings=warnings,
    )


def _can_be_deep(wish: HostConfig, host: Host) -> bool:
    """Whether the kernel, and a runtime that we know, can make whole trees of mounts read-only."""
    return host.features.mount_setattr and (given(wish.runtime) or "") in ("", "crun", "runc")


def _wished_config(body: ContainerCreateBody) -> ContainerConfig:
    """The body without its two further keys, which are no part of a configuration."""
    return ContainerConfig(**{name: getattr(body, name) for name in ContainerConfig.__struct_fields__})


# What concerns the configuration alone


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    if (signal := given(config.stop_signal)) and not is_known(parse_signal(signal)):
        raise InvalidParameter(f"Invalid signal: {signal}")
    for variable in config.env or ():
        if not variable.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {variable}")
    if mac := given(config.mac_address):
        check_mac(mac)
    _check_hostname(config.hostname)
    if len(config.domainname) > 64:  # the kernel would cut it
        raise InvalidParameter(f'domainname "{config.domainname}" is too long (maximum 64 bytes)')
    exposed_ports(config)
    if check := given(config.healthcheck):
        check_health(check)


def check_mac(text: str) -> None:
    """Raises InvalidParameter unless `text` is a MAC address."""
    if not re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text) or not text.strip("0:-"):
        raise InvalidParameter(f"address {text}: invalid MAC address")
    if int(text[:2], 16) & 1:  # the lowest bit of the first byte; the kernel gives no link such a one
        raise InvalidParameter(f"address {text}: invalid MAC address: it is one of a group")


def _check_hostname(name: str) -> None:
    if len(name) > 64:
        raise InvalidParameter(f'hostname "{name}" is too long (maximum 64 bytes)')
    if name and not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", name):
        raise InvalidParameter(f"invalid hostname format: {name}")


def _complete(merged: ContainerConfig, hostname: str) -> ContainerConfig:
    """The merged configuration as it is kept: with a host name, a clean working directory, a command."""
    if not merged.entrypoint and not merged.cmd:
        raise InvalidParameter("No command specified")
    return structs.replace(
        merged,
        hostname=merged.hostname or hostname,
        working_dir=posixpath.normpath(merged.working_dir) if merged.working_dir else "",
        exposed_ports=given(merged.exposed_ports) or UNSET,
        stop_signal=given(merged.stop_signal) or UNSET,
        stop_timeout=UNSET if given(merged.stop_timeout) is None else merged.stop_timeout,
    )


# What concerns the host


def _plan_host_config(
    wish: HostConfig,
    config: ContainerConfig,
    *,
    host: Host,
    engine: Engine,
    peer: Callable[[str], Peer],
) -> tuple[HostConfig, list[str]]:
    _refuse_what_cannot_be_had(wish)
    engine.defaults.runs_init(given(wish.init), engine.init_path)
    check_restart_policy(wish.restart_policy, auto_remove=wish.auto_remove)
    _check_names(wish)
    device_rules(wish.device_cgroup_rules)
    for ulimit in wish.ulimits or ():
        check_ulimit(ulimit)
    _check_sysctls(given(wish.sysctls) or {}, wish)
    if engine.remaps:
        check_remapped(wish)
    security = parse_security_opt(wish.security_opt or (), host.features)
    if security.seccomp not in ("", "unconfined"):
        parse_profile(security.seccomp)
    effective(wish.cap_add, wish.cap_drop, wish.privileged, host.bounding_caps)
    port_wishes(config, wish)
    if (runtime := given(wish.runtime)) and runtime not in engine.runtimes:
        raise InvalidParameter(f"Unknown runtime specified {runtime}")
    if wish.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if not -1000 <= wish.oom_score_adj <= 1000:
        raise InvalidParameter(
            f"Invalid value {wish.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    check_console_size(wish.console_size)
    for path in (*(wish.masked_paths or ()), *(wish.readonly_paths or ())):
        if not path.startswith("/"):
            raise InvalidParameter(f"the path '{path}' is invalid, it needs to be an absolute path")
    limited, warnings = check_limits(wish, host)
    if wish.network_mode == "host" and wish.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    if missing := _missing(wish, host):
        warnings.append(f"This host itself lacks {missing}: the container runs without.")
    return _with_defaults(with_swap_default(limited), wish, host=host, engine=engine, peer=peer), warnings


def check_console_size(size: Sequence[int]) -> None:
    """Raises InvalidParameter unless these are the rows and columns of a terminal (0: it has no size)."""
    if len(size) != 2 or not all(0 <= side <= 65535 for side in size):
        raise InvalidParameter(f"invalid ConsoleSize: {list(size)}: it is made of rows and columns")


def _missing(wish: HostConfig, host: Host) -> str:
    """The capabilities that were asked for and that nobody on this host can have."""
    wanted = NAMES if wish.privileged else unavailable(wish.cap_add, host.bounding_caps)
    return ", ".join(name for name in wanted if name not in host.bounding_caps)


def _with_defaults(
    limited: HostConfig, wish: HostConfig, *, host: Host, engine: Engine, peer: Callable[[str], Peer]
) -> HostConfig:
    """Every default resolved, as dockerd stores it: `update` and inspect show what acts."""
    unconfined = (
        wish.privileged or parse_security_opt(wish.security_opt or (), host.features).system_paths_unconfined
    )
    defaults = engine.defaults
    cgroupns = defaults.cgroupns_mode or ("private" if host.cgroup_mode == "v2" else "host")
    return structs.replace(
        limited,
        log_config=resolve_log_config(wish.log_config, engine.log, plugins=True),
        network_mode=_by_id(wish.network_mode or "default", peer),
        links=_links(wish, peer),
        ipc_mode=_by_id(wish.ipc_mode or defaults.ipc_mode, peer, strict=True),
        pid_mode=_by_id(wish.pid_mode, peer, strict=True),
        cgroupns_mode=wish.cgroupns_mode or cgroupns,
        shm_size=wish.shm_size or defaults.shm_bytes,
        ulimits=defaults.with_ulimits(wish.ulimits),
        oom_kill_disable=bool(limited.oom_kill_disable) if host.limits.oom_kill_disable else None,
        runtime=given(wish.runtime) or UNSET,
        masked_paths=_paths(wish.masked_paths, MASKED_PATHS, unconfined=unconfined),
        readonly_paths=_paths(wish.readonly_paths, READONLY_PATHS, unconfined=unconfined),
    )


def _with_switches(wish: HostConfig, defaults: Defaults) -> HostConfig:
    """The wish without new privileges where the operator wants that and it says nothing."""
    options = wish.security_opt or []
    if defaults.no_new_privileges and not any(text.startswith("no-new-privileges") for text in options):
        wish = structs.replace(wish, security_opt=[*options, "no-new-privileges=true"])
    return wish


def _paths(wish: list[str] | None, default: Sequence[str], *, unconfined: bool) -> list[str] | None:
    if wish is not None:
        return wish
    return None if unconfined else list(default)


def _by_id(mode: str, peer: Callable[[str], Peer], *, strict: bool = False) -> str:
    """`container:name` with the id in place of the name, so that a rename does not matter.

    `strict` refuses a container that is not there; a network's may come later.
    """
    if not mode.startswith("container:"):
        return mode
    try:
        return f"container:{peer(mode.removeprefix('container:')).id}"
    except NotFound as error:
        if strict:
            raise InvalidParameter(str(error)) from error
        return mode


def _links(wish: HostConfig, peer: Callable[[str], Peer]) -> list[str] | None:
    """The links with ids in place of names, to those whose network it is in the end; those of users' networks
    are names there, and stay so."""
    parsed = [parse_link(text) for text in wish.links or ()]
    if wish.network_mode not in ("", "default", "bridge"):
        return wish.links
    found = []
    for name, alias in parsed:
        try:
            other = network_owner(peer(name), peer)
        except NotFound as error:
            raise InvalidParameter(f"could not get container for {name}: {error}") from error
        if other.host_config.network_mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        found.append(f"{other.id}:{alias}")
    return found or wish.links


def _refuse_what_cannot_be_had(wish: HostConfig) -> None:
    for request in wish.device_requests or ():  # nobody here offers devices by what they can do
        capabilities = " ".join(f"[{' '.join(each)}]" for each in request.capabilities or ())
        raise InvalidParameter(
            f'could not select device driver "{request.driver}" with capabilities: [{capabilities}]'
        )
    if wish.cgroup:  # dockerd takes it and forgets it
        raise InvalidParameter(
            f"invalid cgroup mode: {wish.cgroup}: a container always has a cgroup of its own"
        )
    for option in given(wish.storage_opt) or ():
        if option != "size":
            raise InvalidParameter(f"Unknown option {option}")
        raise InvalidParameter(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )
    if wish.isolation not in ("", "default"):
        raise InvalidParameter(f"Invalid isolation: \"{wish.isolation}\" - linux only supports 'default'")
    if "" in (given(wish.annotations) or {}):
        raise InvalidParameter("invalid Annotations: the empty string is not permitted as an annotation key")


def check_restart_policy(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raises InvalidParameter in Docker's words."""
    if policy.name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise InvalidParameter(f"invalid restart policy '{policy.name}'")
    if policy.maximum_retry_count != 0 and policy.name != "on-failure":
        raise InvalidParameter(
            f"maximum retry count cannot be used with restart policy '{policy.name or 'no'}'"
        )
    if policy.maximum_retry_count < 0:
        raise InvalidParameter("maximum retry count cannot be negative")
    if auto_remove and policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _check_names(wish: HostConfig) -> None:
    """What /etc/hosts and /etc/resolv.conf will say."""
    for extra in wish.extra_hosts or ():
        name, colon, address = extra.partition(":")
        if not name or not colon or not address:
            raise InvalidParameter(f'bad format for add-host: "{extra}"')
        if address != "host-gateway" and not _is_address(address):
            raise InvalidParameter(f'invalid IP address in add-host: "{address}"')
    for server in wish.dns or ():
        if not _is_address(server):
            raise InvalidParameter(f"invalid IP address: {server}")
    for word in (*(wish.dns_search or ()), *(wish.dns_options or ())):
        if not re.fullmatch(r"\S+", word):
            raise InvalidParameter(f"invalid word for resolv.conf: {word!r}")


def _is_address(text: str, version: int = 0) -> bool:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:  # it is the other's, as Go sees it
        return version != 6
    return version in (0, address.version)


_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


_MQUEUE_SYSCTLS = frozenset(
    f"fs.mqueue.{name}" for name in ("msg_default", "msg_max", "msgsize_default", "msgsize_max", "queues_max")
)


def _check_sysctls(sysctls: Mapping[str, str], wish: HostConfig) -> None:
    """Only what belongs to a namespace of the container. Source: the checks and words of runc.

    Those of IPC are numbers; of the network's, what is there and what it takes is known in the container.
    """
    for key, value in sysctls.items():
        if not value.strip():
            raise InvalidParameter(f'sysctl "{key}" has no value')
        if key in _IPC_SYSCTLS | _MQUEUE_SYSCTLS:
            if wish.ipc_mode == "host":
                raise InvalidParameter(f'sysctl "{key}" is not allowed in the hosts ipc namespace')
            if not all(re.fullmatch("0x[0-9a-fA-F]+|[0-9]+", word) for word in value.split()):
                raise InvalidParameter(f'sysctl "{key}" is a number, not "{value}"')
        elif key.startswith("net."):
            if wish.network_mode == "host":
                raise InvalidParameter(f'sysctl "{key}" not allowed in host network namespace')
        elif key in ("kernel.domainname", "kernel.hostname"):
            if wish.uts_mode == "host" or key == "kernel.hostname":
                raise InvalidParameter(f'sysctl "{key}" is not allowed: it is set by the engine')
        else:
            raise InvalidParameter(f'sysctl "{key}" is not in a separate kernel namespace')


def _check_modes(wish: HostConfig) -> None:
    if wish.ipc_mode not in ("", "none", "private", "shareable", "host") and not _container_mode(
        wish.ipc_mode
    ):
        raise InvalidParameter(f"Invalid IPC mode: {wish.ipc_mode}")
    if wish.pid_mode not in ("", "host") and not _container_mode(wish.pid_mode):
        raise InvalidParameter(f"invalid PID mode: {wish.pid_mode}")
    if wish.uts_mode not in ("", "host"):
        raise InvalidParameter(f"invalid UTS mode: {wish.uts_mode}")
    if wish.userns_mode not in ("", "host"):
        raise InvalidParameter(f"invalid user namespace mode: {wish.userns_mode}")
    if wish.cgroupns_mode not in ("", "private", "host"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {wish.cgroupns_mode}")


def check_remapped(wish: HostConfig) -> None:
    """What a container with a user namespace of its own cannot have.

    Raises: InvalidParameter. Source of the texts: verifyPlatformContainerSettings of moby 20.10.
    """
    if wish.userns_mode == "host":
        return
    if wish.privileged:
        raise InvalidParameter(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host "
            "namespace when running privileged mode"
        )
    if wish.network_mode == "host":
        raise InvalidParameter("cannot share the host's network namespace when user namespaces are enabled")
    if wish.pid_mode == "host":
        raise InvalidParameter("cannot share the host PID namespace when user namespaces are enabled")


def _container_mode(mode: str) -> bool:
    return mode.startswith("container:") and mode != "container:"


# What concerns networks


def _check_network_mode(config: ContainerConfig, wish: HostConfig) -> None:
    mode = wish.network_mode
    if mode == "container" or mode.startswith("container:"):
        _check_shared_network(config, wish)
    if wish.uts_mode == "host" and config.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if mode == "host" and wish.links:
        raise InvalidParameter(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    mac = given(config.mac_address)
    if mode == "host" and mac:
        raise InvalidParameter("conflicting options: mac-address and the network mode")


def _check_shared_network(config: ContainerConfig, wish: HostConfig) -> None:
    if wish.network_mode in ("container", "container:"):
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")
    conflicts: tuple[tuple[object, str], ...] = (
        (config.hostname, "hostname and the network mode"),
        (
            wish.links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (wish.dns, "dns and the network mode"),
        (wish.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (given(config.mac_address), "mac-address and the network mode"),
        (wish.port_bindings or wish.publish_all_ports, "port publishing and the container type network mode"),
        (given(config.exposed_ports), "port exposing and the container type network mode"),
    )
    for wished, text in conflicts:
        if wished:
            raise InvalidParameter(f"conflicting options: {text}")


def _endpoints(
    body: ContainerCreateBody,
    config: ContainerConfig,
    host_config: HostConfig,
    network_name: Callable[[str], str],
) -> dict[str, EndpointSettings]:
    """What is wished of each network, by its name; none for a container without a namespace of its own."""
    if given(config.network_disabled) or host_config.network_mode.startswith("container:"):
        return {}
    networking = body.networking_config
    wished = {
        name: settings or EndpointSettings()
        for name, settings in ((networking.endpoints_config if networking else None) or {}).items()
    }
    for settings in wished.values():
        check_endpoint(settings)
    mode = host_config.network_mode
    if mode == "default" and "default" in wished:
        wished["bridge"] = wished.pop("default")
    wished = wished or {"bridge" if mode == "default" else mode: EndpointSettings()}
    return {network_name(name): settings for name, settings in wished.items()}


def check_endpoint(settings: EndpointSettings) -> None:
    """Raises InvalidParameter for a wish that no network could fulfil."""
    for link in settings.links or ():
        parse_link(link)
    if settings.mac_address:
        check_mac(settings.mac_address)
    ipam = settings.ipam_config
    for text, version in ((ipam.ipv4_address, 4), (ipam.ipv6_address, 6)) if ipam else ():
        if text and not _is_address(text, version):
            raise InvalidParameter(f"invalid IPv{version} address: {text}")
    for text in (ipam.link_local_ips or ()) if ipam else ():
        if not _is_address(text):
            raise InvalidParameter(f"invalid link-local IP address: {text}")


def _inherited(
    host_config: HostConfig, peer: Callable[[str], Peer]
) -> tuple[tuple[tuple[Mounted, ...], str], ...]:
    """The mounts of each container of VolumesFrom, with the mode."""
    found = []
    for text in host_config.volumes_from or ():
        ref, mode = parse_volumes_from(text)
        try:
            found.append((peer(ref).mounts, mode))
        except NotFound as error:
            raise InvalidParameter(str(error)) from error
    return tuple(found)
