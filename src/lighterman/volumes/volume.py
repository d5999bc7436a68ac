"""What is kept of a volume, and what may be asked of a new one. Pure."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lighterman.apitypes import volume as wire
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import rfc3339_nano
from lighterman.linux import mount as linux
from lighterman.volumes.errors import BadVolume

LOCAL = "local"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_OPTIONS = ("type", "o", "device", "size")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_SECOND_NS = 10**9
_FLAGS = {
    "ro": linux.MS_RDONLY,
    "nosuid": linux.MS_NOSUID,
    "nodev": linux.MS_NODEV,
    "noexec": linux.MS_NOEXEC,
    "bind": linux.MS_BIND,
    "rbind": linux.MS_BIND | linux.MS_REC,
}
_NO_FLAG = ("defaults", "rw", "suid", "dev", "exec")


class VolumeRow(msgspec.Struct, frozen=True):
    """One volume: the wish as it came. The directory of one of ours is known from its name."""

    name: str
    created_ns: int
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    anonymous: bool = False
    driver: str = LOCAL
    scope: str = "local"
    mounted: tuple[str, ...] = ()  # of another driver: for whom it has been asked to mount it

    @property
    def is_ours(self) -> bool:
        """Whether the data is in our hands, and no plugin's."""
        return self.driver == LOCAL


class MountPlan(Struct, frozen=True):
    """What mount(2) is to be called with."""

    device: str
    kind: str
    flags: int
    data: str


def check_create(name: str, options: Mapping[str, str]) -> None:
    """Raises BadVolume in Docker's words. Source: the local driver of dockerd."""
    if len(name) == 1:
        raise BadVolume(
            name, "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name):
        raise BadVolume(
            name,
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        )
    for option in options:
        if option not in _OPTIONS:
            raise BadVolume(name, f'invalid option: "{option}"')
    if "size" in options:
        raise BadVolume(name, "quota size requested but no quota support")
    for option, others in _NEEDED.items():
        for other in others:
            if option in options and other not in options:
                raise BadVolume(name, f'missing required option: "{other}"')


def mount_plan(options: Mapping[str, str] | None) -> MountPlan | None:
    """How a volume with these options is mounted, None for a plain directory."""
    if not options or not options.get("device"):
        return None
    flags, data = 0, []
    for word in filter(None, options.get("o", "").split(",")):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word not in _NO_FLAG:
            data.append(word)
    return MountPlan(options["device"], options.get("type", ""), flags, ",".join(data))


def on_the_wire(row: VolumeRow, mountpoint: Path) -> wire.Volume:
    """The volume as list and inspect tell it."""
    return wire.Volume(
        created_at=rfc3339_nano(row.created_ns // _SECOND_NS * _SECOND_NS),
        driver=row.driver,
        labels=row.labels,
        mountpoint=str(mountpoint) if mountpoint != Path() else "",
        name=row.name,
        options=row.options,
        scope=row.scope,
    )


def is_asked_for(row: VolumeRow, filters: Filters, *, used: bool) -> bool:
    """Whether VolumeList shows `row`. Raises InvalidParameter for a `dangling` that is no boolean."""
    dangling = filters.flag("dangling", default=False)
    names = filters.get("name")
    return (
        filters.exact("driver", row.driver)
        and filters.labels(row.labels)
        and (not names or any(_matches(pattern, row.name) for pattern in names))
        and ("dangling" not in filters or dangling != used)
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return pattern == name
