"""Log drivers through the docker CLI: what is kept, what is sent, and what is refused."""

import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.net import run_in
from tests.support.receivers import Datagrams, Stream, fluentd_messages
from tests.support.waiting import until


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def receiver(engine: Daemon, closing: ExitStack) -> Stream:
    """Listens on the loopback of the engine's host."""
    stream = run_in(engine.net.netns, Stream)
    closing.callback(stream.close)
    return stream


def numbers(last: int) -> list[str]:
    return [str(number) for number in range(1, last + 1)]


@pytest.mark.parametrize(
    "options",
    [
        ("--log-driver=local",),
        ("--log-driver=local", "--log-opt=max-size=100k", "--log-opt=max-file=9"),
        ("--log-opt=max-size=200k", "--log-opt=max-file=20"),
        ("--log-opt=max-size=200k", "--log-opt=max-file=20", "--log-opt=compress=true"),
        ("--log-opt=mode=non-blocking", "--log-opt=max-buffer-size=4m"),
        ("--log-driver=local", "--log-opt=mode=non-blocking"),
    ],
)
def test_logs_are_whole_whatever_they_are_kept_in(docker: DockerCLI, options: tuple[str, ...]) -> None:
    docker("run", "--name", "box", *options, "busybox", "seq", "1", "30000")
    assert docker.out("logs", "box").split() == numbers(30_000)
    assert docker.out("logs", "--tail", "12000", "box").split() == numbers(30_000)[-12_000:]
    stamped = docker.out("logs", "-t", "--tail", "1", "box")
    assert docker.out("logs", "--since", stamped.split()[0], "box").split()[-1] == "30000"


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_following_loses_and_repeats_nothing_while_the_log_rotates(docker: DockerCLI, driver: str) -> None:
    rotated = ("--log-opt=max-size=100k", "--log-opt=max-file=50", "--log-opt=compress=true")
    work = "read go; for n in 1 2 3 4 5 6 7 8; do seq 1 4000; done"
    cid = docker.run("-d", "-i", "--log-driver", driver, *rotated, "busybox", "sh", "-c", work)
    with docker.spawn("logs", "-f", cid) as follower, docker.spawn("attach", cid, stdin=-1) as client:
        assert client.stdin
        assert follower.stdout
        client.stdin.write(b"\n")
        client.stdin.flush()
        assert follower.stdout.read().decode().split() == numbers(4_000) * 8
    assert docker.out("logs", cid).split() == numbers(4_000) * 8


def test_files_beyond_max_file_are_gone(engine: Daemon, docker: DockerCLI) -> None:
    options = ("--log-opt=max-size=50k", "--log-opt=max-file=3")
    docker("run", "--name", "box", *options, "busybox", "seq", "1", "20000")
    kept = docker.out("logs", "box").split()
    assert kept == numbers(20_000)[-len(kept) :]
    assert 500 < len(kept) < 5_000


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_details_are_labels_variables_and_the_tag(docker: DockerCLI, driver: str) -> None:
    docker(
        "run", "--name", "box", "--log-driver", driver, "--label", "app=web", "--label", "app.tier=front",
        "-e", "STAGE=test run", "--log-opt=labels=app,none", "--log-opt=labels-regex=tier$",
        "--log-opt=env=STAGE", "--log-opt=tag={{.Name}}/{{.ImageName}}", "busybox", "echo", "hi",
    )  # fmt: skip
    told = "STAGE=test+run,app=web,app.tier=front,tag=box%2Fbusybox hi"
    assert docker.out("logs", "--details", "box") == told


# What is sent elsewhere


def test_what_is_sent_can_be_read_here_too(docker: DockerCLI, receiver: Stream) -> None:
    sent = (
        "--log-driver=syslog",
        f"--log-opt=syslog-address=tcp://{receiver.address}",
        "--log-opt=tag={{.Name}}",
    )
    docker("run", "--name", "box", *sent, "busybox", "sh", "-c", "echo hi; echo oh >&2")
    receiver.wait_for(lambda data: data.count(b"\n") == 2)
    assert sorted(line.partition(b" box[")[2].partition(b": ")[2] for line in receiver.data.splitlines()) == [
        b"hi",
        b"oh",
    ]
    told = docker("logs", "box")
    assert (told.stdout, told.stderr) == ("hi\n", "oh\n")
    with docker.spawn("logs", "-f", "box") as follower:
        assert follower.stdout
        assert follower.stdout.read() == b"hi\n"


def test_what_is_only_sent_cannot_be_read_here(docker: DockerCLI, receiver: Stream) -> None:
    sent = ("--log-driver=fluentd", f"--log-opt=fluentd-address={receiver.address}")
    docker("run", "--name", "box", *sent, "--log-opt=cache-disabled=true", "busybox", "echo", "hi")
    receiver.wait_for(lambda data: len(fluentd_messages(data)) == 1)
    ((tag, _, record, _),) = fluentd_messages(receiver.data)
    assert (tag, record["log"], record["container_name"]) == (docker.inspect("box")["Id"][:12], "hi", "/box")
    refused = docker("logs", "box", check=False)
    assert "configured logging driver does not support reading" in refused.stderr


