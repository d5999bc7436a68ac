"""Devices of the host in a container: HostConfig.Devices, DeviceCgroupRules and what privileged means.

Wishes become values here, but the host's nodes are looked at (lstat, walks of /dev): well under a
millisecond.
"""

import os
import re
from collections.abc import Iterable

from lighterman.errdefs import InvalidParameter
from lighterman.linux.devices import HostDevice, NotADevice, device_at, devices_below
from lighterman.oci.spec import RWM, Device, DeviceRule

HIDDEN = ("/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.lxd-mounts", "/dev/.udev")
"""Directories of /dev that a privileged container does not get the host's of: it has its own, or none."""


def mapped_devices(
    path_on_host: str, path_in_container: str, permissions: str
) -> tuple[tuple[Device, ...], tuple[DeviceRule, ...]]:
    """The nodes and rules of one entry of HostConfig.Devices. A directory gives all devices below it.

    Empty `path_in_container` is the host's path, empty `permissions` are "rwm".

    Raises: InvalidParameter in Docker's words; dockerd says them when the container starts, and takes any
    letters for permissions.
    """
    if not re.fullmatch("[rwm]{0,3}", permissions):
        raise InvalidParameter(f"invalid device mode: {permissions}")
    try:
        found = _found(path_on_host, path_in_container or path_on_host)
    except (OSError, NotADevice) as error:
        why = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else "not a device node"
        raise InvalidParameter(
            f'error gathering device information while adding custom device "{path_on_host}": {why}'
        ) from error
    access = permissions or RWM
    rules = (
        DeviceRule(allow=True, type=device.type, major=device.major, minor=device.minor, access=access)
        for device in found
    )
    return found, tuple(rules)


def privileged_devices() -> tuple[Device, ...]:
    """All device nodes of the host's /dev that a privileged container gets, by path."""
    found = devices_below("/dev", without=HIDDEN)
    return tuple(_device(device, device.path) for device in found if device.path != "/dev/console")


def parse_device_rule(text: str) -> DeviceRule:
    """A rule like "c 1:3 rwm" or "b *:* r". Raises InvalidParameter in Docker's words."""
    parts = re.fullmatch(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})", text)
    if not parts:
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = parts.groups()
    return DeviceRule(
        allow=True,
        type=kind,
        major=_number(major, "major", text),
        minor=_number(minor, "minor", text),
        access=access,
    )


def device_rules(texts: Iterable[str] | None) -> tuple[DeviceRule, ...]:
    """The rules of HostConfig.DeviceCgroupRules, in order. Raises InvalidParameter."""
    return tuple(parse_device_rule(text) for text in texts or ())


def _number(digits: str, which: str, text: str) -> int | None:
    if digits == "*":
        return None
    if int(digits) >= 1 << 63:
        raise InvalidParameter(f"invalid {which} value in device cgroup rule format: '{text}'")
    return int(digits)


def _found(path_on_host: str, path_in_container: str) -> tuple[Device, ...]:
    resolved = os.path.realpath(path_on_host) if os.path.islink(path_on_host) else path_on_host
    try:
        return (_device(device_at(resolved), path_in_container),)
    except NotADevice:
        below = devices_below(resolved) if os.path.isdir(resolved) else []
        if not below:
            raise
        return tuple(
            _device(device, path_in_container + device.path.removeprefix(resolved)) for device in below
        )


def _device(device: HostDevice, path: str) -> Device:
    return Device(
        path=path,
        type=device.type,
        major=device.major,
        minor=device.minor,
        file_mode=device.mode,
        uid=device.uid,
        gid=device.gid,
    )
