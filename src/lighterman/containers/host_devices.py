"""The devices of the host that a container asks for, looked at. Blocks for microseconds: for a thread."""

import os
from collections.abc import Iterable

from lighterman.apitypes.container import HostConfig, Resources, ThrottleDevice
from lighterman.errdefs import InvalidParameter
from lighterman.oci import spec as oci
from lighterman.oci.devices import mapped_devices, privileged_devices


def find_devices(wish: HostConfig) -> tuple[tuple[oci.Device, ...], tuple[oci.DeviceRule, ...]]:
    """The nodes and rules of `Devices`, or all nodes for a privileged container.

    Raises: InvalidParameter in Docker's words for what is not there.
    """
    mapped = [
        mapped_devices(device.path_on_host, device.path_in_container, device.cgroup_permissions)
        for device in wish.devices or ()
    ]
    own = tuple(device for devices, _ in mapped for device in devices)
    if not wish.privileged:
        return own, tuple(rule for _, rules in mapped for rule in rules)
    taken = {device.path for device in own}
    return (*own, *(device for device in privileged_devices() if device.path not in taken)), ()


def find_block_io(wish: Resources) -> oci.BlockIO | None:
    """The limits of block devices by their numbers. Raises: InvalidParameter for what is not there."""
    block_io = oci.BlockIO(
        weight=wish.blkio_weight or None,
        weight_device=tuple(
            oci.WeightDevice(major=major, minor=minor, weight=device.weight)
            for device in wish.blkio_weight_device or ()
            for major, minor in (device_numbers(device.path),)
        ),
        throttle_read_bps_device=_throttled(wish.blkio_device_read_bps),
        throttle_write_bps_device=_throttled(wish.blkio_device_write_bps),
        throttle_read_iops_device=_throttled(wish.blkio_device_read_iops),
        throttle_write_iops_device=_throttled(wish.blkio_device_write_iops),
    )
    return None if block_io == oci.BlockIO() else block_io


def _throttled(wishes: Iterable[ThrottleDevice] | None) -> tuple[oci.ThrottleDevice, ...]:
    return tuple(
        oci.ThrottleDevice(major=major, minor=minor, rate=wish.rate)
        for wish in wishes or ()
        for major, minor in (device_numbers(wish.path),)
    )


def device_numbers(path: str) -> tuple[int, int]:
    """(major, minor) of a device file. Raises: InvalidParameter when there is none."""
    try:
        device = os.stat(path).st_rdev
    except OSError as error:
        raise InvalidParameter(f"stat {path}: {os.strerror(error.errno or 0).lower()}") from error
    return os.major(device), os.minor(device)
