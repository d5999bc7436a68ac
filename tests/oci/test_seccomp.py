import errno
import json

import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.oci.defaults import DEFAULT_CAPABILITIES
from lighterman.oci.seccomp import default_profile, parse_profile, resolve
from lighterman.oci.spec import LinuxSeccomp, Syscall


def default_filter(*more: str, architecture: str = "amd64", kernel: tuple[int, int] = (6, 1)) -> LinuxSeccomp:
    return resolve(default_profile(), {*DEFAULT_CAPABILITIES, *more}, architecture, kernel)


def rules_for(name: str, seccomp: LinuxSeccomp) -> list[Syscall]:
    return [rule for rule in seccomp.syscalls if name in rule.names]


def allowed(name: str, seccomp: LinuxSeccomp) -> bool:
    """Whether a rule allows the call whatever its arguments are."""
    return any(rule.action == "SCMP_ACT_ALLOW" and not rule.args for rule in rules_for(name, seccomp))


def test_what_no_rule_names_fails_with_eperm() -> None:
    seccomp = default_filter()
    assert (seccomp.default_action, seccomp.default_errno_ret) == ("SCMP_ACT_ERRNO", errno.EPERM)
    for name in ("io_uring_setup", "keyctl", "userfaultfd", "kexec_load", "mount", "bpf", "unshare", "setns"):
        assert not rules_for(name, seccomp)


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "unshare"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_a_capability_brings_its_calls(capability: str, name: str) -> None:
    assert not allowed(name, default_filter())
    assert allowed(name, default_filter(capability))


def test_chroot_comes_with_the_default_capabilities_and_goes_with_them() -> None:
    assert allowed("chroot", default_filter())
    assert not rules_for("chroot", resolve(default_profile(), (), "amd64", (6, 1)))


def test_clone_may_make_no_namespace_and_clone3_is_not_there() -> None:
    clone = rules_for("clone", default_filter())
    assert [(a.index, a.value, a.value_two, a.op) for rule in clone for a in rule.args] == [
        (0, 0x7E020000, 0, "SCMP_CMP_MASKED_EQ")
    ]
    clone3 = rules_for("clone3", default_filter())
    assert [(rule.action, rule.errno_ret) for rule in clone3] == [("SCMP_ACT_ERRNO", errno.ENOSYS)]


def test_s390_has_the_flags_of_clone_in_its_second_argument() -> None:
    clone = rules_for("clone", default_filter(architecture="s390x"))
    assert [arg.index for rule in clone for arg in rule.args] == [1]


def test_sockets_to_the_hypervisor_and_the_kernels_crypto_are_refused() -> None:
    conditions = [(a.op, a.value) for rule in rules_for("socket", default_filter()) for a in rule.args]
    compare = {"SCMP_CMP_LT": int.__lt__, "SCMP_CMP_EQ": int.__eq__, "SCMP_CMP_GT": int.__gt__}
    refused = [
        family for family in range(46) if not any(compare[op](family, value) for op, value in conditions)
    ]
    assert refused == [38, 40]  # AF_ALG, AF_VSOCK


def test_ptrace_is_allowed_where_the_kernel_checks_the_traced_call_again() -> None:
    assert allowed("ptrace", default_filter(kernel=(4, 8)))
    assert not allowed("ptrace", default_filter(kernel=(4, 7)))
    assert allowed("ptrace", default_filter("CAP_SYS_PTRACE", kernel=(4, 7)))


