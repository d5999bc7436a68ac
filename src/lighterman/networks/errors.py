"""What this room refuses, in dockerd's words."""

from lighterman.errdefs import Conflict, Forbidden, InvalidParameter, NotFound, System, Unavailable


class NeedsSwarm(Unavailable):
    """A network of all nodes, wished of an engine that makes them for itself only."""

    def __init__(self) -> None:
        super().__init__(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again."
        )


class NoSuchNetwork(NotFound):
    def __init__(self, ref: str) -> None:
        super().__init__(f"network {ref} not found")


class AmbiguousNetwork(InvalidParameter):
    """Several ids begin so."""

    def __init__(self, ref: str, count: int) -> None:
        super().__init__(f"network {ref} is ambiguous ({count} matches found based on ID prefix)")


class NameTaken(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")


class HasEndpoints(Forbidden):
    def __init__(self, name: str, network_id: str) -> None:
        super().__init__(f"error while removing network: network {name} id {network_id} has active endpoints")


class PoolsExhausted(System):
    """Every default pool overlaps with a network of ours or a route of the host."""

    def __init__(self) -> None:
        super().__init__(
            "could not find an available, non-overlapping IPv4 address pool among the defaults "
            "to assign to the network"
        )


class PoolOverlaps(Forbidden):
    def __init__(self) -> None:
        super().__init__("Pool overlaps with other one on this address space")


class NoFreeAddress(System):
    def __init__(self, version: int = 4) -> None:
        super().__init__(f"no available IPv{version} addresses on this network's address pools")


class Unattached(Forbidden):
    """A container that the swarm has given no address in its network."""

    def __init__(self, network: str) -> None:
        super().__init__(f"Could not attach to network {network}: this node is not in its swarm any more")


class EndpointExists(Forbidden):
    def __init__(self, name: str, network: str) -> None:
        super().__init__(f"endpoint with name {name} already exists in network {network}")


class AlreadyAttached(Conflict):
    """The same in a network of the swarm, which a container does not enter by itself."""

    def __init__(self, name: str, network: str) -> None:
        super().__init__(f"{name} is already attached to network {network}")


class AddressInUse(Forbidden):
    def __init__(self) -> None:
        super().__init__("Address already in use")


class PortFailed(System):
    """A port of the host that cannot be had; `reason` says why, in dockerd's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class PortTaken(PortFailed):
    """Somebody has it: another may do."""


class ConnectivityFailed(System):
    """The ports of an endpoint could not be published."""

    def __init__(self, name: str, endpoint_id: str, reason: Exception) -> None:
        super().__init__(
            f"driver failed programming external connectivity on endpoint {name} ({endpoint_id}): {reason}"
        )


class NotConnected(Conflict):
    def __init__(self, container_id: str, network: str) -> None:
        super().__init__(f"container {container_id} is not connected to network {network}")