def test_gelf_tells_of_the_container(engine: Daemon, docker: DockerCLI, closing: ExitStack) -> None:
    receiver = run_in(engine.net.netns, Datagrams)
    closing.callback(receiver.close)
    sent = ("--log-driver=gelf", f"--log-opt=gelf-address=udp://{receiver.address}", "--log-opt=env=A")
    docker("run", "--name", "box", "-e", "A=b", *sent, "busybox", "echo", "hi")
    told = json.loads(zlib.decompress(receiver.receive(), 31))
    assert (told["short_message"], told["_container_name"], told["_command"]) == ("hi", "box", "echo hi")
    assert (told["_image_name"], told["_A"], told["_created"]) == (
        "busybox",
        "b",
        docker.inspect("box")["Created"],
    )


def test_a_receiver_that_is_not_there_fails_the_start(engine: Daemon, docker: DockerCLI) -> None:
    nobody = run_in(engine.net.netns, unused_address)
    sent = ("--log-driver=syslog", f"--log-opt=syslog-address=tcp://{nobody}")
    refused = docker("run", "--name", "box", *sent, "busybox", "true", check=False)
    assert refused.code == 125
    assert (
        f"failed to initialize logging driver: dial tcp {nobody}: connect: connection refused"
        in refused.stderr
    )
    assert docker.inspect("box")["State"]["ExitCode"] == 128


def unused_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_the_log_is_sent_on_while_the_engine_is_killed(
    engine: Daemon, docker: DockerCLI, receiver: Stream
) -> None:
    sent = ("--log-driver=syslog", f"--log-opt=syslog-address=tcp://{receiver.address}")
    work = "n=0; while [ ! -e /stop ]; do n=$((n+1)); echo $n; sleep 0.01; done; echo last $n"
    cid = docker.run("-d", *sent, "busybox", "sh", "-c", work)
    receiver.wait_for(lambda data: b": 5\n" in data)
    engine.kill()
    said = receiver.data.count(b"\n")
    receiver.wait_for(lambda data: data.count(b"\n") > said + 20)
    engine.start()
    docker("exec", cid, "touch", "/stop")
    docker("wait", cid)
    data = receiver.wait_for(lambda data: b": last " in data)
    lines = [line.rpartition(b": ")[2] for line in data.splitlines()]
    assert lines[:-1] == [b"%d" % number for number in range(1, len(lines))]
    assert docker.out("logs", cid).split("\n") == [line.decode() for line in lines]


def test_a_receiver_that_reads_slowly_delays_nobody_without_blocking(
    docker: DockerCLI, receiver: Stream
) -> None:
    receiver.reads.clear()
    sent = ("--log-driver=syslog", f"--log-opt=syslog-address=tcp://{receiver.address}")
    cid = docker.run(
        "-d", *sent, "--log-opt=mode=non-blocking", "busybox", "sh", "-c", "seq 1 100000; sleep 60"
    )
    until(lambda: docker.out("logs", "--tail", "1", cid) == "100000", what="all is said and kept")
    docker("kill", cid)
    assert docker.out("logs", cid).split() == numbers(100_000)


def test_info_lists_what_can_be_had(http: Http) -> None:
    offered = http("GET", "/info").json["Plugins"]["Log"]
    assert [name for name in offered if name != "journald"] == [
        "fluentd",
        "gelf",
        "json-file",
        "local",
        "splunk",
        "syslog",
    ]


def test_the_engine_s_driver_is_for_all_and_a_container_s_own_comes_first(
    new_engine: type[Daemon], archive: Path, tmp_path: Path, closing: ExitStack
) -> None:
    journal = Datagrams(tmp_path / "journal")
    closing.callback(journal.close)
    engine = new_engine(options=["--log-driver=journald", "--log-opt=tag={{.Name}}", "--log-opt=labels=app"])
    closing.callback(engine.close)
    engine.start(env={"LIGHTERMAN_JOURNAL_SOCKET": journal.address})
    engine.docker("load", "-i", archive)
    engine.docker("run", "--rm", "--name", "box", "--label", "app=web", "busybox", "echo", "hi")
    fields = dict(line.split(b"=", 1) for line in journal.receive().splitlines())
    assert (fields[b"MESSAGE"], fields[b"CONTAINER_TAG"], fields[b"APP"]) == (b"hi", b"box", b"web")
    engine.docker("run", "--name", "own", "--log-driver", "local", "busybox", "echo", "hi")
    assert engine.docker.inspect("own")["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {}}
    assert "journald" in engine.http("GET", "/info").json["Plugins"]["Log"]
    engine.docker("rm", "own")
    assert engine.stop() == 0
