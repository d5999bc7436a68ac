"""Seccomp profiles: rules with conditions, and the filter that becomes of them for one container.

A *profile* is Docker's JSON (or our default): its rules may depend on capabilities, architecture and kernel.
`resolve` decides those conditions and gives the *filter* that `config.json` holds; it is pure, so its result
can be a key for compiled filters. Options ("seccomp=unconfined") are read in the room of the containers.

Source: the seccomp part of the OCI specification; moby/profiles for the conditions; refusals measured on
dockerd 20.10.24 (which said them at start, with status 500) and runc 1.1.5.
"""

import errno
import re
from collections.abc import Collection
from functools import cache

import msgspec

from lighterman.errdefs import InvalidParameter
from lighterman.oci import default_filter as table
from lighterman.oci.spec import LinuxSeccomp, Syscall, SyscallArg

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
ACTIONS = frozenset(
    f"SCMP_ACT_{name}"
    for name in ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP")
)
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"))
ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        *(
            "AARCH64",
            "ARM",
            "LOONGARCH64",
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "MIPSEL",
            "MIPSEL64",
            "MIPSEL64N32",
        ),
        *("PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "X32", "X86", "X86_64"),
    )
)
NATIVE = {
    "386": ("x86", "X86"),
    "amd64": ("amd64", "X86_64"),
    "arm": ("arm", "ARM"),
    "arm64": ("arm64", "AARCH64"),
    "loong64": ("loongarch64", "LOONGARCH64"),
    "mips64": ("mips64", "MIPS64"),
    "mips64le": ("mipsel64", "MIPSEL64"),
    "ppc64le": ("ppc64le", "PPC64LE"),
    "riscv64": ("riscv64", "RISCV64"),
    "s390x": ("s390x", "S390X"),
}
"""Go's name of an architecture -> libseccomp's (in conditions) and the specification's (SCMP_ARCH_...)."""


class Lower(msgspec.Struct, rename=lambda name: name.replace("_", ""), frozen=True, kw_only=True):
    """Keys in lower case: Go matches them in any, and a rule lost by its spelling would open a hole."""


class Condition(Lower, frozen=True, kw_only=True):
    """When a rule counts: each part that is given must hold."""

    caps: tuple[str, ...] | None = None
    arches: tuple[str, ...] | None = None
    min_kernel: str | None = None
    """ "4.8": this kernel or a newer one."""


class Argument(Lower, frozen=True, kw_only=True):
    index: int = 0
    value: int = 0
    value_two: int = 0
    op: str = ""


class Rule(Lower, frozen=True, kw_only=True):
    """An action for some calls. `name` is an older spelling of `names` with one entry."""

    names: tuple[str, ...] | None = None
    name: str | None = None
    action: str = ""
    errno_ret: int | None = None
    args: tuple[Argument, ...] | None = None
    includes: Condition | None = None
    excludes: Condition | None = None


class ArchitectureMap(Lower, frozen=True, kw_only=True):
    architecture: str = ""
    sub_architectures: tuple[str, ...] | None = None


class Profile(Lower, frozen=True, kw_only=True):
    """A profile as its JSON says it, checked."""

    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] | None = None
    arch_map: tuple[ArchitectureMap, ...] | None = None
    flags: tuple[str, ...] | None = None
    listener_path: str | None = None
    listener_metadata: str | None = None
    syscalls: tuple[Rule, ...] | None = None


def parse_profile(text: str) -> Profile | None:
    """The profile that a client sent; None when it is one that filters nothing (`{}`).

    Raises: InvalidParameter in Docker's words, and in runc's for what dockerd would leave to it.
    """
    try:
        profile = msgspec.convert(_lower_keys(msgspec.json.decode(text)), Profile)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {_told(text, error)}") from error
    if not profile.default_action and not profile.syscalls:
        return None
    _check(profile)
    return profile


