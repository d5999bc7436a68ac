"""A plugin as the OCI runtime wants to hear of it. Pure, but for the devices of the host that are looked at.

Source: InitSpec of moby 20.10. It is a container with Docker's defaults, without a filter of system calls.
"""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from lighterman.apitypes.plugin import PluginMount
from lighterman.errdefs import InvalidParameter
from lighterman.linux.cgroup import cgroup_path
from lighterman.linux.host import Host
from lighterman.oci import spec as oci
from lighterman.oci.capabilities import effective, process_capabilities
from lighterman.oci.defaults import (
    DEFAULT_PATH,
    DEFAULT_SHM_BYTES,
    MASKED_PATHS,
    READONLY_PATHS,
    default_device_rules,
    default_mounts,
    masked_paths,
)
from lighterman.oci.devices import mapped_devices
from lighterman.plugins.row import PluginRow

SOCKETS = "/run/docker/plugins"
"""Where a plugin makes its socket, as it sees it."""


class Places(Struct, frozen=True):
    """Of one plugin on the host."""

    root: Path  # the merged root file system
    sockets: Path  # what is /run/docker/plugins inside
    propagated: Path  # what its PropagatedMount is on the host


def plugin_spec(row: PluginRow, places: Places, host: Host, *, cgroup_parent: str) -> oci.Spec:
    """The whole `config.json`. Raises: InvalidParameter: a mount without source, a device that is none."""
    config = row.config
    devices = [mapped_devices(device.path or "", device.path or "", "rwm") for device in row.settings.devices]
    bounding = effective(config.linux.capabilities, None, False, host.bounding_caps)
    return oci.Spec(
        oci_version=oci.OCI_VERSION,
        process=oci.Process(
            user=oci.User(uid=config.user.uid, gid=config.user.gid),
            args=(*(config.entrypoint or ()), *row.settings.args),
            env=(f"PATH={DEFAULT_PATH}", *row.settings.env),
            cwd=config.work_dir or "/",
            capabilities=process_capabilities(bounding, config.user.uid),
        ),
        root=oci.Root(path=str(places.root)),
        hostname=row.id[:12],
        mounts=tuple(_mounts(row, places)),
        linux=oci.Linux(
            resources=oci.Resources(
                devices=(
                    *default_device_rules(privileged=config.linux.allow_all_devices),
                    *(rule for _, rules in devices for rule in rules),
                )
            ),
            cgroups_path=cgroup_path(row.id, cgroup_parent),
            namespaces=tuple(_namespaces(row)),
            devices=tuple(device for found, _ in devices for device in found),
            rootfs_propagation="rshared" if config.propagated_mount else "",
            masked_paths=masked_paths(MASKED_PATHS, host.thermal_paths),
            readonly_paths=READONLY_PATHS,
        ),
    )


def _mounts(row: PluginRow, places: Places) -> Iterable[oci.Mount]:
    config = row.config
    own = {mount.destination for mount in row.settings.mounts}
    for usual in default_mounts(shm_bytes=DEFAULT_SHM_BYTES, privileged=False, readonly_rootfs=False):
        if not (usual.destination.startswith("/dev/") and usual.destination in own):
            yield usual
    if config.propagated_mount:
        yield _bind(str(places.propagated), config.propagated_mount, "rbind", "rw", "rshared")
    for mount in row.settings.mounts:
        yield _wished(mount)
    yield _bind(str(places.sockets), SOCKETS, "rbind", "rshared")
    if config.network.type:
        for path in ("/etc/hosts", "/etc/resolv.conf"):
            yield _bind(path, path, "rbind", "ro")


def _wished(mount: PluginMount) -> oci.Mount:
    if mount.source is None:
        raise InvalidParameter("mount source is not specified")
    return oci.Mount(
        destination=mount.destination,
        type=mount.type,
        source=mount.source,
        options=tuple(mount.options or ()),
    )


def _bind(source: str, target: str, *options: str) -> oci.Mount:
    return oci.Mount(destination=target, type="bind", source=source, options=options)


def _namespaces(row: PluginRow) -> Iterable[oci.Namespace]:
    yield oci.Namespace(type="mount")
    yield oci.Namespace(type="uts")
    if row.config.network.type != "host":
        yield oci.Namespace(type="network")
    if not row.config.pid_host:
        yield oci.Namespace(type="pid")
    if not row.config.ipc_host:
        yield oci.Namespace(type="ipc")
