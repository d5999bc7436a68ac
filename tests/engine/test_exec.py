"""Second processes in a running container."""

import socket

import pexpect
import pytest
from tests.support.cli import DockerCLI
from tests.support.http import STDERR, STDOUT, Http, joined, read_all


@pytest.fixture
def box(docker: DockerCLI) -> str:
    return docker.run("-d", "--name", "box", "-e", "FROM=run", "busybox", "sleep", "600")


def test_output_and_errors_come_apart(docker: DockerCLI, box: str) -> None:
    done = docker("exec", box, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_code_of_the_command_is_the_code_of_exec(docker: DockerCLI, box: str, code: int) -> None:
    assert docker("exec", box, "sh", "-c", f"exit {code}", check=False).code == code


@pytest.mark.parametrize(("command", "code"), [("nosuchcmd", 127), ("/no/such", 127), ("/etc", 126)])
def test_what_cannot_be_run_is_127_or_126(docker: DockerCLI, box: str, command: str, code: int) -> None:
    done = docker("exec", box, command, check=False)
    assert done.code in (code, 126), "20.10 says 126 where newer ones say 127"
    assert (
        "OCI runtime exec failed: exec failed: unable to start container process" in done.stdout + done.stderr
    )


def test_it_has_the_environment_of_the_container_and_its_own(docker: DockerCLI, box: str) -> None:
    env = docker.out("exec", "-e", "MORE=exec", box, "env").splitlines()
    assert {"FROM=run", "MORE=exec", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"} <= set(env)


def test_it_runs_as_and_where_it_is_told(docker: DockerCLI, box: str) -> None:
    assert docker.out("exec", "-u", "app", "-w", "/tmp", box, "sh", "-c", "id -u; pwd").split() == [
        "1000",
        "/tmp",
    ]


def test_stdin_is_piped_in_and_its_end_is_an_end_of_file(docker: DockerCLI, box: str) -> None:
    assert docker.out("exec", "-i", box, "sh", "-c", "cat; echo end", stdin=b"a\nb\n") == "a\nb\nend"


def test_a_terminal_is_a_terminal_of_the_clients_size(docker: DockerCLI, box: str) -> None:
    shell = docker.pty("exec", "-it", box, "sh", rows=31, columns=97)
    shell.expect(rb"/ # ")
    shell.sendline(b"until stty size | grep '31 97'; do :; done; exit 5")
    shell.expect(rb"\n31 97\r\n")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 5


def test_detached_answers_at_once_and_goes_on(docker: DockerCLI, box: str) -> None:
    docker("exec", box, "mkfifo", "/gate")
    docker("exec", "-d", box, "sh", "-c", "echo passed > /gate")
    assert docker.out("exec", box, "cat", "/gate") == "passed"


def test_a_privileged_one_may_what_its_container_may_not(docker: DockerCLI, box: str) -> None:
    status = ("sh", "-c", "grep CapEff /proc/self/status")
    assert docker.out("exec", box, *status) == "CapEff:\t00000000a80425fb"
    assert docker.out("exec", "--privileged", box, *status).startswith("CapEff:\t000001ff")


def test_its_own_keys_detach_and_leave_it_running(docker: DockerCLI, box: str) -> None:
    shell = docker.pty("exec", "-it", "--detach-keys", "ctrl-x,x", box, "sh", "-c", "echo up; sleep 4712")
    shell.expect(rb"up\r\n")
    shell.send(b"\x18x")
    shell.expect(pexpect.EOF)
    shell.close()
    assert "sleep 4712" in docker.out("top", box)


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize("when", ["create", "start"])
def test_a_terminal_gets_the_size_that_was_wished(http: Http, box: str, when: str) -> None:
    """Soon: crun 1.8 leaves the size of an exec to who gets the terminal from it, and runs on."""
    newest = Http(http.socket, prefix="/v1.44")
    size = {"ConsoleSize": [41, 99]}
    command = ["sh", "-c", "until stty size 2>/dev/null | grep '41 99'; do :; done"]
    wish = {"Cmd": command, "Tty": True, "AttachStdout": True, **(size if when == "create" else {})}
    eid = newest.ok("POST", f"/containers/{box}/exec", wish)["Id"]
    early, sock = newest.hijack(f"/exec/{eid}/start", {"Tty": True, **(size if when == "start" else {})})
    with sock:
        assert b"41 99\r\n" in early + read_all(sock)


@pytest.mark.parametrize(
    ("attached", "streams"),
    [
        ({"AttachStdout": True}, (b"out\n", b"")),
        ({"AttachStderr": True}, (b"", b"err\n")),
        ({"AttachStdout": True, "AttachStderr": True, "AttachStdin": True}, (b"out\nin\n", b"err\n")),
    ],
    ids=str,
)
def test_the_streams_are_those_that_it_asks_for(
    http: Http, box: str, attached: dict[str, bool], streams: tuple[bytes, bytes]
) -> None:
    eid = http.ok(
        "POST", f"/containers/{box}/exec", {"Cmd": ["sh", "-c", "echo out; echo err >&2; cat"], **attached}
    )["Id"]
    _, sock = http.hijack(f"/exec/{eid}/start", {})
    with sock:
        if "AttachStdin" in attached:
            sock.sendall(b"in\n")
            sock.shutdown(socket.SHUT_WR)
        data = read_all(sock)
    assert (joined(data, STDOUT), joined(data, STDERR)) == streams


def test_its_processes_are_seen_in_the_container(docker: DockerCLI, box: str) -> None:
    docker("exec", "-d", box, "sleep", "4711")
    assert "sleep 4711" in docker.out("top", box)


def test_it_shares_the_namespaces_and_limits_of_the_container(docker: DockerCLI, box: str) -> None:
    for space in ("pid", "net", "mnt", "uts", "ipc"):
        script = f"readlink /proc/1/ns/{space}; readlink /proc/self/ns/{space}"
        first, own = docker.out("exec", box, "sh", "-c", script).split()
        assert first == own, space


def test_a_resting_container_refuses_it(docker: DockerCLI, http: Http) -> None:
    cid = docker.out("create", "busybox")
    answer = http("POST", f"/containers/{cid}/exec", {"Cmd": ["true"]})
    assert (answer.status, answer.json) == (409, {"message": f"Container {cid} is not running"})


def test_its_life_can_be_inspected(http: Http, box: str) -> None:
    body = {"Cmd": ["sh", "-c", "echo hi; exit 3"], "AttachStdout": True, "AttachStderr": True}
    eid = http.ok("POST", f"/containers/{box}/exec", body)["Id"]
    assert http.ok("GET", f"/exec/{eid}/json")["ExitCode"] is None
    head, sock = http.hijack(f"/exec/{eid}/start", {"Detach": False, "Tty": False})
    with sock:
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert joined(read_all(sock), STDOUT) == b"hi\n"
    told = http.ok("GET", f"/exec/{eid}/json")
    assert (told["Running"], told["ExitCode"], told["ContainerID"]) == (False, 3, box)
    assert told["ProcessConfig"]["entrypoint"] == "sh"
    again = http("POST", f"/exec/{eid}/start", {})
    assert f"Error: Exec command {eid} has already run".encode() in again.body


def test_an_error_before_its_start_is_told_in_the_stream(http: Http, box: str) -> None:
    eid = http.ok("POST", f"/containers/{box}/exec", {"Cmd": ["nosuch"], "AttachStderr": True})["Id"]
    _, sock = http.hijack(f"/exec/{eid}/start", {})
    with sock:
        told = read_all(sock)
    assert b"nosuch" in joined(told, STDERR) + joined(told, STDOUT)
    detached = http.ok("POST", f"/containers/{box}/exec", {"Cmd": ["nosuch"]})["Id"]
    assert http("POST", f"/exec/{detached}/start", {"Detach": True}).status == 400


def test_twenty_at_once_all_answer(docker: DockerCLI, box: str) -> None:
    clients = [docker.spawn("exec", box, "echo", str(n)) for n in range(20)]
    assert [client.communicate(timeout=60)[0].decode().strip() for client in clients] == [
        str(n) for n in range(20)
    ]


def test_a_resize_that_comes_with_the_start_waits_for_it(http: Http, box: str) -> None:
    """As clients do it: with the head of the stream in their hands, they tell the size."""
    command = ["sh", "-c", "read go; stty size"]
    for rows in range(30, 50):
        wish = {"Cmd": command, "Tty": True, "AttachStdin": True, "AttachStdout": True}
        eid = http.ok("POST", f"/containers/{box}/exec", wish)["Id"]
        early, sock = http.hijack(f"/exec/{eid}/start", {"Tty": True})
        with sock:
            answer = http("POST", f"/exec/{eid}/resize?h={rows}&w=100")
            assert answer.status in (200, 201), answer.body
            sock.sendall(b"\n")
            assert f"{rows} 100".encode() in early + read_all(sock)


def test_one_that_was_never_started_goes_with_the_run_it_was_made_in(
    docker: DockerCLI, http: Http, box: str
) -> None:
    made = http.ok("POST", f"/containers/{box}/exec", {"Cmd": ["true"]})["Id"]
    assert docker.inspect(box)["ExecIDs"] == [made]
    docker("restart", "-t", "0", box)
    assert docker.inspect(box)["ExecIDs"] is None
    assert http("GET", f"/exec/{made}/json").status == 404