@pytest.mark.parametrize(
    ("architecture", "filtered", "own_call"),
    [
        ("amd64", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"), "arch_prctl"),
        ("arm64", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"), "set_tls"),
        ("s390x", ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"), "s390_pci_mmio_read"),
        ("riscv64", ("SCMP_ARCH_RISCV64",), "riscv_flush_icache"),
        ("ppc64le", (), "swapcontext"),
        ("loong64", ("SCMP_ARCH_LOONGARCH64",), "read"),
    ],
)
def test_a_machine_has_its_calls_and_those_of_the_code_it_also_runs(
    architecture: str, filtered: tuple[str, ...], own_call: str
) -> None:
    seccomp = default_filter(architecture=architecture)
    assert seccomp.architectures == filtered
    assert allowed(own_call, seccomp)
    assert allowed("arch_prctl", seccomp) == (architecture == "amd64")


def test_a_profile_of_a_client_is_read_with_keys_in_any_case() -> None:
    text = """{"DefaultAction": "SCMP_ACT_ALLOW", "ARCHITECTURES": ["SCMP_ARCH_X86_64"], "flags": null,
        "syscalls": [{"Name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": null,
                      "comment": "unknown keys are passed over"}]}"""
    profile = parse_profile(text)
    assert profile is not None
    assert resolve(profile, (), "amd64", (6, 1)) == LinuxSeccomp(
        default_action="SCMP_ACT_ALLOW",
        architectures=("SCMP_ARCH_X86_64",),
        syscalls=(Syscall(names=("chmod",), action="SCMP_ACT_ERRNO", errno_ret=13),),
    )


CONDITIONS = [
    ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, {"CAP_A"}, False),
    ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, {"CAP_A", "CAP_B"}, True),
    ({"excludes": {"caps": ["CAP_A", "CAP_B"]}}, {"CAP_A"}, False),
    ({"excludes": {"caps": ["CAP_A", "CAP_B"]}}, set(), True),
    ({"includes": {"arches": ["amd64"]}}, set(), True),
    ({"includes": {"arches": ["arm64"]}}, set(), False),
    ({"excludes": {"arches": ["amd64"]}}, set(), False),
    ({"includes": {"minKernel": "6.1"}}, set(), True),
    ({"includes": {"minKernel": "6.10"}}, set(), False),
    ({"excludes": {"minKernel": "6.1"}}, set(), False),
    ({"excludes": {"minKernel": "6.2"}}, set(), True),
    ({"includes": {"minKernel": ""}}, set(), True),
    ({"includes": {}, "excludes": {}}, set(), True),
    ({"includes": {"arches": ["amd64"], "caps": ["CAP_A"]}}, set(), False),
]


@pytest.mark.parametrize(("conditions", "capabilities", "kept"), CONDITIONS)
def test_a_rule_is_kept_when_all_includes_hold_and_no_exclude_does(
    conditions: dict[str, object], capabilities: set[str], kept: bool
) -> None:
    rule = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", **conditions}
    profile = parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    assert profile is not None
    assert bool(resolve(profile, capabilities, "amd64", (6, 1)).syscalls) == kept


@pytest.mark.parametrize("text", ["{}", '{"syscalls": []}', '{"architectures": ["SCMP_ARCH_X86"]}'])
def test_a_profile_that_names_no_action_and_no_call_filters_nothing(text: str) -> None:
    assert parse_profile(text) is None


def profile_with(**rule: object) -> str:
    rule = {"names": ["chown"], "action": "SCMP_ACT_ERRNO", **rule}
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})


REFUSALS = [
    ('{"defaultAction": "SCMP_ACT_FOO"}', "string SCMP_ACT_FOO is not a valid action for seccomp"),
    (
        '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG"}]}',
        "string  is not a valid action for seccomp",
    ),
    (profile_with(action="FOO"), "string FOO is not a valid action for seccomp"),
    (
        profile_with(args=[{"index": 0, "value": 1, "op": "XX"}]),
        "string XX is not a valid operator for seccomp",
    ),
    (
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["FOO"]}',
        "string FOO is not a valid arch for seccomp",
    ),
    (
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],'
        ' "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}',
        "'architectures' and 'archMap' were specified in the seccomp profile, "
        "use either 'architectures' or 'archMap'",
    ),
    (
        profile_with(name="chmod"),
        "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'",
    ),
    ("xx", "Decoding seccomp profile failed: invalid character 'x' looking for beginning of value"),
    ("", "Decoding seccomp profile failed: unexpected end of JSON input"),
    (
        profile_with(includes={"minKernel": "4"}),
        'Decoding seccomp profile failed: invalid kernel version: "4", expected "<kernel>.<major>"',
    ),
]


@pytest.mark.parametrize(("text", "refusal"), REFUSALS)
def test_a_wrong_profile_is_refused_in_dockers_words(text: str, refusal: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_profile(text)
    assert str(refused.value) == refusal


@pytest.mark.parametrize("text", ["{", "[]", '{"defaultAction": 5}', '{"syscalls": [{"names": "a"}]}'])
def test_what_is_no_profile_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^Decoding seccomp profile failed: "):
        parse_profile(text)
