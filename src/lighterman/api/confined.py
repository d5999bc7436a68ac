"""Bodies that come through a listener with a role: what is made there reaches no further than itself.

Nothing of the host is mounted into it, no namespace shared, no protection taken off, no device or capability
added: of `HostConfig` only what is listed here may be given, so that a field which is new is refused until
somebody has thought about it. A container may be in the default network or none, and keep data in volumes of
its own. A role with a label lets it use networks and volumes that carry the label too: what those are is
decided by who made them, which clients of such a listener cannot.

A body is decoded, looked at and written anew: the handler gets what was looked at.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET, structs

from lighterman.api.decode import encode
from lighterman.apitypes.container import (
    ContainerConfig,
    ContainerCreateBody,
    ContainerUpdateBody,
    HostConfig,
    LogConfig,
    Resources,
)
from lighterman.apitypes.exec import ExecCreateBody
from lighterman.containers.mounts import BindMount, VolumeMount, plan_mounts
from lighterman.errdefs import NotFound

if TYPE_CHECKING:
    from lighterman.api.request import Request
    from lighterman.api.roles import Role
    from lighterman.api.rooms import Rooms

FREE = frozenset(
    {
        *("auto_remove", "cap_drop", "console_size", "container_id_file", "dns", "dns_options", "dns_search"),
        *("extra_hosts", "group_add", "init", "port_bindings", "publish_all_ports", "readonly_rootfs"),
        *("restart_policy", "shm_size", "tmpfs"),
        # limits
        *("blkio_weight", "cpu_period", "cpu_quota", "cpu_shares", "cpuset_cpus", "cpuset_mems"),
        *("kernel_memory", "kernel_memory_tcp", "memory", "memory_reservation", "memory_swap"),
        *("memory_swappiness", "nano_cpus", "pids_limit", "ulimits"),
        # looked at by what they become
        *("binds", "mounts", "network_mode"),
    }
)
"""Fields that may have any value."""


def _is_own_log(config: LogConfig) -> bool:
    """Whether it stays here: other drivers open files and sockets of the host."""
    return config.type in ("json-file", "local", "none") or (not config.type and not config.config)


SOME: Mapping[str, Callable[[Any], bool]] = {
    "cgroupns_mode": lambda mode: mode == "private",
    "ipc_mode": lambda mode: mode in ("none", "private", "shareable"),
    "isolation": lambda kind: kind == "default",
    "log_config": _is_own_log,
    "security_opt": lambda options: all(
        option in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")
        for option in options
    ),
}
"""Fields that may have these values."""
_NONE_IS_A_WISH = frozenset({"masked_paths", "readonly_paths"})
"""Lists that take protection off when they are empty."""
USUAL_NETWORKS = frozenset({"", "bridge", "none"})


class Labelled(Protocol):
    """A network or a volume."""

    @property
    def labels(self) -> dict[str, str] | None: ...


async def checked(role: "Role", operation: str, request: "Request", rooms: "Rooms") -> "Request":
    """The request, if its body asks for nothing beyond the container. Raises: Forbidden, InvalidParameter."""
    match operation:
        case "ContainerCreate":
            body = await request.body(ContainerCreateBody, empty="EOF")
            volumes = check_create(role, body)
            _check_used(role, body, volumes, rooms)
            if role.label:
                body = structs.replace(body, labels=labelled(role, body))
            return request.with_body(encode(body))
        case "ContainerUpdate":
            update = await request.body(ContainerUpdateBody, empty="EOF")
            check_update(role, update)
            return request.with_body(encode(update))
    wish = await request.body(ExecCreateBody)
    if wish.privileged:
        raise role.refusal("an exec that is Privileged")
    return request.with_body(encode(wish))


def check_create(role: "Role", body: ContainerCreateBody) -> Collection[str]:
    """What can be said without a look at the engine: the names of the volumes that are to be used. Pure.

    Raises: Forbidden, with the field's name; InvalidParameter.
    """
    wish = body.host_config or HostConfig()
    for field in _reaching(wish):
        raise role.refusal(f"HostConfig.{field}")
    for name, end in _endpoints(body).items():
        if end is not None and (end.links or end.driver_opts):
            raise role.refusal(f"links or driver options in the network {name}")
    mounts = plan_mounts(body, wish, (), new_name=lambda: "", data_root="/")
    for mount in mounts:
        if isinstance(mount, BindMount):
            raise role.refusal(f"a mount of the host's {mount.source}")
        if isinstance(mount, VolumeMount) and (mount.options or mount.driver != "local"):
            raise role.refusal(f"a volume with a driver or options at {mount.target}")
    return {mount.name for mount in mounts if mount.name}


def check_update(role: "Role", body: ContainerUpdateBody) -> None:
    """Pure. Raises: Forbidden: without exec nothing more is published of what there is."""
    for field in _reaching(body):
        raise role.refusal(field)
    if role.no_exec and body.port_bindings:
        raise role.refusal("PortBindings")


def _reaching(wish: Resources) -> Iterator[str]:
    """The fields, in the API's words, that are given and reach beyond the container."""
    for field in structs.fields(wish):
        value, name = getattr(wish, field.name), field.name
        given = value is not None if name in _NONE_IS_A_WISH else bool(value) and value is not UNSET
        if not given or name in FREE or value == field.default:
            continue
        if name not in SOME or not SOME[name](value):
            yield field.encode_name


def _endpoints(body: ContainerCreateBody) -> Mapping[str, Any]:
    wished = body.networking_config
    return (wished.endpoints_config if wished else None) or {}


def _check_used(role: "Role", body: ContainerCreateBody, volumes: Collection[str], rooms: "Rooms") -> None:
    """Networks and volumes that there are. Raises: Forbidden, for what is not there too."""
    for name in {(body.host_config or HostConfig()).network_mode, *_endpoints(body)}:
        usual = name in USUAL_NETWORKS or (name == "default" and name not in rooms.networks)
        if not usual and not _carries(role, rooms.networks.find, name):
            raise role.refusal(f"the network {name}")
    for name in volumes:
        if not _carries(role, rooms.volumes.find, name):
            raise role.refusal(f"the volume {name}")


def _carries(role: "Role", find: Callable[[str], Labelled], name: str) -> bool:
    try:
        return role.carries(find(name).labels)
    except NotFound:
        return False


def labelled(role: "Role", config: ContainerConfig) -> dict[str, str]:
    """The labels of a container that is to be made, with the role's. Raises: Forbidden: it says otherwise."""
    key, has_value, value = role.label.partition("=")
    labels = dict(config.labels or {})
    if has_value and labels.get(key, value) != value:
        raise role.refusal(f"a container with another label {key}")
    return labels | {key: value if has_value else labels.get(key, "")}
