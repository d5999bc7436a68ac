"""SecurityOpt: what a container may be refused or allowed beyond its capabilities. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from lighterman.errdefs import InvalidParameter
from lighterman.linux.host import Features
from lighterman.oci.apparmor import DEFAULT_PROFILE

UNCONFINED = "unconfined"


class Security(Struct, frozen=True):
    """The options, read."""

    no_new_privileges: bool = False
    seccomp: str = ""  # "": the default profile; "unconfined"; or a profile as JSON
    apparmor: str = ""
    system_paths_unconfined: bool = False  # nothing of /proc and /sys is masked or read-only


def parse_security_opt(options: Sequence[str], features: Features) -> Security:
    """The meaning of `options`. Raises InvalidParameter in Docker's words; it has none for
    labels, which it forgets where the host has no SELinux.

    Both "key=value" and the old "key:value" are read. Source: parseSecurityOpt of moby 20.10.
    """
    found: dict[str, str] = {}
    for option in options:
        if option == "no-new-privileges":
            option = "no-new-privileges=true"
        separator = "=" if "=" in option else ":"
        key, has_value, value = option.partition(separator)
        if not has_value:
            raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
        if key not in ("label", "apparmor", "seccomp", "no-new-privileges", "systempaths"):
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        if key == "no-new-privileges" and value not in _BOOLEANS:
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        if key == "systempaths" and value != UNCONFINED:
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        if key == "label" and value != "disable":
            raise InvalidParameter(f'SELinux labels cannot be set here: "{option}"')
        found[key] = value
    apparmor = found.get("apparmor", "")
    if apparmor not in ("", UNCONFINED) and not features.apparmor:
        raise InvalidParameter(f"AppArmor is not enabled on this host: cannot use profile {apparmor!r}")
    return Security(
        no_new_privileges=_BOOLEANS[found.get("no-new-privileges", "false")],
        seccomp=found.get("seccomp", ""),
        apparmor=apparmor,
        system_paths_unconfined="systempaths" in found,
    )


def apparmor_profile(security: Security, features: Features, *, privileged: bool) -> str:
    """The profile of a process: docker-default unless another was asked for; a privileged one has none."""
    if not features.apparmor:
        return ""
    return security.apparmor or (UNCONFINED if privileged else DEFAULT_PROFILE)


_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""What Go's strconv.ParseBool takes."""
