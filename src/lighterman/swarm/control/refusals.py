"""Why a wish is refused, in the words of SwarmKit's gRPC, which dockerd passes on.

The class says the kind, and the text repeats it, as gRPC's status did. Source: dockerd 20.10.24, recorded.
"""

from lighterman.errdefs import Conflict, InvalidParameter, NotFound, System, Unimplemented


def _rpc(code: str, text: str) -> str:
    return f"rpc error: code = {code} desc = {text}"


class InvalidArgument(InvalidParameter):
    """The wish is wrong whatever the swarm's state."""

    def __init__(self, text: str) -> None:
        super().__init__(_rpc("InvalidArgument", text))


class FailedPrecondition(InvalidParameter):
    """The swarm's state does not allow it."""

    def __init__(self, text: str) -> None:
        super().__init__(_rpc("FailedPrecondition", text))


class AlreadyExists(Conflict):
    """The name is somebody else's."""

    def __init__(self, text: str) -> None:
        super().__init__(_rpc("AlreadyExists", text))


class NotSupported(Unimplemented):
    """SwarmKit knows it and does not do it."""

    def __init__(self, text: str) -> None:
        super().__init__(_rpc("Unimplemented", text))


class Unknown(System):
    """A failure that SwarmKit gave no code: clients see a 500."""

    def __init__(self, text: str) -> None:
        super().__init__(_rpc("Unknown", text))


class NoSuchObject(NotFound):
    """Nothing has this id, name, or beginning of an id."""

    def __init__(self, what: str, ref: str) -> None:
        super().__init__(f"{what} {ref} not found")


class NoSuchNetwork(System):
    """A service wants a network that is not there. dockerd forgets to say that it is a 404."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"network {ref} not found")
