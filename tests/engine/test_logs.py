"""What a container says is kept to the byte and read back in every way."""

import re
import time

from tests.support.cli import DockerCLI
from tests.support.http import STDERR, STDOUT, Http, joined

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def test_every_line_is_kept_in_order(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "seq", "1", "20000")
    assert docker.out("logs", "box").splitlines() == [str(n) for n in range(1, 20001)]


def test_both_streams_are_kept_apart(http: Http, docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "sh", "-c", "echo out; echo err >&2")
    told = docker("logs", "box")
    assert (told.stdout, told.stderr) == ("out\n", "err\n")
    body = http("GET", "/containers/box/logs?stdout=1&stderr=1").body
    assert (joined(body, STDOUT), joined(body, STDERR)) == (b"out\n", b"err\n")
    assert joined(http("GET", "/containers/box/logs?stderr=1").body, STDOUT) == b""


def test_logs_want_at_least_one_stream(http: Http, docker: DockerCLI) -> None:
    docker("create", "--name", "box", "busybox")
    answer = http("GET", "/containers/box/logs")
    assert answer.status == 400
    assert answer.json == {"message": "Bad parameters: you must choose at least one stream"}


def test_a_tail_is_the_last_lines(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "seq", "1", "5000")
    assert docker.out("logs", "--tail", "3", "box").split() == ["4998", "4999", "5000"]
    assert docker.out("logs", "--tail", "0", "box") == ""
    assert len(docker.out("logs", "--tail", "all", "box").split()) == 5000


def test_timestamps_have_nine_digits_and_grow(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "sh", "-c", "echo a; echo b")
    lines = docker.out("logs", "-t", "box").splitlines()
    assert [line.split()[1] for line in lines] == ["a", "b"]
    stamps = [line.split()[0] for line in lines]
    assert all(re.fullmatch(STAMP, stamp) for stamp in stamps)
    assert stamps == sorted(stamps)


def test_since_and_until_cut_by_time(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "sh", "-c", "echo a; sleep 0.05; echo b; sleep 0.05; echo c")
    first, second, third = (line.split()[0] for line in docker.out("logs", "-t", "box").splitlines())
    assert docker.out("logs", "--since", second, "box").split() == ["b", "c"]
    assert docker.out("logs", "--until", second, "box").split() == ["a", "b"]
    assert docker.out("logs", "--since", "1h", "box").split() == ["a", "b", "c"]
    assert first < second < third


def test_following_goes_on_until_the_container_ends(docker: DockerCLI) -> None:
    cid = docker.run("-d", "-i", "busybox", "sh", "-c", "echo up; cat")
    with docker.spawn("logs", "-f", "--tail", "1", cid) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"up\n"
        with docker.spawn("attach", cid, stdin=-1) as client:
            assert client.stdin
            for word in (b"one\n", b"two\n"):
                client.stdin.write(word)
                client.stdin.flush()
                assert follower.stdout.readline() == word
            docker("kill", cid)
        assert follower.stdout.read() == b""
        assert follower.wait(timeout=20) == 0


def test_following_an_ended_container_ends(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "echo", "a")
    assert docker.out("logs", "-f", "box") == "a"


def test_a_last_line_without_an_end_is_kept(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "printf", "a\\nno end")
    assert docker("logs", "box").stdout == "a\nno end"


def test_a_line_of_a_megabyte_is_one_line(docker: DockerCLI) -> None:
    docker(
        "run", "--name", "box", "busybox", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo y"
    )
    assert docker.out("logs", "box") == "x" * 1_000_000 + "\ny"
    assert docker.out("logs", "--tail", "1", "box") == "y"


def test_odd_bytes_survive(docker: DockerCLI) -> None:
    said = 'quote " back \\ tab \t angle <&> umlaut ä euro € \x1b[1mbold'
    docker("run", "--name", "box", "busybox", "echo", said)
    assert docker.out("logs", "box") == said


def test_a_terminals_log_is_raw(http: Http, docker: DockerCLI) -> None:
    docker("run", "-t", "--name", "box", "busybox", "echo", "hi")
    assert http("GET", "/containers/box/logs?stdout=1").body == b"hi\r\n"


def test_logs_of_two_runs_are_one(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "busybox", "echo", "hi")
    docker("start", "-a", "box")
    assert docker.out("logs", "box") == "hi\nhi"


def test_logs_of_a_container_that_never_ran_are_empty(docker: DockerCLI) -> None:
    docker("create", "--name", "box", "busybox")
    began = time.monotonic()
    assert docker.out("logs", "box") == ""
    assert time.monotonic() - began < 5


def test_none_keeps_nothing_and_says_so(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "--log-driver", "none", "busybox", "echo", "hi")
    refused = docker("logs", "box", check=False)
    assert "configured logging driver does not support reading" in refused.stderr
