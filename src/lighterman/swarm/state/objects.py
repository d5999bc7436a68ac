"""Services, networks, secrets and configs."""

from msgspec import Struct

from lighterman.apitypes.service import ConfigSpec, Endpoint, IPAMConfig, NetworkSpec, SecretSpec, ServiceSpec
from lighterman.swarm.state.kinds import Stored


class Service(Stored, frozen=True):
    """A service as it is wished, and as it was before."""

    spec: ServiceSpec
    previous: ServiceSpec | None = None
    template_id: str = ""
    """Of `spec`: the `Template` that a task of it has to have."""
    generation: int = 0
    """Counts the updates of `spec`; an update that is under way is of one generation."""
    rollback: bool = False
    """Whether `spec` has come back from `previous`: tasks are updated with the rollback's settings."""
    rollback_reason: str = ""
    """Why the leader itself went back; "" when a client wanted it."""
    registry_auth: str = ""
    """X-Registry-Auth of the client that wished it, for nodes that pull the image."""
    previous_registry_auth: str = ""


class Update(Struct, frozen=True, omit_defaults=True):
    """How far an update of the service has come."""

    generation: int
    state: str
    """updating, paused, completed, rollback_started, rollback_paused or rollback_completed."""
    message: str = ""
    started_ns: int = 0
    completed_ns: int = 0
    slots: int = 0
    """That had to be updated when it began."""
    failed: tuple[str, ...] = ()
    """Tasks that counted as failures."""
    done_ns: int = 0
    """When the last slot was done: failures count for one more monitoring period."""


class ServiceStatus(Stored, frozen=True):
    """What the leader has made of a service. `id` is the service's."""

    endpoint: Endpoint | None = None
    """Virtual addresses and published ports; None until they are allocated."""
    endpoint_error: str = ""
    """Why they cannot be."""
    update: Update | None = None


class Network(Stored, frozen=True):
    """A network of the swarm as it was wished."""

    spec: NetworkSpec


class NetworkStatus(Stored, frozen=True):
    """What the leader has given to a network. `id` is the network's."""

    ipam: tuple[IPAMConfig, ...] = ()
    vni: int = 0
    """Of its VXLAN; 0 for a network that is not of the driver overlay."""
    error: str = ""
    """Why it could not be allocated."""


class Secret(Stored, frozen=True):
    spec: SecretSpec


class Config(Stored, frozen=True):
    spec: ConfigSpec
