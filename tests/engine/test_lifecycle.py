"""ps, stop, kill, restart, rm, rename, top, wait, prune: what a container goes through after it was made."""

import json
import os
import re

import pytest
from tests.support.cli import DockerCLI
from tests.support.http import Http

PATIENT = ("busybox", "sh", "-c", "trap 'exit 3' TERM; echo up; sleep 600 & wait")
DEAF = ("busybox", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 600; done")


def up(docker: DockerCLI, *args: object) -> str:
    """The id of a container that has said it is up."""
    cid = docker.run("-d", *args)
    with docker.spawn("logs", "-f", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"up\n"
        follower.kill()
    return cid


def row(docker: DockerCLI, *filters: str) -> dict[str, str]:
    """The only line of `docker ps -a` under these filters."""
    asked = [word for one in filters for word in ("--filter", one)]
    found: dict[str, str] = json.loads(docker.out("ps", "-a", "--format", "json", *asked))
    return found


def test_ps_shows_each_state_in_dockers_words(docker: DockerCLI) -> None:
    docker("create", "--name", "made", "busybox", "true")
    docker("run", "--name", "done", "busybox", "sh", "-c", "exit 7", check=False)
    docker.run("-d", "--name", "runs", "busybox", "sleep", "600")
    docker.run("-d", "--name", "held", "busybox", "sleep", "600")
    docker("pause", "held")
    told = {name: row(docker, f"name={name}") for name in ("made", "done", "runs", "held")}
    assert told["made"]["Status"] == "Created"
    assert re.fullmatch(r"Exited \(7\) (Less than a second|\d+ seconds?) ago", told["done"]["Status"])
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", told["runs"]["Status"])
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?) \(Paused\)", told["held"]["Status"])
    assert told["done"]["Command"] == "\"sh -c 'exit 7'\""
    assert docker.out("ps", "--format", "{{.Names}}").splitlines() == ["held", "runs"]
    docker("unpause", "held")


def test_ps_filters_by_what_containers_are(docker: DockerCLI) -> None:
    first = docker.out("create", "--name", "one", "-l", "a=1", "busybox")
    docker("create", "--name", "two", "-l", "a=2", "busybox")
    docker("run", "--name", "gone", "busybox", "sh", "-c", "exit 4", check=False)

    def found(*filters: str) -> list[str]:
        asked = [word for one in filters for word in ("--filter", one)]
        return docker.out("ps", "-a", "--format", "{{.Names}}", *asked).split()

    assert found("label=a=2") == ["two"]
    assert found("label=a") == ["two", "one"]
    assert found("exited=4") == ["gone"]
    assert found("status=created") == ["two", "one"]
    assert found(f"id={first[:12]}") == ["one"]
    assert found("name=^/t") == ["two"]
    assert found("since=one", "status=created") == ["two"]
    assert found("before=two") == ["one"]
    assert found("ancestor=busybox", "name=gone") == ["gone"]
    assert docker.out("ps", "-n", "1", "--format", "{{.Names}}") == "gone"
    docker("commit", "gone", "descendant")
    docker("create", "--name", "heir", "descendant")
    assert found("ancestor=busybox", "name=heir") == found("ancestor=descendant") == ["heir"]


def test_stop_asks_first(docker: DockerCLI) -> None:
    cid = up(docker, *PATIENT)
    docker("stop", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 3


def test_stop_kills_what_does_not_listen(docker: DockerCLI) -> None:
    cid = up(docker, *DEAF)
    docker("stop", "-t", "1", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 137


def test_stop_sends_the_signal_the_container_asked_for(docker: DockerCLI) -> None:
    cid = up(
        docker,
        "--stop-signal",
        "USR1",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 8' USR1; echo up; sleep 600 & wait",
    )
    docker("stop", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 8


def test_kill_sends_any_signal_by_name_and_number(docker: DockerCLI) -> None:
    script = "trap 'echo hup' HUP; trap 'echo usr' USR1; echo up; while :; do sleep 0.02; done"
    cid = up(docker, "busybox", "sh", "-c", script)
    with docker.spawn("logs", "-f", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"up\n"
        for signal, word in (("HUP", b"hup\n"), ("SIGUSR1", b"usr\n"), ("1", b"hup\n")):
            docker("kill", "-s", signal, cid)
            assert follower.stdout.readline() == word
        docker("kill", cid)
        assert follower.wait(timeout=20) == 0


@pytest.mark.beyond_dockerd
def test_stop_with_a_number_that_is_no_signal_ends_it_all_the_same(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    docker("stop", "-s", "99", "-t", "-1", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 137


def test_kill_of_what_does_not_run_is_a_conflict(http: Http, docker: DockerCLI) -> None:
    cid = docker.out("create", "busybox")
    answer = http("POST", f"/containers/{cid}/kill")
    assert (answer.status, answer.json) == (
        409,
        {"message": f"Cannot kill container: {cid}: Container {cid} is not running"},
    )


def test_restart_gives_a_new_process_and_keeps_the_files(docker: DockerCLI) -> None:
    cid = up(docker, *PATIENT)
    docker("exec", cid, "touch", "/kept")
    before = docker.inspect(cid)
    docker("restart", cid)
    after = docker.inspect(cid)
    assert after["State"]["Pid"] not in (0, before["State"]["Pid"])
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]
    assert docker.out("exec", cid, "ls", "/kept") == "/kept"
    assert after["NetworkSettings"]["IPAddress"] == before["NetworkSettings"]["IPAddress"]


def test_start_of_a_running_and_stop_of_a_resting_container_change_nothing(
    http: Http, docker: DockerCLI
) -> None:
    cid = docker.run("-d", *PATIENT)
    assert http("POST", f"/containers/{cid}/start").status == 304
    assert http("POST", f"/containers/{cid}/stop").status == 204
    assert http("POST", f"/containers/{cid}/stop").status == 304


def test_an_exited_container_starts_again(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "sh", "-c", "ls /seen && exit 9; touch /seen", check=False)
    assert docker("start", "-a", "box", check=False).code == 9


def test_rm_refuses_what_runs_unless_forced(docker: DockerCLI) -> None:
    cid = docker.run("-d", *PATIENT)
    refused = docker("rm", cid, check=False)
    assert (
        f"You cannot remove a running container {cid}. "
        "Stop the container before attempting removal or force remove" in refused.stderr
    )
    pid = docker.inspect(cid)["State"]["Pid"]
    assert docker.out("rm", "-f", cid) == cid
    assert not os.path.exists(f"/proc/{pid}")
    gone = docker("inspect", cid, check=False)
    assert f"No such object: {cid}" in gone.stderr


def test_rename_moves_the_name_and_refuses_a_taken_one(docker: DockerCLI) -> None:
    cid = docker.out("create", "--name", "old", "busybox")
    docker("rename", "old", "new")
    assert docker.inspect("new")["Id"] == cid
    docker("create", "--name", "old", "busybox")
    refused = docker("rename", "old", "new", check=False)
    assert (refused.code, 'The container name "/new" is already in use' in refused.stderr) == (1, True)


def test_a_container_is_found_by_id_name_and_prefix(http: Http, docker: DockerCLI) -> None:
    cid = docker.out("create", "--name", "box", "busybox")
    for ref in (cid, cid[:12], cid[:1], "box"):
        assert http.ok("GET", f"/containers/{ref}/json")["Id"] == cid, ref
    assert http("GET", "/containers/nope/json").json == {"message": "No such container: nope"}
    named = docker.out("create", "--name", cid[:12], "busybox")
    assert http.ok("GET", f"/containers/{cid[:12]}/json")["Id"] == named, "a name wins over a prefix"


def test_top_shows_the_processes_with_the_pids_of_the_host(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sh", "-c", "sleep 601 & sleep 602")
    pid = docker.inspect(cid)["State"]["Pid"]
    lines = docker.out("top", cid).splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert str(pid) in [line.split()[1] for line in lines[1:]]
    assert docker.out("top", cid, "-o", "pid,args").splitlines()[0].split() == ["PID", "COMMAND"]


def test_wait_gives_the_code_of_each(docker: DockerCLI) -> None:
    first = docker.run("-d", "busybox", "sh", "-c", "exit 4")
    second = docker.run("-d", "busybox", "sh", "-c", "read x")
    assert docker.out("wait", first, second).splitlines() == ["4", "1"]


def test_wait_flushes_its_head_before_the_end(http: Http, docker: DockerCLI) -> None:
    cid = docker.out("create", "-i", "busybox", "sh", "-c", "exit 6")
    with http.stream("POST", f"/containers/{cid}/wait?condition=next-exit") as waiting:
        assert waiting.status == 200
        docker("start", cid)
        assert json.loads(waiting.read()) == {"Error": None, "StatusCode": 6}


def test_wait_for_removal_tells_the_last_code(http: Http, docker: DockerCLI) -> None:
    cid = docker.out("create", "--rm", "busybox", "sh", "-c", "exit 6")
    with http.stream("POST", f"/containers/{cid}/wait?condition=removed") as waiting:
        docker("start", cid)
        assert json.loads(waiting.read())["StatusCode"] == 6
    assert http("GET", f"/containers/{cid}/json").status == 404


def test_prune_takes_what_rests_and_leaves_what_runs(docker: DockerCLI) -> None:
    runs = docker.run("-d", "busybox", "sleep", "600")
    made = docker.out("create", "busybox")
    docker("run", "--name", "gone", "busybox", "true")
    gone = docker.inspect("gone")["Id"]
    told = docker.out("container", "prune", "-f")
    assert {made, gone} <= set(told.split())
    assert "Total reclaimed space:" in told
    assert docker.out("ps", "-aq", "--no-trunc").split() == [runs]


def test_prune_takes_what_its_filters_say(docker: DockerCLI) -> None:
    kept = docker.out("create", "-l", "keep=1", "busybox")
    plain = docker.out("create", "busybox")
    docker("container", "prune", "-f", "--filter", "until=1h")
    docker("container", "prune", "-f", "--filter", "label=nothing")
    assert docker.out("ps", "-aq", "--no-trunc").split() == [plain, kept]
    told = docker.out("container", "prune", "-f", "--filter", "label!=keep", "--filter", "until=2100-01-01")
    assert (plain in told, kept in told) == (True, False)
    assert docker.out("ps", "-aq", "--no-trunc").split() == [kept]


def test_pause_freezes_and_unpause_thaws(docker: DockerCLI, http: Http) -> None:
    cid = docker.run("-d", *PATIENT)
    docker("pause", cid)
    assert docker.inspect(cid)["State"]["Status"] == "paused"
    refused = docker("exec", cid, "true", check=False)
    assert f"Container {cid} is paused, unpause the container before exec" in refused.stderr
    docker("unpause", cid)
    assert docker.out("exec", cid, "echo", "awake") == "awake"


def test_inspect_tells_the_wish_and_the_state(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--name", "box", "-e", "A=1", "-l", "k=v", "-w", "/tmp", "--memory", "32m",
                     "-v", "kept:/v", "busybox", "sleep", "600")  # fmt: skip
    told = docker.inspect("box")
    assert (told["Id"], told["Name"], told["Path"], told["Args"]) == (cid, "/box", "sleep", ["600"])
    assert told["Config"]["Labels"] == {"k": "v"}
    assert (told["Config"]["WorkingDir"], told["HostConfig"]["Memory"]) == ("/tmp", 32 << 20)
    assert told["Config"]["Env"] == ["A=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    assert told["State"]["Running"]
    assert told["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    (mount,) = told["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"], mount["RW"]) == ("volume", "kept", "/v", True)
    assert told["NetworkSettings"]["Networks"]["bridge"]["MacAddress"].startswith("02:42:ac:11:")


def test_the_size_of_a_container_is_what_it_wrote(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3; sleep 600")
    docker("exec", cid, "sh", "-c", "until [ $(stat -c %s /big) = 3145728 ]; do :; done")
    told = json.loads(docker.out("inspect", "-s", cid))[0]
    assert told["SizeRw"] == 3 << 20
    assert told["SizeRootFs"] > told["SizeRw"]


@pytest.mark.parametrize("name", ["a", "-a", "a b", "ä"])
def test_a_name_that_is_none_is_refused(docker: DockerCLI, name: str) -> None:
    refused = docker("create", f"--name={name}", "busybox", check=False)
    assert f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" in refused.stderr
