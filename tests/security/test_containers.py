"""Weaknesses that other engines had, tried on this one. The list is docs/security.md."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engines import Engine
from tests.support.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def empty(engine: Engine) -> Iterator[None]:
    yield
    engine.clean()


@pytest.mark.parametrize("fd", range(3, 25))
def test_cve_2024_21626_a_working_directory_is_no_file_of_the_runtime(engine: Engine, fd: int) -> None:
    """WORKDIR /proc/self/fd/N, through which a leaked directory of the host was reached."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", "pwd -P; ls -a"], "WorkingDir": f"/proc/self/fd/{fd}"}
    made = engine.http.ok("POST", "/containers/create", body)
    started = engine.http("POST", f"/containers/{made['Id']}/start")
    if started.status == 204:  # then it is a directory of the container, made there
        engine.http.ok("POST", f"/containers/{made['Id']}/wait")
        logs = engine.http("GET", f"/containers/{made['Id']}/logs?stdout=1").body
        assert b"daemon" not in logs
        assert b"config.json" not in logs
    else:
        assert started.status in (400, 500), started


def test_cve_2019_5736_an_exec_cannot_rewrite_the_runtime(engine: Engine) -> None:
    """/proc/self/exe of what enters a container is a sealed copy."""
    runtimes = [Path(p) for p in ("/usr/bin/crun", "/usr/bin/runc", "/usr/sbin/runc") if Path(p).exists()]
    before = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in runtimes]
    script = (
        "cp /bin/busybox /bin/real; printf '#!/proc/self/exe\\n' > /bin/victim; chmod 755 /bin/victim;"
        "for i in $(/bin/real seq 500); do for p in /proc/[0-9]*; do"
        " { echo owned > $p/exe; } 2>/dev/null && echo wrote $p; done; done; echo over"
    )
    box = engine.docker.run("-d", "--name=box", "busybox", "sh", "-c", script)
    for _ in range(3):
        engine.docker("exec", box, "/bin/victim", check=False)
    engine.docker("wait", box)
    said = engine.docker.out("logs", box)
    assert "over" in said
    assert "wrote" not in said
    assert [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in runtimes] == before


def test_cve_2022_24769_nothing_is_inheritable(engine: Engine) -> None:
    said = engine.docker.run("--rm", "busybox", "grep", "Cap", "/proc/self/status")
    sets = dict(re.findall(r"(Cap\w+):\s+(\w+)", said))
    assert int(sets["CapInh"], 16) == int(sets["CapAmb"], 16) == 0
    assert int(sets["CapEff"], 16) != 0
    box = engine.docker.run("-d", "busybox", "sleep", "60")
    said = engine.docker.out("exec", box, "grep", "Cap", "/proc/self/status")
    sets = dict(re.findall(r"(Cap\w+):\s+(\w+)", said))
    assert int(sets["CapInh"], 16) == int(sets["CapAmb"], 16) == 0


def test_cve_2022_36109_a_users_primary_group_is_among_its_groups(engine: Engine) -> None:
    assert engine.docker.run("--rm", "-u", "1000:1000", "busybox", "id", "-G") == "1000"
    said = engine.docker.run("--rm", "-u", "1000:1000", "busybox", "grep", "Groups", "/proc/self/status")
    assert said.split() == ["Groups:", "1000"]
    said = engine.docker.run("--rm", "-u", "1000:1000", "--group-add", "7", "busybox", "id", "-G")
    assert sorted(said.split()) == ["1000", "7"]


@pytest.mark.parametrize("cpus", ["0-2147483647", "0-4294967295", "1,2,3-1000000000", "99999999999999999999"])
def test_cve_2018_20699_a_huge_cpuset_is_refused_at_once(engine: Engine, cpus: str) -> None:
    for field in ("CpusetCpus", "CpusetMems"):
        wish = {"Image": "busybox", "HostConfig": {field: cpus}}
        assert engine.http("POST", "/containers/create", wish).status == 400


def test_cve_2024_32473_without_ipv6_a_container_has_none(engine: Engine) -> None:
    said = engine.docker.run("--rm", "busybox", "cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    assert said == "1"


def test_cve_2020_27534_a_name_is_never_a_path(engine: Engine, tmp_path: Path) -> None:
    for ref in ("..%2f..%2fetc", "../../etc/passwd", "%2e%2e/%2e%2e/x", "a/../../../b", "%00", "a%00b"):
        for path in (f"/images/{ref}/json", f"/containers/{ref}/json", f"/volumes/{ref}", f"/networks/{ref}"):
            assert engine.http("GET", path).status in (301, 400, 404), path
        answer = engine.http("DELETE", f"/volumes/{ref}")
        assert answer.status in (301, 400, 404), answer
    name = {"Name": "../../../../tmp/escaped"}
    assert engine.http("POST", "/volumes/create", name).status == 400
    assert not Path("/tmp/escaped").exists()


def test_cve_2014_5282_an_image_id_is_a_digest_of_what_it_names(engine: Engine) -> None:
    fake = "f" * 64
    assert engine.http("POST", f"/images/busybox/tag?repo={fake}").status == 400
    assert engine.http("GET", f"/images/{fake}/json").status == 404


def test_cve_2024_3056_a_line_without_an_end_costs_no_memory(engine: Engine) -> None:
    """A monitor that gathers a line until its end would hold all of it."""
    box = engine.docker.run(
        "-d", "busybox", "sh", "-c", "tr '\\0' x < /dev/zero | head -c 50000000; sleep 60"
    )
    pid = engine.docker.inspect(box)["State"]["Pid"]
    log = Path(engine.docker.inspect(box)["LogPath"])
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    until(
        lambda: log.exists() and log.stat().st_size > 50_000_000, what="the line to be logged", timeout_s=20
    )
    peak_kib = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{monitor}/status").read_text())[0])
    assert peak_kib < 40_000, peak_kib


def test_cve_2021_41091_nobody_else_looks_below_the_data_root(engine: Engine) -> None:
    """Others may pass, as containers of other users have to; what is there they may neither list nor read."""
    engine.docker.run("--name=box", "-v", "box:/data", "-e", "SECRET=1", "busybox", "true")
    for path in engine.data.iterdir():
        others = path.stat().st_mode & 0o007
        assert others & 0o006 == 0 or path.name == "lock", (path, oct(others))
    (home,) = (engine.data / "containers").iterdir()
    assert home.stat().st_mode & 0o077 == 0
    assert engine.data.stat().st_mode & 0o777 == 0o711


def test_what_enters_a_container_has_no_files_of_the_engine(engine: Engine) -> None:
    box = engine.docker.run("-d", "busybox", "sleep", "60")
    for pid in (1, "self"):
        script = f"for f in /proc/{pid}/fd/*; do readlink $f; done; true"
        said = engine.docker.out("exec", box, "sh", "-c", script).splitlines()
        assert not [each for each in said if str(engine.root) in each or "anon_inode" in each], said


def test_an_answer_never_has_a_traceback(engine: Engine) -> None:
    assert "Traceback" not in engine.log, json.dumps(engine.log[-2000:])
