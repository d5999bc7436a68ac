"""Why a verb of the swarm is refused, in Docker's words. Source: moby, daemon/cluster/*.go."""

from lighterman.errdefs import Conflict, InvalidParameter, Unauthorized, Unavailable

_NO_MANAGER = "This node is not a swarm manager. "


class NoSwarm(Unavailable):
    """The node is in no swarm that it could leave."""

    def __init__(self) -> None:
        super().__init__("This node is not part of a swarm")


class SwarmExists(Unavailable):
    """The node is in a swarm already."""

    def __init__(self) -> None:
        super().__init__(
            'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join '
            "another one."
        )


class NotInSwarm(Unavailable):
    """A manager's verb on a node outside of any swarm."""

    def __init__(self) -> None:
        super().__init__(
            _NO_MANAGER + 'Use "docker swarm init" or "docker swarm join" to connect this node to swarm and '
            "try again."
        )


class NotReady(Unavailable):
    """A manager's verb on a manager that cannot reach the others, or is only becoming one."""

    def __init__(self) -> None:
        super().__init__(_NO_MANAGER + "Manager is being prepared or has trouble connecting to the cluster.")


class NotManager(Unavailable):
    """A manager's verb on a worker."""

    def __init__(self) -> None:
        super().__init__(
            _NO_MANAGER + "Worker nodes can't be used to view or modify cluster state. Please run this "
            "command on a manager node or promote the current node to a manager."
        )


class SwarmLocked(Unavailable):
    """The keys of this manager are sealed."""

    def __init__(self) -> None:
        super().__init__(
            'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm '
            'unlock" to unlock it.'
        )


class CertificatesExpired(Unavailable):
    """The engine did not run for so long that its certificate could not be renewed."""

    def __init__(self) -> None:
        super().__init__("Swarm certificates have expired. To replace them, leave the swarm and join again.")


class JoinTimeout(Unavailable):
    """The join goes on without its client."""

    def __init__(self) -> None:
        super().__init__(
            "Timeout was reached before node joined. The attempt to join the swarm will continue in the "
            'background. Use the "docker info" command to see the current swarm status of your node.'
        )


class LeftMeanwhile(Unavailable):
    """Somebody did not want to wait any longer."""

    def __init__(self) -> None:
        super().__init__("The node has left the swarm before it had its place in it.")


class NoLeader(Unavailable):
    """No majority of the managers is there to write anything down."""

    def __init__(self) -> None:
        super().__init__(
            "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few "
            "managers are online. Make sure more than half of the managers are online."
        )


class WrongUnlockKey(Unauthorized):
    """A key of the right form that opens nothing."""

    def __init__(self) -> None:
        super().__init__("swarm could not be unlocked: invalid key provided")


class NotLocked(Conflict):
    """There is nothing to unlock."""

    def __init__(self) -> None:
        super().__init__("swarm is not locked")


class BadAddress(InvalidParameter):
    """An address that is none, or that this host does not have."""
