"""The capabilities of Linux by number and name, and the sets of a process.

Source: capabilities(7), include/uapi/linux/capability.h of Linux 6.12.
"""

from pathlib import Path

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""Each name at the index that is its number."""


def names_of(mask: int) -> frozenset[str]:
    """The capabilities of a bit mask. A bit newer than this table is left out: nobody can ask for it."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def mask_of(status: str, field: str) -> int:
    """A set of a process (CapBnd, CapEff, ...) from the text of its `/proc/PID/status`.

    Raises: KeyError when the text has no such line.
    """
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1], 16)
    raise KeyError(field)


def bounding_capabilities(status: Path = Path("/proc/self/status")) -> frozenset[str]:
    """What this process and all its children can ever have. Source: proc_pid_status(5), CapBnd."""
    return names_of(mask_of(status.read_text(), "CapBnd"))
