"""What every container has when nothing else is asked: mounts, devices, masks, capabilities, sysctls.

Constants and pure functions of the choices that change them (privileged, read-only root, size of /dev/shm).
Values measured from the `config.json` that dockerd 20.10.24 makes; where newer Docker closes a hole we follow
it, and say so.
"""

from collections.abc import Iterable

from lighterman.oci.spec import RWM, DeviceRule, Mount

DEFAULT_SHM_BYTES = 64 << 20
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of an image that sets none."""

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
"""As a client sees them in HostConfig.MaskedPaths; dockerd 20.10's list, in its order."""

ALSO_MASKED_PATHS = ("/proc/interrupts", "/sys/devices/virtual/powercap")
"""Side channels that newer Docker hides too (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p)."""

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
"""For a network namespace of the container's own: ports below 1024 and ping for all users."""


def masked_paths(shown: Iterable[str] | None, thermal_paths: tuple[str, ...]) -> tuple[str, ...]:
    """What the runtime hides, of what HostConfig.MaskedPaths shows: the default means what is new as well.

    None and () hide nothing. `thermal_paths` are Host.thermal_paths. Runtimes pass over what is not there.
    """
    wanted = tuple(shown or ())
    return (*MASKED_PATHS, *ALSO_MASKED_PATHS, *thermal_paths) if wanted == MASKED_PATHS else wanted


def default_mounts(*, shm_bytes: int | None, privileged: bool, readonly_rootfs: bool) -> tuple[Mount, ...]:
    """The mounts of every container, in order.

    `shm_bytes` None leaves /dev/shm out: with some IpcModes it is another's. A privileged container may
    write to its cgroups, and to /sys unless its root is read-only.
    """
    sys_ro = () if privileged and not readonly_rootfs else ("ro",)
    cgroup_ro = () if privileged else ("ro",)
    mounts = [
        _mount("/proc", "proc", "proc", *QUIET),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *TERMINALS),
        _mount("/sys", "sysfs", "sysfs", *QUIET, *sys_ro),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *cgroup_ro, *QUIET),
        _mount("/dev/mqueue", "mqueue", "mqueue", *QUIET),
    ]
    if shm_bytes is not None:
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", *QUIET, "mode=1777", f"size={shm_bytes}"))
    return tuple(mounts)


def default_device_rules(*, privileged: bool) -> tuple[DeviceRule, ...]:
    """The device cgroup: nothing but zero, null, urandom, random, tty and console; privileged is everything.

    The runtimes themselves add mknod of all, the pseudo terminals and ptmx. /dev/fuse is refused by name,
    as dockerd does, so that a runtime's own default cannot let it in.
    """
    if privileged:
        return (DeviceRule(allow=True, access=RWM),)
    return (
        DeviceRule(allow=False, access=RWM),
        *(
            DeviceRule(allow=True, type="c", major=major, minor=minor, access=RWM)
            for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
        ),
        DeviceRule(allow=False, type="c", major=10, minor=229, access=RWM),
    )


QUIET = ("nosuid", "noexec", "nodev")
TERMINALS = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")


def _mount(destination: str, kind: str, source: str, *options: str) -> Mount:
    return Mount(destination=destination, type=kind, source=source, options=options)
