"""The texts that Docker's clients know, each with its kind."""

from lighterman.errdefs import Conflict, InvalidParameter, NotFound, NotModified


class NoSuchContainer(NotFound):
    def __init__(self, ref: str) -> None:
        super().__init__(f"No such container: {ref}")


class AmbiguousPrefix(InvalidParameter):
    def __init__(self, ref: str) -> None:
        super().__init__(f"Multiple IDs found with provided prefix: {ref}")


class NoSuchExec(NotFound):
    def __init__(self, ref: str) -> None:
        super().__init__(f"No such exec instance: {ref}")


class NameTaken(Conflict):
    def __init__(self, name: str, owner_id: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{owner_id}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class NotRunning(Conflict):
    def __init__(self, container_id: str) -> None:
        super().__init__(f"Container {container_id} is not running")


class RunsAlready(NotModified):
    def __init__(self) -> None:
        super().__init__("Container already started")


class StoppedAlready(NotModified):
    def __init__(self) -> None:
        super().__init__("Container already stopped")


class UnderRemoval(Conflict):
    def __init__(self, container_id: str) -> None:
        super().__init__(f"removal of container {container_id} is already in progress")


class NoSuchFile(NotFound):
    def __init__(self, path: str, ref: str) -> None:
        super().__init__(f"Could not find the file {path} in container {ref}")
