"""What is mounted into a container besides its root: from four ways of wishing to one list of values. Pure.

`Binds` ("src:dst:mode"), `Mounts`, `Config.Volumes` and `VolumesFrom` all become `Mounted` values, one for
each place in the container. Whether a source exists is asked by `create`, not here. `HostConfig.Tmpfs` is
no part of the list: it is not shown as a mount, so `plan_start` takes it from the wish.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeAlias

from msgspec import Struct, structs

from lighterman.apitypes.container import ContainerConfig, HostConfig, Mount, TmpfsOptions
from lighterman.containers.merge import given
from lighterman.errdefs import InvalidParameter


class BindMount(Struct, frozen=True, tag=True, kw_only=True):
    """A file or directory of the host."""

    name: ClassVar[str] = ""  # no volume
    source: str
    target: str
    read_only: bool = False
    mode: str = ""  # as the client wrote it
    propagation: str = ""  # as wished; `plan_mounts` leaves none empty
    recursive: bool = True
    deep_read_only: bool = False  # read-only with all that is mounted below
    create_source: bool = False  # a missing source becomes a directory


class VolumeMount(Struct, frozen=True, tag=True, kw_only=True):
    """A volume, made when it is not there."""

    name: str
    target: str
    driver: str = "local"
    read_only: bool = False
    mode: str = ""
    copy_up: bool = True  # an empty one gets what the image has at this place
    anonymous: bool = False  # it was made for this container: `rm -v` takes it along
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None


class TmpfsMount(Struct, frozen=True, tag=True, kw_only=True):
    """A file system in memory, empty at each start."""

    name: ClassVar[str] = ""  # no volume
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()


Mounted: TypeAlias = BindMount | VolumeMount | TmpfsMount

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODE_KINDS = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
    frozenset({"default", "consistent", "cached", "delegated"}),
)


def plan_mounts(
    config: ContainerConfig,
    host_config: HostConfig,
    inherited: Sequence[tuple[Sequence[Mounted], str]],
    *,
    new_name: Callable[[], str],
    data_root: str,
    deep_read_only: bool = False,
) -> tuple[Mounted, ...]:
    """Everything that is mounted, each place once.

    `inherited` are the mounts of the containers of VolumesFrom with the mode behind the colon; `new_name`
    gives names to anonymous volumes; `data_root` is where the engine itself mounts; with `deep_read_only` a
    read-only bind is so with all that is mounted below it, unless it says otherwise.
    Raises InvalidParameter in Docker's words.
    """
    planned = {mount.target: mount for mounts, mode in inherited for mount in inherit(mounts, mode)}
    taken = set(given(host_config.tmpfs) or ())
    for mount in (
        *(
            parse_bind(raw, host_config.volume_driver, new_name, deep_read_only)
            for raw in host_config.binds or ()
        ),
        *(parse_mount(mount, new_name, deep_read_only) for mount in given(host_config.mounts) or ()),
    ):
        if mount.target in taken:
            raise InvalidParameter(f"Duplicate mount point: {mount.target}")
        taken.add(mount.target)
        planned[mount.target] = mount
    for target in config.volumes or ():
        target = posixpath.normpath("/" + target.lstrip("/"))
        _check_target(target, InvalidParameter)
        if target not in planned and target not in taken:
            planned[target] = VolumeMount(
                name=new_name(),
                target=target,
                driver=host_config.volume_driver or "local",
                anonymous=True,
            )
    return tuple(_propagated(mount, data_root) for mount in planned.values())


def _propagated(mount: Mounted, data_root: str) -> Mounted:
    """A bind with its propagation decided.

    One that shows the engine's own mounts must let go of them when the engine does, or they could never be
    unmounted. Source: validateBindDaemonRoot of moby 20.10.
    """
    if not isinstance(mount, BindMount):
        return mount
    shared = posixpath.commonpath((mount.source, data_root)) in (mount.source, data_root)
    if mount.propagation in ("", "rslave", "rshared") or not shared:
        return structs.replace(mount, propagation=mount.propagation or ("rslave" if shared else "rprivate"))
    raise InvalidParameter(
        'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is '
        f'within the daemon root, daemon root: "{data_root}", bind mount source: "{mount.source}", '
        f'propagation: "{mount.propagation}"'
    )


def inherit(mounts: Iterable[Mounted], mode: str) -> Iterable[Mounted]:
    """The mounts of another container, as VolumesFrom takes them over."""
    read_only = "ro" in mode.split(",")
    for mount in mounts:
        mount = structs.replace(mount, read_only=mount.read_only or read_only)
        match mount:
            case VolumeMount():  # it has its content; one without a name goes with the last that has it
                yield structs.replace(mount, mode="", copy_up=False)
            case BindMount():
                yield structs.replace(mount, mode="", create_source=False)
            case TmpfsMount():
                yield mount


def parse_volumes_from(text: str) -> tuple[str, str]:
    """(container, mode) of "container[:mode]". Raises InvalidParameter."""
    if not text:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    ref, _, mode = text.partition(":")
    if not is_mode(mode) or any(each in PROPAGATIONS or each == "nocopy" for each in mode.split(",")):
        raise InvalidParameter(f"invalid mode: {mode}")
    return ref, mode or "rw"


def is_mode(mode: str) -> bool:
    """Whether `mode` is made of known words, at most one of each kind."""
    words = mode.split(",") if mode else []
    kinds = [kind for word in words for kind, members in enumerate(_MODE_KINDS) if word in members]
    return len(kinds) == len(words) == len(set(kinds))


def parse_bind(
    raw: str, volume_driver: str, new_name: Callable[[], str], deep_read_only: bool = False
) -> BindMount | VolumeMount:
    """The mount of "[source:]target[:mode]"; a source without a leading slash names a volume."""
    parts = raw.split(":")
    wrong = InvalidParameter(f"invalid volume specification: '{raw}'")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and is_mode(parts[1])):
        raise wrong
    source = parts[0] if len(parts) > 1 else ""
    target = parts[1] if len(parts) > 1 else parts[0]
    mode = parts[2] if len(parts) > 2 else ""
    if not is_mode(mode):
        raise InvalidParameter(f"invalid mode: {mode}")
    words = mode.split(",")
    kind = "bind" if source.startswith("/") else "volume"

    def unfit(text: str) -> InvalidParameter:
        return InvalidParameter(f'{wrong}: invalid mount config for type "{kind}": {text}')

    target = _check_target(target, unfit, source)
    if kind == "bind" and "nocopy" in words:
        raise unfit("field VolumeOptions must not be specified")
    if kind == "volume" and not PROPAGATIONS.isdisjoint(words):
        raise unfit("field BindOptions must not be specified")
    if kind == "bind":
        return BindMount(
            source=posixpath.normpath(source),
            target=target,
            read_only="ro" in words,
            deep_read_only=deep_read_only and "ro" in words,
            mode=mode,
            propagation=next((word for word in words if word in PROPAGATIONS), ""),
            create_source=True,
        )
    driver = volume_driver or "local"
    return VolumeMount(
        name=source or new_name(),
        target=target,
        driver=driver,
        read_only="ro" in words,
        mode=mode or ("z" if driver == "local" else ""),
        copy_up="nocopy" not in words,
        anonymous=not source,
    )


def parse_mount(wish: Mount, new_name: Callable[[], str], deep_read_only: bool = False) -> Mounted:
    """The mount of a `HostConfig.Mounts` item. Raises InvalidParameter in Docker's words."""

    def wrong(text: str) -> InvalidParameter:
        return InvalidParameter(f'invalid mount config for type "{wish.type}": {text}')

    for kind, options in (
        ("bind", wish.bind_options),
        ("volume", wish.volume_options),
        ("tmpfs", wish.tmpfs_options),
    ):
        if options is not None and wish.type != kind:
            raise wrong(f"field {kind.capitalize()}Options must not be specified")
    if wish.type not in ("bind", "volume", "tmpfs"):
        raise wrong("mount type unknown")
    if not wish.target:
        raise wrong("field Target must not be empty")
    if wish.consistency and wish.consistency not in _MODE_KINDS[4]:
        raise wrong(f"invalid consistency mode: {wish.consistency}")
    target = _check_target(wish.target, wrong, wish.source)
    match wish.type:
        case "bind":
            return _bind(wish, target, wrong, deep_read_only)
        case "volume":
            if not wish.source and wish.read_only:  # it would be empty for ever
                raise wrong("must not set ReadOnly mode when using anonymous volumes")
            return _volume(wish, target, new_name)
    if wish.source:
        raise wrong("field Source must not be specified")
    wished = ",".join(_tmpfs_options(wish.tmpfs_options))
    try:
        return TmpfsMount(target=target, read_only=wish.read_only, options=tuple(_checked_tmpfs(wished)))
    except InvalidParameter as error:
        raise wrong(str(error)) from error


