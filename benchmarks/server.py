"""`python -m benchmarks.server`, as root: how our engine serves, beside the goals that it has to meet.

It has one core for itself, another one asks. What dockerd is asked too is in `rows.py`.
"""

import os
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import click
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved
from tests.support.leaks import processes

CONNECTIONS = 8
LISTENERS = 1000
EVENTS = 20


def process_cpu_s(pid: int) -> float:
    """Seconds that a process has computed so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def first_answer(engine: Engine) -> tuple[float, float]:
    """Milliseconds from the engine's start to its first answer, and how long it computed for it."""
    began_s = time.perf_counter()
    with (engine.root / "daemon.log").open("ab") as log:
        engine.process = subprocess.Popen(
            engine.net.entered(engine.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    while True:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(engine.socket))
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            if client.recv(4096):
                break
        time.sleep(0.001)
    return (time.perf_counter() - began_s) * 1e3, process_cpu_s(engine.process.pid) * 1e3


def starts(engine: Engine, times: int) -> tuple[float, float]:
    """Medians of `first_answer`, after an orderly stop each."""
    told = []
    for _ in range(times):
        engine.stop()
        told.append(first_answer(engine))
    return statistics.median(each[0] for each in told), statistics.median(each[1] for each in told)


def idle(engine: Engine, seconds: float) -> tuple[float, float]:
    """Per cent of a core that all processes of the engine use while nobody asks, and their PSS in MiB."""
    pids = [pid for pid, _ in processes(engine.net)]
    before = sum(map(process_cpu_s, pids))
    time.sleep(seconds)
    used = sum(map(process_cpu_s, pids)) - before
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    pss = sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:"))
    return used / seconds * 100, pss / 1024


def connected(engine: Engine) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(engine.socket))
    return client


def served(engine: Engine, path: str, seconds: float) -> tuple[float, float, float]:
    """Answers a second, the 99th percentile of their milliseconds, and microseconds computed for each.

    Each of a few connections asks again when it has its answer; all answers are of one length.
    """
    assert engine.process is not None
    asked = f"GET /v1.36{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    length = len(engine.http("GET", path).body)
    poll, clients, sent_s, got, took_s = select.epoll(), {}, {}, {}, []
    for _ in range(CONNECTIONS):
        client = connected(engine)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    before_s, began_s = process_cpu_s(engine.process.pid), time.perf_counter()
    for fd, client in clients.items():
        client.sendall(asked)
        sent_s[fd], got[fd] = time.perf_counter(), b""
    while (now_s := time.perf_counter()) - began_s < seconds:
        for fd, _ in poll.poll():
            got[fd] += clients[fd].recv(1 << 20)
            head, end, body = got[fd].partition(b"\r\n\r\n")
            if end and len(body) >= length:
                assert head.startswith(b"HTTP/1.1 200 "), head
                now_s = time.perf_counter()
                took_s.append(now_s - sent_s[fd])
                sent_s[fd], got[fd] = now_s, b""
                clients[fd].sendall(asked)
    used_s = process_cpu_s(engine.process.pid) - before_s
    for client in clients.values():
        client.close()
    p99_ms = sorted(took_s)[len(took_s) * 99 // 100] * 1e3
    return len(took_s) / seconds, p99_ms, used_s / len(took_s) * 1e6


def listened(engine: Engine) -> tuple[float, int]:
    """Milliseconds from an event's making until the last listener has it (median), and how many lost one.

    One more listens and never reads.
    """
    clients = [connected(engine) for _ in range(LISTENERS + 1)]
    for client in clients:
        client.sendall(b"GET /v1.36/events HTTP/1.1\r\nHost: x\r\n\r\n")
    silent, *readers = clients
    heads = [client.recv(4096) for client in readers]
    assert all(b" 200 " in head for head in heads)
    took_ms, heard = [], {client.fileno(): 0 for client in readers}
    poll = select.poll()
    for client in readers:
        poll.register(client, select.POLLIN)
    by_fd = {client.fileno(): client for client in readers}
    for number in range(1, EVENTS + 1):
        began_s = time.perf_counter()
        engine.http.ok("POST", "/volumes/create", {"Name": f"event{number}"})
        while min(heard.values()) < number and time.perf_counter() - began_s < 60:
            for fd, _ in poll.poll(1000):
                heard[fd] += by_fd[fd].recv(1 << 16).count(b'"Action":"create"')
        took_ms.append((time.perf_counter() - began_s) * 1e3)
    lost = sum(count != EVENTS for count in heard.values())
    for client in clients:
        client.close()
    del silent
    engine.http("POST", "/volumes/prune")
    return statistics.median(took_ms), lost


@contextmanager
def populated(engine: Engine, count: int) -> Iterator[list[str]]:
    """That many containers that sleep, without a network."""
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "6000"], "HostConfig": {"NetworkMode": "none"}}

    def run(_: int) -> str:
        cid = str(engine.http.ok("POST", "/containers/create", body)["Id"])
        engine.http.ok("POST", f"/containers/{cid}/start")
        return cid

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(run, range(count)))
        yield ids
        list(pool.map(lambda cid: engine.http("DELETE", f"/containers/{cid}?force=1"), ids))


