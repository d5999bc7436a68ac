"""`lighterman check`: the verdict as a rule, the probes for real, and that nothing of them stays."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.daemon import check
from lighterman.daemon.check import Finding, State, can_run
from lighterman.linux.host import Host, probe_host
from lighterman.linux.mountinfo import read_mountinfo
from lighterman.linux.netlink import Netlink

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the probes need root")

HAVE = Finding("Kernel", "root", State.OK, "")
LACK = Finding("Storage", "overlay", State.MISSING, "")
LESS = Finding("Kernel", "seccomp", State.LIMITED, "")
CRUN, NO_CRUN = (Finding("Runtimes", "crun", state, "", needed=False) for state in (State.OK, State.MISSING))
RUNC = Finding("Runtimes", "runc", State.LIMITED, "", needed=False)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([HAVE, CRUN], True),
        ([HAVE, NO_CRUN, RUNC], True),
        ([HAVE, LESS, CRUN], True),
        ([HAVE, NO_CRUN], False),
        ([HAVE], False),
        ([HAVE, CRUN, LACK], False),
    ],
)
def test_an_engine_can_run_with_all_that_is_needed_and_one_runtime(
    findings: list[Finding], verdict: bool
) -> None:
    assert can_run(findings) == verdict


@pytest.fixture(scope="module")
def host() -> Host:
    return probe_host()


def traces(place: Path) -> tuple[object, ...]:
    """What a probe could leave behind: mounts, links, cgroups, files."""
    with Netlink() as netlink:
        links = {link.name for link in netlink.links() if "check" in link.name}
    cgroups = {str(path) for path in Path("/sys/fs/cgroup").glob("*/lighterman-check*")}
    mounts = {mount.point for mount in read_mountinfo() if "check" in mount.point}
    return links, cgroups, mounts, list(place.iterdir())


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[Path]:
    """A data root, which is as it was behind the test, and so is the host."""
    before = traces(tmp_path)
    yield tmp_path
    assert traces(tmp_path) == before


@as_root
def test_each_probe_says_something_and_leaves_nothing(clean: Path, host: Host) -> None:
    findings = check.examine(host, clean)
    assert [finding.topic for finding in findings if finding.name in ("root", "mode", "overlay")] == [
        "Kernel",
        "Cgroups",
        "Storage",
    ]
    assert all(finding.detail for finding in findings)
    assert len({(finding.topic, finding.name) for finding in findings}) == len(findings)


@as_root
def test_a_data_root_to_come_is_tried_where_it_would_lie(clean: Path) -> None:
    overlay, _ = check.probe_storage(clean / "not" / "yet")
    assert overlay.detail.endswith(f"at {clean}")


@as_root
def test_what_cannot_be_an_upper_layer_is_said_with_the_kernels_reason() -> None:
    overlay, _ = check.probe_storage(Path("/proc"))
    assert (overlay.state, overlay.needed) == (State.MISSING, True)
    assert overlay.detail


def test_a_runtime_that_is_not_there_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(found.name, found.state, found.install) for found in check.probe_runtimes(host)] == [
        ("crun", State.MISSING, ("crun",)),
        ("runc", State.MISSING, ("runc",)),
    ]


def fake(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@as_root
def test_a_runtime_that_fails_is_missing_for_its_own_reason(
    clean: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, host: Host
) -> None:
    programs = tmp_path_factory.mktemp("bin")
    fake(
        programs / "crun",
        'echo "crun version 9.9"; [ "$1" = --version ] || { echo x; echo why >&2; exit 1; }',
    )
    fake(programs / "runc", 'echo "runc version 9.9"; echo "CapEff: 0"')
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    crun, runc = check.probe_runtimes(host)
    assert (crun.state, crun.detail) == (State.MISSING, f"{programs}/crun 9.9: why")
    assert runc.state is State.LIMITED
    assert runc.detail.startswith(f"{programs}/runc 9.9: containers run with")


@as_root
def test_for_programs_it_is_one_json_object_and_an_exit_code(
    clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = check.main(clean, True)
    said = json.loads(capsys.readouterr().out)
    assert said["can_run"] == (code == 0)
    assert {"topic", "name", "state", "detail", "install", "needed"} == set(said["findings"][0])


@as_root
def test_for_people_it_is_a_table_with_a_verdict(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check.main(clean, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == ("An engine can run here." if code == 0 else "An engine cannot run here.")
    assert any("Runtimes" in line for line in lines)
