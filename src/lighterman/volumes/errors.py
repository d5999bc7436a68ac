"""What this room refuses, in dockerd's words."""

from collections.abc import Sequence

from lighterman.errdefs import Conflict, InvalidParameter, NotFound, System


class NoSuchVolume(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class NameTaken(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"a volume named {name} exists: it cannot be brought back from the trash")


class OtherDriver(Conflict):
    def __init__(self, name: str, driver: str) -> None:
        super().__init__(
            f"create {name}: conflict: volume name must be unique: it is one of the driver {driver}"
        )


class StaleVolume(Conflict):
    """A volume of a plugin's that the plugin may not have any more; `reason` says more."""

    def __init__(self, name: str, driver: str, reason: str) -> None:
        super().__init__(
            f"create {name}: conflict: volume name must be unique: "
            f"found reference to volume '{name}' in driver '{driver}', {reason}"
        )


class BadVolume(InvalidParameter):
    """A name or an option that cannot be; `reason` says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"create {name}: {reason}")


class VolumeInUse(Conflict):
    def __init__(self, name: str, users: Sequence[str]) -> None:
        super().__init__(f"remove {name}: volume is in use - [{', '.join(users)}]")


class MountFailed(System):
    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"error while mounting volume '{path}': {reason}")