def shown(what: str, goal: str, value: str) -> None:
    print(f"| {what} | {goal} | {value} |", flush=True)


def on_one_core(engine: Engine, call: Callable[[], tuple[float, float, float]]) -> tuple[float, float, float]:
    """`call()` with the engine's process on one core and us on another."""
    assert engine.process is not None
    all_cores = os.sched_getaffinity(0)
    cores = sorted(all_cores)
    for thread in os.listdir(f"/proc/{engine.process.pid}/task"):
        os.sched_setaffinity(int(thread), {cores[0]})
    os.sched_setaffinity(0, {cores[-1]})
    try:
        return call()
    finally:
        os.sched_setaffinity(0, all_cores)
        for thread in os.listdir(f"/proc/{engine.process.pid}/task"):
            os.sched_setaffinity(int(thread), all_cores)


@click.command()
@click.option("--seconds", default=10.0, help="Of each measurement that goes on for a while.")
@click.option("-n", "times", default=7, help="Starts that are measured.")
@click.option("--containers", default=300, help="How many a full engine has.")
def main(seconds: float, times: int, containers: int) -> None:
    """Measure, and print a table with the goals beside what was found."""
    engine = Engine()
    try:
        engine.start()
        engine.docker("load", stdin=saved([BUSYBOX]))
        print("| | goal | found |\n| --- | ---: | ---: |")
        wall_ms, cpu_ms = starts(engine, times)
        shown("start to first answer", "300 ms", f"{wall_ms:.0f} ms ({cpu_ms:.0f} ms computed)")
        per_cent, mib = idle(engine, seconds)
        shown("idle: processor", "0.1 % of a core", f"{per_cent:.2f} %")
        shown("idle: memory of all processes", "60 MiB", f"{mib:.1f} MiB")
        with populated(engine, 10) as ids:
            for what, path in (("inspect", f"/containers/{ids[0]}/json"), ("list of 10", "/containers/json")):
                rate, p99_ms, each_us = on_one_core(engine, partial(served, engine, path, seconds))
                shown(
                    f"{what}, 8 clients",
                    "1,000/s, p99 20 ms",
                    f"{rate:,.0f}/s, p99 {p99_ms:.1f} ms ({each_us:.0f} µs computed)",
                )
        last_ms, lost = listened(engine)
        shown(
            f"an event to {LISTENERS:,} listeners, one more never reads",
            "none lost",
            f"{lost} lost, the last has it after {last_ms:.0f} ms",
        )
        with populated(engine, containers):
            wall_ms, cpu_ms = starts(engine, times)
            shown(
                f"start to first answer with {containers} containers",
                "1,000 ms",
                f"{wall_ms:.0f} ms ({cpu_ms:.0f} ms computed)",
            )
    finally:
        engine.close()


if __name__ == "__main__":
    main()
