"""Hostile or careless clients and containers cost neither the engine's answers nor the monitors' memory."""

import json
import resource
import selectors
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket as Socket

import pytest
from tests.support.cli import DockerCLI
from tests.support.http import Http
from tests.support.waiting import until

CROWD = 1000
LONG_LINE_BYTES = 64 << 20
"""A gigabyte was tried by hand; nothing in the way depends on the size."""
ANSWERED_WITHIN_S = 0.05
MONITOR_MAX_KB = 24 << 10


@pytest.fixture(autouse=True)
def many_files() -> None:
    """For this process's own ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def made(http: Http, script: str, **host: object) -> str:
    wish = {"Image": "busybox", "OpenStdin": True, "Cmd": ["sh", "-c", script], "HostConfig": host}
    cid: str = http.ok("POST", "/containers/create", wish)["Id"]
    http.ok("POST", f"/containers/{cid}/start")
    return cid


def monitor_of(cid: str) -> Path:
    """Its directory in /proc."""
    name = f"lm-{cid[:12]}"
    (found,) = [path.parent for path in Path("/proc").glob("[0-9]*/comm") if _name(path) == name]
    return found


def _name(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def peak_kb(process: Path) -> int:
    """The most memory that it ever had."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def usual_answer_s(http: Http, seconds: float) -> float:
    """Ask again and again; how long the half of the answers took at most.

    The half, since a machine that others use too stops everybody now and then: what is to be found out is
    whether the engine is busy with the crowd. The figures themselves are the benchmarks' business.
    """
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for path in ("/_ping", "/containers/json"):
            began = time.perf_counter()
            http.ok("GET", path) if path != "/_ping" else http("GET", path)
            took.append(time.perf_counter() - began)
    return statistics.median(took)


@contextmanager
def reading(socks: list[Socket]) -> Iterator[list[int]]:
    """Read them all beside the test; how much each has had."""
    got, goes_on = [0] * len(socks), True
    selector = selectors.DefaultSelector()
    for number, sock in enumerate(socks):
        selector.register(sock, selectors.EVENT_READ, number)

    def read() -> None:
        while goes_on:
            for key, _ in selector.select(0.1):
                got[key.data] += len(socks[key.data].recv(1 << 16))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield got
    finally:
        goes_on = False
        thread.join()


def test_a_thousand_clients_of_which_half_do_not_read_cost_nobody_else(http: Http, docker: DockerCLI) -> None:
    size = 3_000_000
    cid = made(http, f"read a; head -c {size} /dev/zero; sleep 600")
    asked = f"/containers/{cid}/attach?stream=1&stdout=1"
    socks = [http.hijack(f"{asked}&stdin=1" if number == 0 else asked)[1] for number in range(CROWD)]
    awake, asleep = socks[::2], socks[1::2]
    with reading(awake) as got:
        socks[0].sendall(b"\n")
        until(lambda: min(got) > 1 << 20, what="everybody awake to have what goes before it is held")
        assert usual_answer_s(http, 1) < ANSWERED_WITHIN_S
        assert docker("exec", cid, "true").code == 0
        for sock in asleep:
            sock.close()
        until(lambda: min(got) > size, what="the rest")
    assert peak_kb(monitor_of(cid)) < MONITOR_MAX_KB
    for sock in awake:
        sock.close()


def test_a_line_without_end_is_cut_and_never_held_whole(http: Http, docker: DockerCLI) -> None:
    cid = made(http, f"read a; head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' a; read b")
    _, sock = http.hijack(f"/containers/{cid}/attach?stream=1&stdin=1&stdout=1")
    with sock, reading([sock]) as got:
        sock.sendall(b"\n")
        until(lambda: got[0] >= LONG_LINE_BYTES, what="all of it")
        assert usual_answer_s(http, 0.3) < ANSWERED_WITHIN_S
        assert peak_kb(monitor_of(cid)) < MONITOR_MAX_KB
    with http.stream("GET", f"/containers/{cid}/logs?stdout=1") as logs:
        read = 0
        while piece := logs.read(1 << 20):
            read += len(piece)
    assert read >= LONG_LINE_BYTES


def test_a_client_that_neither_reads_nor_closes_holds_up_no_end(http: Http, docker: DockerCLI) -> None:
    cid = made(http, "read a; head -c 500000 /dev/zero; exit 3")
    _, sleeper = http.hijack(f"/containers/{cid}/attach?stream=1&stdin=1&stdout=1")
    with sleeper:
        sleeper.sendall(b"\n")
        assert docker.out("wait", cid) == "3"
        docker("rm", cid)
        assert docker.out("ps", "-aq") == ""


def test_a_fork_bomb_within_its_limit_hurts_only_itself(http: Http, docker: DockerCLI) -> None:
    bomb = "exec 2>/dev/null; exec awk 'BEGIN { while (1) system(\"sleep 600 &\") }'"
    cid = made(http, bomb, PidsLimit=64)
    until(lambda: len(http.ok("GET", f"/containers/{cid}/top")["Processes"]) > 60, what="the bomb")
    assert usual_answer_s(http, 1) < ANSWERED_WITHIN_S
    docker("kill", cid)
    docker("rm", "-f", cid)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", b""),
        ("stream=1", b""),
        ("stream=1&stdin=1", None),
        ("logs=1&stdout=1", b"one\n"),
        ("logs=1&stderr=1", b"two\n"),
        ("logs=1&stream=1&stdout=1&stdin=1", b"one\nthree\n"),
        ("stream=1&stderr=1&stdin=1", b"four\n"),
    ],
)
def test_a_client_gets_the_streams_that_it_asks_for(http: Http, query: str, told: bytes | None) -> None:
    """`stdin` is asked for where the container has to be told to go on; with input alone nothing comes."""
    wish = {"Image": "busybox", "OpenStdin": True, "StdinOnce": True}
    script = "echo one; echo two >&2; read a; echo three; echo four >&2"
    cid = http.ok("POST", "/containers/create", {**wish, "Cmd": ["sh", "-c", script]})["Id"]
    http.ok("POST", f"/containers/{cid}/start")
    logs = f"/containers/{cid}/logs?stdout=1&stderr=1"
    until(lambda: b"one" in http("GET", logs).body and b"two" in http("GET", logs).body, what="the output")
    _, sock = http.hijack(f"/containers/{cid}/attach?{query}")
    with sock:
        if "stdin" in query:
            sock.sendall(b"\n")
        assert unframed(sock) == (told or b"")


def unframed(sock: Socket) -> bytes:
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    text = b""
    while data:
        size = int.from_bytes(data[4:8], "big")
        text, data = text + data[8 : 8 + size], data[8 + size :]
    return text


def test_listeners_hear_every_event_though_as_many_never_read(http: Http) -> None:
    def listeners() -> int:
        return int(http.ok("GET", "/info")["NEventsListener"])

    with ExitStack() as opened:
        listening = [opened.enter_context(http.stream("GET", "/events")) for _ in range(CROWD)]
        until(lambda: listeners() >= CROWD, what="all of them to listen")
        for name in ("one", "two", "three"):
            http.ok("POST", "/volumes/create", {"Name": name})
        for reader in listening[::2]:
            assert [json.loads(reader.readline())["Actor"]["ID"] for _ in range(3)] == ["one", "two", "three"]
    until(lambda: listeners() < CROWD // 10, what="the engine to let them go")
