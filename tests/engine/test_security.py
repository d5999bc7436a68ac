"""The defaults that keep a container inside."""

import os
import re

import pytest
from tests.support.cli import DockerCLI

DEFAULT = "00000000a80425fb"


def status(docker: DockerCLI, *args: object) -> dict[str, str]:
    """/proc/self/status of a process in a container made with these arguments."""
    told = docker.run("--rm", *args, "busybox", "cat", "/proc/self/status")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in told.splitlines())}


def test_the_capabilities_are_dockers_fourteen(docker: DockerCLI) -> None:
    told = status(docker)
    assert {told[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {DEFAULT}
    assert {told[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}


def test_a_user_has_none_of_them(docker: DockerCLI) -> None:
    told = status(docker, "-u", "app")
    assert (told["CapEff"], told["CapPrm"], told["CapAmb"]) == ("0" * 16, "0" * 16, "0" * 16)


def test_capabilities_are_dropped_and_added_by_name(docker: DockerCLI) -> None:
    assert status(docker, "--cap-drop", "ALL")["CapEff"] == "0" * 16
    assert status(docker, "--cap-drop", "ALL", "--cap-add", "chown")["CapEff"] == "0000000000000001"
    assert status(docker, "--cap-add", "CAP_NET_ADMIN")["CapEff"] == "00000000a80435fb"


def test_the_seccomp_filter_is_on_unless_it_is_taken_off(docker: DockerCLI) -> None:
    assert status(docker)["Seccomp"] == "2"
    assert status(docker, "--security-opt", "seccomp=unconfined")["Seccomp"] == "0"


@pytest.mark.parametrize(
    "command",
    ["mount -t tmpfs none /tmp", "unshare -m true", "hostname other", "date -s 2001-01-01", "dmesg"],
)
def test_what_needs_more_is_refused(docker: DockerCLI, command: str) -> None:
    refused = docker("run", "--rm", "busybox", *command.split(), check=False)
    assert re.search("not permitted|denied", refused.stderr), refused


def test_new_privileges_are_refused_when_asked(docker: DockerCLI) -> None:
    assert status(docker)["NoNewPrivs"] == "0"
    assert status(docker, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"


def test_masked_paths_show_nothing(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    masked = docker.inspect(cid)["HostConfig"]["MaskedPaths"]
    assert {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"} <= set(masked)
    script = (
        'for path; do if [ -d "$path" ]; then ls -A "$path"; elif [ -e "$path" ]; then cat "$path"; fi; done'
    )
    assert docker.out("exec", cid, "sh", "-c", script, "-", *masked) == ""


def test_what_steers_the_kernel_is_read_only(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    closed = docker.inspect(cid)["HostConfig"]["ReadonlyPaths"]
    assert set(closed) == {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
    mounts = [line.split() for line in docker.out("exec", cid, "cat", "/proc/mounts").splitlines()]
    options = {point: options.split(",") for _, point, _, options, *_ in mounts}
    there = docker.out("exec", cid, "sh", "-c", f"ls -d {' '.join(closed)} 2>/dev/null || true").split()
    assert all("ro" in options[path] for path in ("/sys", *there))
    refused = docker("exec", cid, "sh", "-c", "echo x > /proc/sys/kernel/hostname", check=False)
    assert (refused.code, "Read-only file system" in refused.stderr) == (1, True)


def test_only_the_three_streams_are_open(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    assert docker.out("exec", cid, "ls", "/proc/1/fd").split() == ["0", "1", "2"]
    assert docker.out("exec", "-d", cid, "sleep", "4711") == ""
    find = "grep -l 4711 /proc/[0-9]*/cmdline | cut -d/ -f3 | head -1"
    assert docker.out("exec", cid, "sh", "-c", f"ls /proc/$({find})/fd").split() == ["0", "1", "2"]


def test_devices_other_than_the_usual_are_refused(docker: DockerCLI) -> None:
    script = "mknod /disk b 254 0; mknod /mem c 1 1; cat /disk; cat /mem; head -c1 /dev/zero | wc -c"
    done = docker("run", "--rm", "busybox", "sh", "-c", script)
    assert done.stderr.splitlines() == [
        "cat: can't open '/disk': Operation not permitted",
        "cat: can't open '/mem': Operation not permitted",
    ]
    assert done.stdout.strip() == "1"


def test_the_devices_are_dockers(docker: DockerCLI) -> None:
    told = [name for name in docker.run("--rm", "busybox", "ls", "/dev").split() if name != "core"]
    assert told == [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
        "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ]  # fmt: skip


def test_a_container_sees_its_own_processes_only(docker: DockerCLI) -> None:
    assert docker.run("--rm", "busybox", "sh", "-c", "echo $$; ls -d /proc/[0-9]*").split()[:2] == [
        "1",
        "/proc/1",
    ]
    assert docker.run("--rm", "busybox", "readlink", "/proc/1/exe") == "/bin/busybox"


def test_the_root_file_system_is_read_only_when_asked(docker: DockerCLI) -> None:
    refused = docker("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False)
    assert (refused.code, "Read-only file system" in refused.stderr) == (1, True)


def test_the_data_root_is_closed_to_others(docker: DockerCLI) -> None:
    info = docker.out("info", "--format", "{{.DockerRootDir}}")
    assert info.startswith("/tmp/")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_no_process_gets_hold_of_the_hosts_null_device(docker: DockerCLI, verb: str) -> None:
    mark = ("sh", "-c", "chmod 667 /proc/self/fd/0 && test -c /proc/self/fd/0 && echo marked")
    before = os.stat("/dev/null")
    if verb == "run":
        assert docker.run("--rm", "-u", "1234:1234", "busybox", *mark) == "marked"
    else:
        cid = docker.run("-d", "busybox", "sleep", "600")
        assert docker.out("exec", "-u", "1234:1234", cid, *mark) == "marked"
        assert docker.out("exec", cid, *mark) == "marked"
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