def _bind(
    wish: Mount, target: str, wrong: Callable[[str], InvalidParameter], deep_read_only: bool
) -> BindMount:
    if not wish.source:
        raise wrong("field Source must not be empty")
    if not wish.source.startswith("/"):
        raise wrong(f"invalid mount path: '{wish.source}' mount path must be absolute")
    options = wish.bind_options
    propagation = options.propagation if options else ""
    if propagation and propagation not in PROPAGATIONS:
        raise wrong(f"invalid propagation mode: {propagation}")
    if options and options.read_only_force_recursive:
        deep_read_only = True
        _check_force(wish, propagation, wrong)
    elif options and (options.read_only_non_recursive or options.non_recursive):
        deep_read_only = False
    return BindMount(
        source=posixpath.normpath(wish.source),
        target=target,
        read_only=wish.read_only,
        deep_read_only=wish.read_only and deep_read_only,
        propagation=propagation,
        recursive=not (options and options.non_recursive),
        create_source=bool(options and options.create_mountpoint),
    )


def _check_force(wish: Mount, propagation: str, wrong: Callable[[str], InvalidParameter]) -> None:
    """What a mount must be that has to be read-only all the way down. Source: ValidateConfig of moby 25."""
    options = wish.bind_options
    if not wish.read_only:
        raise wrong("mount source must be read-only for ReadOnlyForceRecursive")
    if options and (options.read_only_non_recursive or options.non_recursive):
        raise wrong("ReadOnlyForceRecursive conflicts with NonRecursive and ReadOnlyNonRecursive")
    if propagation not in ("private", "rprivate"):
        raise wrong("ReadOnlyForceRecursive requires the propagation private or rprivate")


