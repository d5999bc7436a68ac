"""What OCI runtimes say, and what Docker's clients must hear. Measured with crun 1.8.1 and runc 1.1.5."""

import pytest

from lighterman.errdefs import InvalidParameter, System
from lighterman.runtime.start_errors import last_error, start_failed

RUN = "failed to create shim task: OCI runtime create failed: runc create failed: "
START = RUN + "unable to start container process: "
INIT = START + "error during container init: "
CRUN_MISSING = "executable file `x` not found in $PATH: No such file or directory"
MISSING = START + 'exec: "x": executable file not found in $PATH'
RLIMIT = "error setting rlimits for ready process: error setting rlimit type 7: operation not permitted"
NO_NAMESPACE = 'sysctl "k" is not in a separate kernel namespace'
TEXTS = [
    (CRUN_MISSING, 127, MISSING),
    ("the memory limit could be too low: " + CRUN_MISSING, 127, MISSING),
    (MISSING.removeprefix("failed to create shim task: OCI runtime create failed: "), 127, MISSING),
    ("open executable: Operation not permitted", 126, START + 'exec: "x": permission denied'),
    ("open executable: Permission denied", 126, START + 'exec: "x": permission denied'),
    ("chdir `/etc/passwd`: Not a directory", 128, INIT + "mkdir /etc/passwd: not a directory"),
    ("setrlimit `RLIMIT_NOFILE`: Operation not permitted", 128, INIT + RLIMIT),
    ("capset: Operation not permitted", 128, START + "unable to apply caps: operation not permitted"),
    (
        "error stat'ing file `/no`: No such file or directory",
        128,
        INIT + 'error mounting "/no" to rootfs: stat /no: no such file or directory',
    ),
    ("the sysctl `k` is not namespaced", 128, RUN + NO_NAMESPACE),
    ("runc create failed: " + NO_NAMESPACE, 128, RUN + NO_NAMESPACE),
    ("something new", 128, START + "something new"),
]
REFUSED = [
    (
        "open /proc/sys/net/ipv4/foo: No such file or directory",
        "open /proc/sys/net/ipv4/foo: no such file or directory",
    ),
    (
        "write to /proc/sys/net/ipv4/ip_forward: Invalid argument",
        "write /proc/sys/net/ipv4/ip_forward: invalid argument",
    ),
    ("mount `tmpfs` to `t`: Invalid argument", 'error mounting "tmpfs" to rootfs at "/t": invalid argument'),
]


@pytest.mark.parametrize(("said", "code", "heard"), TEXTS)
def test_a_failed_start_is_told_in_runc_s_words(said: str, code: int, heard: str) -> None:
    failed = start_failed(said, ["x"], exec=False)
    assert (failed.message, failed.exit_code) == (heard + ": unknown", code)
    assert isinstance(failed, System if code == 128 else InvalidParameter)


@pytest.mark.parametrize(("said", "heard"), REFUSED)
def test_what_the_kernel_does_not_take_is_the_clients_mistake(said: str, heard: str) -> None:
    failed = start_failed(said, ["x"], exec=False)
    assert (failed.message, failed.exit_code) == (f"{INIT}{heard}: unknown", 128)
    assert isinstance(failed, InvalidParameter)


def test_a_runtime_that_is_not_there_is_told_by_its_program() -> None:
    failed = start_failed("[Errno 2] No such file or directory: '/usr/bin/vm'", ["ls"], exec=False)
    assert failed.message.endswith("create failed: fork/exec /usr/bin/vm: no such file or directory: unknown")


def test_a_missing_path_is_told_by_stat() -> None:
    failed = start_failed(
        "executable file `/no` not found in $PATH: No such file or directory", ["/no"], exec=False
    )
    assert failed.message == START + 'exec: "/no": stat /no: no such file or directory: unknown'


def test_an_exec_has_a_prefix_of_its_own() -> None:
    failed = start_failed(
        "executable file `x` not found in $PATH: No such file or directory", ["x"], exec=True
    )
    assert failed.message == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'exec: "x": executable file not found in $PATH: unknown'
    )


def test_an_exec_that_cannot_go_where_it_is_to_run_says_so() -> None:
    failed = start_failed("chdir `/no`: No such file or directory", ["x"], exec=True)
    assert failed.message == (
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'chdir to cwd ("/no") set in config.json failed: no such file or directory: unknown'
    )


def test_the_last_error_of_a_log_counts() -> None:
    log = b'{"msg":"a","level":"error"}\n{"msg":"b","level":"error"}\n{"msg":"c","level":"warning"}\nnoise\n'
    assert last_error(log) == "b"
    assert last_error(b"") == ""