def resolve(
    profile: Profile, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> LinuxSeccomp:
    """The filter for a container with this bounding set, on this machine.

    `architecture` is Go's name ("amd64"), `kernel` is (major, minor).
    """
    native, own = NATIVE.get(architecture, (architecture, architecture.upper()))
    rules = [
        rule
        for rule in profile.syscalls or ()
        if not (rule.excludes and _any_holds(rule.excludes, capabilities, native, kernel))
        and (rule.includes is None or _all_hold(rule.includes, capabilities, native, kernel))
    ]
    return LinuxSeccomp(
        default_action=profile.default_action,
        default_errno_ret=profile.default_errno_ret,
        architectures=profile.architectures or _mapped(profile, f"SCMP_ARCH_{own}"),
        flags=profile.flags or (),
        listener_path=profile.listener_path or "",
        listener_metadata=profile.listener_metadata or "",
        syscalls=tuple(_syscall(rule) for rule in rules),
    )


@cache
def default_profile() -> Profile:
    """The profile of containers that ask for none, made of the tables in `oci.default_filter`."""
    no_admin = Condition(caps=("CAP_SYS_ADMIN",))
    s390 = ("s390", "s390x")
    return Profile(
        default_action=ERRNO,
        default_errno_ret=errno.EPERM,
        arch_map=tuple(
            ArchitectureMap(
                architecture=f"SCMP_ARCH_{arch}",
                sub_architectures=tuple(f"SCMP_ARCH_{sub}" for sub in subs),
            )
            for arch, subs in table.SUB_ARCHITECTURES.items()
        ),
        syscalls=(
            _allow(table.ALWAYS),
            *(
                _allow(names, includes=Condition(min_kernel=f"{major}.{minor}"))
                for (major, minor), names in table.BY_KERNEL.items()
            ),
            _allow("socket", args=(Argument(index=0, value=table.AF_ALG, op="SCMP_CMP_LT"),)),
            _allow("socket", args=(Argument(index=0, value=table.AF_ALG + 1, op="SCMP_CMP_EQ"),)),
            _allow("socket", args=(Argument(index=0, value=table.AF_VSOCK, op="SCMP_CMP_GT"),)),
            *(
                _allow("personality", args=(Argument(index=0, value=value, op="SCMP_CMP_EQ"),))
                for value in table.PERSONALITIES
            ),
            *(
                _allow(names, includes=Condition(arches=arches))
                for arches, names in table.BY_ARCHITECTURE.items()
            ),
            *(
                _allow(names, includes=Condition(caps=(capability,)))
                for capability, names in table.BY_CAPABILITY.items()
            ),
            _allow("clone", args=(_no_namespaces(0),), excludes=Condition(caps=no_admin.caps, arches=s390)),
            # s390 has the arguments of clone the other way round.
            _allow("clone", args=(_no_namespaces(1),), includes=Condition(arches=s390), excludes=no_admin),
            # The flags of clone3 lie behind a pointer that no filter can follow; at ENOSYS libc uses clone.
            Rule(names=("clone3",), action=ERRNO, errno_ret=errno.ENOSYS, excludes=no_admin),
        ),
    )


def _allow(
    names: str,
    *,
    args: tuple[Argument, ...] = (),
    includes: Condition | None = None,
    excludes: Condition | None = None,
) -> Rule:
    return Rule(names=tuple(names.split()), action=ALLOW, args=args, includes=includes, excludes=excludes)


def _no_namespaces(index: int) -> Argument:
    return Argument(index=index, value=table.CLONE_NAMESPACES, value_two=0, op="SCMP_CMP_MASKED_EQ")


def _syscall(rule: Rule) -> Syscall:
    return Syscall(
        names=rule.names or ((rule.name,) if rule.name else ()),
        action=rule.action,
        errno_ret=rule.errno_ret,
        args=tuple(
            SyscallArg(index=arg.index, value=arg.value, value_two=arg.value_two, op=arg.op)
            for arg in rule.args or ()
        ),
    )


def _mapped(profile: Profile, own: str) -> tuple[str, ...]:
    for entry in profile.arch_map or ():
        if entry.architecture == own:
            return (own, *(entry.sub_architectures or ()))
    return ()


def _any_holds(
    condition: Condition, capabilities: Collection[str], native: str, kernel: tuple[int, int]
) -> bool:
    return (
        native in (condition.arches or ())
        or any(name in capabilities for name in condition.caps or ())
        or (bool(condition.min_kernel) and kernel >= _version(condition.min_kernel or ""))
    )


def _all_hold(
    condition: Condition, capabilities: Collection[str], native: str, kernel: tuple[int, int]
) -> bool:
    return (
        (not condition.arches or native in condition.arches)
        and all(name in capabilities for name in condition.caps or ())
        and (not condition.min_kernel or kernel >= _version(condition.min_kernel))
    )


def _check(profile: Profile) -> None:
    """Raise InvalidParameter for what a runtime would refuse when the container starts."""
    if profile.architectures and profile.arch_map:
        raise InvalidParameter(
            "'architectures' and 'archMap' were specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    _one_of(ACTIONS, "action", profile.default_action)
    for architecture in profile.architectures or ():
        _one_of(ARCHITECTURES, "arch", architecture)
    for entry in profile.arch_map or ():
        for architecture in (entry.architecture, *(entry.sub_architectures or ())):
            _one_of(ARCHITECTURES, "arch", architecture)
    for rule in profile.syscalls or ():
        if rule.name and rule.names:
            raise InvalidParameter(
                "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'"
            )
        _one_of(ACTIONS, "action", rule.action)
        for arg in rule.args or ():
            _one_of(OPERATORS, "operator", arg.op)
        for condition in (rule.includes, rule.excludes):
            if condition and condition.min_kernel:
                _version(condition.min_kernel)


def _one_of(known: frozenset[str], kind: str, word: str) -> None:
    if word not in known:
        raise InvalidParameter(f"string {word} is not a valid {kind} for seccomp")


def _version(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    if not numbers or text == "0.0":
        raise InvalidParameter(
            f'Decoding seccomp profile failed: invalid kernel version: "{text}", expected "<kernel>.<major>"'
        )
    return int(numbers[1]), int(numbers[2])


def _told(text: str, error: msgspec.MsgspecError) -> str:
    """What is wrong, in Go's words where a file name or nothing came in place of JSON: the usual mistakes."""
    first = text.lstrip(" \t\r\n")[:1]
    if not first:
        return "unexpected end of JSON input"
    if first not in '{["-0123456789tfn':
        return f"invalid character '{first}' looking for beginning of value"
    return str(error)


def _lower_keys(value: object) -> object:
    if isinstance(value, dict):
        return {str(key).lower(): _lower_keys(inner) for key, inner in value.items()}
    return [_lower_keys(inner) for inner in value] if isinstance(value, list) else value
