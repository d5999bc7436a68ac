"""What the API tells of a container's files."""

from msgspec import Struct

from lighterman.apitypes.wire import Wire


class ContainerPathStat(Struct, frozen=True, rename="camel"):
    """The content of the header X-Docker-Container-Path-Stat."""

    name: str
    size: int
    mode: int
    """An os.FileMode of Go."""
    mtime: str
    link_target: str


class ContainerChange(Wire, frozen=True):
    """One item of ContainerChanges."""

    path: str
    kind: int
    """0 modified, 1 added, 2 deleted."""
