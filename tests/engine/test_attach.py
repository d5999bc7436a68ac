"""The hijacked streams of attach, byte for byte, without a client's help."""

import os
import socket

import pytest
from tests.support.cli import DockerCLI
from tests.support.http import STDERR, STDOUT, Http, joined, read_all

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


def made(http: Http, script: str, **more: object) -> str:
    """A created container with an open stdin that runs `script`."""
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        **more,
    }
    cid: str = http.ok("POST", "/containers/create", body)["Id"]
    return cid


@pytest.mark.parametrize("upgrade", [True, False])
def test_attaching_before_the_start_loses_nothing(http: Http, upgrade: bool) -> None:
    cid = made(http, "seq 1 50000; echo done >&2")
    head, sock = http.hijack(f"/containers/{cid}/attach?{ALL}", upgrade=upgrade)
    with sock:
        http.ok("POST", f"/containers/{cid}/start")
        told = read_all(sock)
    assert joined(told, STDOUT) == b"".join(b"%d\n" % n for n in range(1, 50001))
    assert joined(told, STDERR) == b"done\n"
    expected = b"HTTP/1.1 101 UPGRADED\r\n" if upgrade else b"HTTP/1.1 200 OK\r\n"
    assert head.startswith(expected)
    assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
    assert b"chunked" not in head
    assert (b"Upgrade: tcp\r\n" in head) is upgrade


@pytest.mark.parametrize("upgrade", [True, False])
def test_bytes_sent_early_and_a_half_close_reach_the_container(http: Http, upgrade: bool) -> None:
    cid = made(http, "cat; echo end")
    _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}", upgrade=upgrade)
    with sock:
        sock.sendall(b"early\n")
        http.ok("POST", f"/containers/{cid}/start")
        sock.sendall(b"late\n")
        sock.shutdown(socket.SHUT_WR)
        assert joined(read_all(sock), STDOUT) == b"early\nlate\nend\n"


def test_the_stream_ends_after_all_output_and_the_wait_tells_the_code(http: Http) -> None:
    cid = made(http, "head -c 5000000 /dev/zero; exit 12")
    with http.stream("POST", f"/containers/{cid}/wait?condition=next-exit") as waiting:
        _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}")
        with sock:
            http.ok("POST", f"/containers/{cid}/start")
            assert len(joined(read_all(sock), STDOUT)) == 5_000_000
        assert b'"StatusCode":12' in waiting.read()


def test_a_terminals_stream_is_raw(http: Http) -> None:
    cid = made(http, "echo hi", Tty=True)
    _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}")
    with sock:
        http.ok("POST", f"/containers/{cid}/start")
        assert read_all(sock) == b"hi\r\n"


def test_two_clients_see_the_same(http: Http) -> None:
    cid = made(http, "seq 1 1000")
    socks = [http.hijack(f"/containers/{cid}/attach?{ALL}")[1] for _ in range(2)]
    http.ok("POST", f"/containers/{cid}/start")
    first, second = (joined(read_all(sock), STDOUT) for sock in socks)
    for sock in socks:
        sock.close()
    assert first == second
    assert len(first.split()) == 1000


def test_logs_and_stream_together_give_the_past_and_what_follows(http: Http, docker: DockerCLI) -> None:
    cid = made(http, "echo past; cat")
    http.ok("POST", f"/containers/{cid}/start")
    with docker.spawn("logs", "-f", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"past\n"
        follower.kill()
    _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}&logs=1")
    with sock:
        sock.sendall(b"now\n")
        sock.shutdown(socket.SHUT_WR)
        assert joined(read_all(sock), STDOUT) == b"past\nnow\n"


def test_who_attaches_to_what_has_ended_sees_the_next_run(http: Http, docker: DockerCLI) -> None:
    docker("run", "--name", "twice", "busybox", "echo", "again")
    http.hijack("/containers/twice/attach?stream=1&stdout=1")[1].close()  # gone before there is anything
    assert docker.out("start", "-a", "twice") == "again"


def test_a_client_that_hangs_up_does_not_hurt_the_container(http: Http, docker: DockerCLI) -> None:
    cid = made(http, "head -c 3000000 /dev/urandom | md5sum; sleep 600", StdinOnce=False)
    _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}")
    http.ok("POST", f"/containers/{cid}/start")
    sock.close()
    assert docker.inspect(cid)["State"]["Running"]
    with docker.spawn("logs", "-f", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline().endswith(b"-\n")
        follower.kill()


def test_a_slow_client_holds_the_container_but_loses_nothing(http: Http) -> None:
    cid = made(http, "head -c 30000000 /dev/zero")
    _, sock = http.hijack(f"/containers/{cid}/attach?{ALL}")
    with sock:
        http.ok("POST", f"/containers/{cid}/start")
        first = sock.recv(8)
        os.sched_yield()
        assert len(joined(first + read_all(sock), STDOUT)) == 30_000_000


def test_attaching_to_nothing_is_not_found(http: Http) -> None:
    answer = http("POST", f"/containers/nope/attach?{ALL}")
    assert (answer.status, b"No such container: nope" in answer.body) == (404, True)


def test_detach_keys_that_are_none_are_refused(http: Http) -> None:
    cid = made(http, "true")
    answer = http("POST", f"/containers/{cid}/attach?{ALL}&detachKeys=foo")
    assert (answer.status, b"Invalid detach keys (foo) provided" in answer.body) == (400, True)


def test_cli_attach_without_stdin_sees_the_rest_and_the_code(docker: DockerCLI) -> None:
    cid = docker.run("-d", "-i", "busybox", "sh", "-c", "read x; echo got $x; exit 3")
    with docker.spawn("attach", cid, stdin=-1) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"it\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"got it\n"
        assert client.wait(timeout=20) == 3
