"""The AppArmor profile of containers that ask for none: its name and its text. Pure.

It allows what namespaces, capabilities and seccomp already govern, and denies what reaches the host through
/proc and /sys, and mounting. Source: docker-default of dockerd 20.10.24, rule for rule.
"""

DEFAULT_PROFILE = "docker-default"

_TEXT = """\
#include <tunables/global>

profile {name} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,

  # from the host, from the engine, and among themselves
  signal (receive) peer=unconfined,
  signal (send,receive) peer={name},
  ptrace (trace,read,tracedby,readby) peer={name},

  deny mount,

  # of /proc only the processes' own files and /proc/sys/kernel/shm* are for writing
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  # of /sys only /sys/fs/cgroup
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


def default_profile(name: str = DEFAULT_PROFILE) -> str:
    """The text that apparmor_parser takes."""
    return _TEXT.format(name=name)
