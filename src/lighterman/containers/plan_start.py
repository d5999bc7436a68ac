"""Everything that is decided when a container starts. Pure: it refuses before anything has happened.

`plan_start` says what is to be prepared (sandbox, volumes, files, streams). When that is there, `oci_spec` in
`spec.py` makes the configuration for the OCI runtime of it.
"""

from collections.abc import Callable

from msgspec import Struct

from lighterman.apitypes.container import EndpointIPAMConfig, EndpointSettings
from lighterman.containers.errors import RunsAlready, UnderRemoval
from lighterman.containers.ipc import ipc_donor
from lighterman.containers.life import Created, Exited, Paused, Restarting, Running
from lighterman.containers.links import Link, check_link, links_of, parse_link
from lighterman.containers.merge import given
from lighterman.containers.mounts import Mounted, VolumeMount, parse_tmpfs
from lighterman.containers.network_owner import network_owner
from lighterman.containers.ports import exposed_ports, port_wishes
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict
from lighterman.networks import EndpointWish, SandboxWish

PREDEFINED = ("bridge", "host", "none", "default")


class StartPlan(Struct, frozen=True):
    """What is to be prepared for a container that may start."""

    container: Container
    sandbox: SandboxWish | None  # None: the network of `network_of`
    network_of: Container | None
    files_of: Container  # whose hosts, hostname and resolv.conf are used
    pid_of: Container | None
    ipc_of: Container | None
    mounts: tuple[Mounted, ...]  # the tmpfs of the wish among them
    links: tuple[Link, ...] = ()  # to containers of the default bridge, which run

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
    network_of = _joined(container, host.network_mode, "network", peer)
    links = tuple(links_of(container, peer)) if "bridge" in container.endpoints else ()
    for link in links:
        check_link(link, container)
    return StartPlan(
        container=container,
        sandbox=None if network_of else sandbox_wish(container),
        network_of=network_of,
        files_of=network_owner(container, peer),
        pid_of=_joined(container, host.pid_mode, "PID", peer),
        ipc_of=ipc_donor(host.ipc_mode, peer),
        mounts=(*container.mounts, *parse_tmpfs(given(host.tmpfs) or {})),
        links=links,
    )


def _joined(container: Container, mode: str, what: str, peer: Callable[[str], Container]) -> Container | None:
    """The running container whose namespace a mode names, if it names one."""
    if not mode.startswith("container:"):
        return None
    other = peer(mode.removeprefix("container:"))
    if other.id == container.id:  # it was named before it was made
        raise Conflict(f"cannot join own {what}")
    if not other.runs:
        raise Conflict(f"cannot join {what} of a non running container: {other.id}")
    return other


def sandbox_wish(container: Container) -> SandboxWish:
    """The network that a container wants; ports are discarded where the host's network is used.

    One that was disconnected from all its networks gets that of its network mode back.
    """
    mode = container.host_config.network_mode
    endpoints = container.endpoints
    if not endpoints and not given(container.config.network_disabled):
        endpoints = {"bridge" if mode == "default" else mode: EndpointSettings()}
    return SandboxWish(
        id=container.id,
        name=container.name,
        endpoints=tuple(
            endpoint_wish(container, network, settings, primary=at == 0)
            for at, (network, settings) in enumerate(endpoints.items())
        ),
        ports=() if mode == "host" else port_wishes(container.config, container.host_config),
        dns=tuple(container.host_config.dns or ()),
        managed=container.managed,
        exposed=tuple(exposed_ports(container.config)),
    )


def endpoint_wish(
    container: Container, network: str, settings: EndpointSettings, *, primary: bool = False
) -> EndpointWish:
    """What a container wants of one network; the `primary` one gets the MAC and the links that were wished of
    the container as a whole."""
    ipam = settings.ipam_config or EndpointIPAMConfig()
    aliases = tuple(settings.aliases or ())
    links = list(settings.links or ())
    if network not in PREDEFINED:
        known_as = (*aliases, container.id[:12], given(container.config.hostname) or "")
        aliases = tuple(dict.fromkeys(filter(None, known_as)))
        links += (container.host_config.links or ()) if primary else ()
    return EndpointWish(
        network=network,
        ipv4=ipam.ipv4_address,
        ipv6=ipam.ipv6_address,
        mac=settings.mac_address or (given(container.config.mac_address) if primary else "") or "",
        aliases=aliases,
        driver_opts=settings.driver_opts or {},
        links={alias.lower(): name for name, alias in map(parse_link, links)},
        link_local=tuple(ipam.link_local_ips or ()),
        priority=given(settings.gw_priority) or 0,
    )
