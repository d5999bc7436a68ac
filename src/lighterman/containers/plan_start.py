"""Everything that is decided when a container starts. Pure: it refuses before anything has happened.

`plan_start` says what is to be prepared (sandbox, volumes, files, streams). When that is there, `oci_spec` in
`spec.py` makes the configuration for the OCI runtime of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lighterman.apitypes.container import EndpointSettings
from lighterman.containers.errors import RunsAlready, UnderRemoval
from lighterman.containers.life import Created, Exited, Paused, Restarting, Running
from lighterman.containers.merge import given
from lighterman.containers.mounts import Mounted, VolumeMount, parse_tmpfs
from lighterman.containers.ports import port_wishes
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict
from lighterman.networks import EndpointWish, SandboxWish

PREDEFINED = ("bridge", "host", "none", "default")


@dataclass(frozen=True)
class StartPlan:
    """What is to be prepared for a container that may start."""

    container: Container
    sandbox: SandboxWish | None  # None: the network of `network_of`
    network_of: Container | None
    pid_of: Container | None
    mounts: tuple[Mounted, ...]  # the tmpfs of the wish among them

    @property
    def volumes(self) -> tuple[VolumeMount, ...]:
        """The volumes that must be mounted."""
        return tuple(mount for mount in self.mounts if isinstance(mount, VolumeMount))


def plan_start(container: Container, peer: Callable[[str], Container]) -> StartPlan:
    """What `container` needs; `peer` finds another one by its id.

    Raises: RunsAlready (304), Conflict, NotFound (a container whose namespaces it wants).
    """
    match container.life:
        case Running() | Restarting():
            raise RunsAlready
        case Paused():
            raise Conflict("cannot start a paused container, try unpause instead")
        case Created() | Exited():
            pass
        case _:
            raise UnderRemoval(container.id)
    return prepare(container, peer)


def prepare(container: Container, peer: Callable[[str], Container]) -> StartPlan:
    """As `plan_start`, of a container of which is known that it may start."""
    host = container.host_config
    network_of = _joined(host.network_mode, "network", peer)
    return StartPlan(
        container=container,
        sandbox=None if network_of else sandbox_wish(container),
        network_of=network_of,
        pid_of=_joined(host.pid_mode, "PID", peer),
        mounts=(*container.mounts, *parse_tmpfs(given(host.tmpfs) or {})),
    )


def _joined(mode: str, what: str, peer: Callable[[str], Container]) -> Container | None:
    """The running container whose namespace a mode names, if it names one."""
    if not mode.startswith("container:"):
        return None
    other = peer(mode.removeprefix("container:"))
    if not other.runs:
        raise Conflict(f"cannot join {what} of a non running container: {other.id}")
    return other


def sandbox_wish(container: Container) -> SandboxWish:
    """The network that a container wants; ports are discarded where the host's network is used."""
    mac = given(container.config.mac_address) or ""
    primary = next(iter(container.endpoints), "")
    host_network = container.host_config.network_mode == "host"
    return SandboxWish(
        id=container.id,
        name=container.name,
        endpoints=tuple(
            _endpoint_wish(container.id, network, settings, mac if network == primary else "")
            for network, settings in container.endpoints.items()
        ),
        ports=() if host_network else port_wishes(container.config, container.host_config),
    )


def _endpoint_wish(container_id: str, network: str, settings: EndpointSettings, mac: str) -> EndpointWish:
    ipam = settings.ipam_config
    aliases = tuple(settings.aliases or ())
    if network not in PREDEFINED and container_id[:12] not in aliases:
        aliases = (*aliases, container_id[:12])
    return EndpointWish(
        network=network,
        ipv4=ipam.ipv4_address if ipam else "",
        ipv6=ipam.ipv6_address if ipam else "",
        mac=settings.mac_address or mac,
        aliases=aliases,
        driver_opts=settings.driver_opts or {},
    )
