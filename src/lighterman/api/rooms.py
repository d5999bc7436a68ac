"""What the handlers call: the services of this engine, brought together once by the wiring."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from lighterman.api.versions import ALL, Span
from lighterman.containers import Containers
from lighterman.events import Events
from lighterman.images import Images
from lighterman.linux.host import Host
from lighterman.networks import Networks
from lighterman.plugins import Plugins
from lighterman.runtime import Runtime
from lighterman.swarm import Swarm
from lighterman.volumes import Volumes

if TYPE_CHECKING:
    from lighterman.build import Builds


class EngineInfo(Struct, frozen=True):
    """Facts and settings of this engine that `/info` and `/version` tell and that no room owns."""

    id: str
    """Stable over restarts; a text of the engine's own choice."""
    version: str
    """As in "26.11.0"."""
    data_root: str
    git_commit: str = ""
    build_time: str = ""
    """RFC 3339."""
    default_runtime: str = "crun"
    runtimes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name -> program and arguments of each OCI runtime that containers may ask for."""
    logging_driver: str = "json-file"
    labels: tuple[str, ...] = ()
    generic_resources: tuple[Struct, ...] = ()
    """`apitypes.service.GenericResource`, loaded where there are some."""
    debug: bool = False
    experimental: bool = False
    api: Span = ALL
    """The versions that are served."""
    insecure_registries: tuple[str, ...] = ()
    """CIDRs and host names; 127.0.0.0/8 is always one."""
    registry_mirrors: tuple[str, ...] = ()
    init_path: str = ""
    seccomp_profile: str = "default"
    """Where the profile of containers that name none comes from."""
    no_new_privileges: bool = False
    userns: bool = False
    """Containers get user namespaces of their own."""
    authorization_plugins: tuple[str, ...] = ()
    """In the order in which they are asked."""
    warnings: tuple[str, ...] = ()
    """About the configuration: what an operator should not have done."""


class Rooms(Struct, frozen=True):
    """The services that handlers call."""

    containers: Containers
    images: Images
    networks: Networks
    volumes: Volumes
    plugins: Plugins
    events: Events
    runtime: Runtime
    swarm: Swarm
    host: Host
    engine: EngineInfo
    builds: Callable[[], "Builds"]
    """The room of builds, loaded by the first call, which blocks."""
