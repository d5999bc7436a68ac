"""What dockerd 20.10.24 wrote into config.json, measured, and what we add to it on purpose."""

import msgspec
import pytest

from lighterman.oci.defaults import (
    ALSO_MASKED_PATHS,
    DEFAULT_CAPABILITIES,
    DEFAULT_SHM_BYTES,
    MASKED_PATHS,
    NETWORK_SYSCTLS,
    READONLY_PATHS,
    default_device_rules,
    default_mounts,
    masked_paths,
)

MOUNTS = [
    ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
    ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
]


def test_the_mounts_are_dockerds() -> None:
    mounts = default_mounts(shm_bytes=DEFAULT_SHM_BYTES, privileged=False, readonly_rootfs=False)
    assert [(m.destination, m.type, m.source, ",".join(m.options)) for m in mounts] == MOUNTS


def options_of(destination: str, *, privileged: bool, readonly_rootfs: bool) -> set[str]:
    mounts = default_mounts(shm_bytes=None, privileged=privileged, readonly_rootfs=readonly_rootfs)
    return next(set(mount.options) for mount in mounts if mount.destination == destination)


@pytest.mark.parametrize(
    ("privileged", "readonly_rootfs", "sys_ro", "cgroup_ro"),
    [
        (False, False, True, True),
        (False, True, True, True),
        (True, False, False, False),
        (True, True, True, False),
    ],
)
def test_privileged_may_write_to_sys_and_cgroups_but_a_readonly_root_keeps_sys(
    privileged: bool, readonly_rootfs: bool, sys_ro: bool, cgroup_ro: bool
) -> None:
    assert ("ro" in options_of("/sys", privileged=privileged, readonly_rootfs=readonly_rootfs)) == sys_ro
    cgroup = options_of("/sys/fs/cgroup", privileged=privileged, readonly_rootfs=readonly_rootfs)
    assert ("ro" in cgroup) == cgroup_ro


def test_another_containers_shm_is_not_mounted_over() -> None:
    mounts = default_mounts(shm_bytes=None, privileged=False, readonly_rootfs=False)
    assert "/dev/shm" not in [mount.destination for mount in mounts]


def test_device_rules_are_dockerds() -> None:
    assert msgspec.to_builtins(default_device_rules(privileged=False)) == (
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
        {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
        {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    )
    assert msgspec.to_builtins(default_device_rules(privileged=True)) == ({"allow": True, "access": "rwm"},)


def test_the_default_masks_hide_what_newer_docker_hides_too() -> None:
    thermal = ("/sys/devices/system/cpu/cpu0/thermal_throttle",)
    assert masked_paths(list(MASKED_PATHS), thermal) == (*MASKED_PATHS, *ALSO_MASKED_PATHS, *thermal)


@pytest.mark.parametrize("wanted", [None, [], ["/proc/kcore"]])
def test_masks_that_were_asked_for_are_those(wanted: list[str] | None) -> None:
    assert masked_paths(wanted, ("/sys/x",)) == tuple(wanted or ())


def test_paths_capabilities_and_sysctls_are_dockerds() -> None:
    assert len(MASKED_PATHS) == 10
    assert READONLY_PATHS == ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
    assert len(DEFAULT_CAPABILITIES) == 14
    assert NETWORK_SYSCTLS["net.ipv4.ping_group_range"] == "0 2147483647"