def _volume(wish: Mount, target: str, new_name: Callable[[], str]) -> VolumeMount:
    options = wish.volume_options
    driver = options.driver_config if options else None
    name = (driver.name if driver else "") or "local"
    return VolumeMount(
        name=wish.source or new_name(),
        target=target,
        driver=name,
        read_only=wish.read_only,
        mode="z" if name == "local" else "",
        copy_up=not (options and options.no_copy),
        anonymous=not wish.source,
        labels=options.labels if options else None,
        options=driver.options if driver else None,
    )


def _tmpfs_options(wish: TmpfsOptions | None) -> tuple[str, ...]:
    if wish is None:
        return ()
    mode = (f"mode={wish.mode:o}",) if wish.mode else ()
    return (*mode, f"size={wish.size_bytes}") if wish.size_bytes else mode


_OVER_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime"),
        "sys/kernel/ns_last_pid",
    )
)
"""What file systems like lxcfs give a container of its own."""


def _check_target(target: str, wrong: Callable[[str], InvalidParameter], source: str = "") -> str:
    """The clean path of a place in the container.

    What a container believes of its kernel is not to be forged, nor is what protects it (masked paths,
    labels of its processes, which the runtime writes there). Source: checkProcMount of runc, in its words.
    """
    clean = posixpath.normpath(target)
    if clean in ("/", "//"):
        raise wrong("invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise wrong(f"invalid mount path: '{target}' mount path must be absolute")
    clean = clean.replace("//", "/")  # two at the beginning are left by normpath
    if clean == "/proc" and not (source == "/proc" or source.startswith("/proc/")):
        raise wrong(f'"{clean}" cannot be mounted because it is not of type proc')
    if clean.startswith("/proc/") and clean not in _OVER_PROC:
        raise wrong(f'"{clean}" cannot be mounted because it is inside /proc')
    return clean


_TMPFS_FLAG_TEXT = """
async atime bind defaults dev diratime dirsync exec iversion lazytime mand noatime nodev nodiratime noexec
noiversion nolazytime nomand norelatime nostrictatime nosuid private rbind relatime remount ro rprivate
rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable
"""
_TMPFS_FLAGS = frozenset(_TMPFS_FLAG_TEXT.split())
_SIZE = "(0x[0-9a-f]+|[0-9]+)[kmgtpe]?"
_OWNER = "0x[0-9a-f]{1,8}|[0-9]{1,10}"
_TMPFS_VALUES = {
    "size": f"{_SIZE}%?",
    "nr_blocks": _SIZE,
    "nr_inodes": _SIZE,
    "mode": "[0-7]{1,10}",
    "uid": _OWNER,
    "gid": _OWNER,
    "mpol": "(default|local|prefer|prefer \\(many\\)|bind|interleave|weighted interleave)([=:].*)?",
}
"""What the kernel takes of each. Source: memparse, fs_parse and mpol_parse_str of Linux 6.18."""


def parse_tmpfs(wish: Mapping[str, str]) -> tuple[TmpfsMount, ...]:
    """The mounts of `HostConfig.Tmpfs`. Raises InvalidParameter in Docker's words."""
    return tuple(
        TmpfsMount(
            target=_check_target(target, InvalidParameter),
            options=tuple(_checked_tmpfs(options)),
        )
        for target, options in wish.items()
    )


def _checked_tmpfs(options: str) -> Iterable[str]:
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        if equals and not re.fullmatch(_TMPFS_VALUES.get(key, "(?!)"), value, re.IGNORECASE):
            raise InvalidParameter(f'invalid tmpfs option ["{key}" "{value}"]')
        if not equals and key not in _TMPFS_FLAGS:
            raise InvalidParameter(f'invalid tmpfs option ["{key}"]')
        yield option
