"""The name server in a container's network: how many answers a second, and how long one takes under load."""

import select
import socket
import struct
import time
from statistics import quantiles

from tests.support.net import run_in

from benchmarks.networks import namespace
from benchmarks.rows import Bench

SERVER = ("127.0.0.11", 53)
SECONDS = 1.0
IN_FLIGHT = 32
"""Sockets that ask side by side, each the next question when it has its answer."""


def question(name: str) -> bytes:
    """A query for the address of `name`."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def names(bench: Bench) -> dict[str, float]:
    """Answers a second about a neighbour, with 32 questions in flight."""
    return {"DNS answers a second": len(asked(bench)) / SECONDS}


def patience(bench: Bench) -> dict[str, float]:
    """How long 99 of 100 answers take at most, with 32 questions in flight."""
    return {"DNS answer under load, p99": quantiles(asked(bench), n=100)[98] * 1000}


def asked(bench: Bench) -> list[float]:
    """The seconds that each answer took."""
    client = bench.client
    client.raw("POST", "/networks/create", {"Name": "names"})
    ids = [client.create("sleep", "600", network="names") for _ in range(2)]
    for cid in ids:
        client.start(cid)
    took = _talk(run_in(namespace(bench, ids[0]), _sockets), question(ids[1][:12]))
    for cid in ids:
        client.remove(cid)
    client.raw("DELETE", "/networks/names")
    return took


def _sockets() -> list[socket.socket]:
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(IN_FLIGHT)]
    for sock in socks:
        sock.connect(SERVER)
    return socks


def _talk(socks: list[socket.socket], query: bytes) -> list[float]:
    by_fd = {sock.fileno(): sock for sock in socks}
    asked_at = dict.fromkeys(by_fd, 0.0)
    took: list[float] = []
    ready = select.epoll()
    for fd, sock in by_fd.items():
        ready.register(fd, select.EPOLLIN)
        asked_at[fd] = time.perf_counter()
        sock.send(query)
    ends = time.perf_counter() + SECONDS
    while (now := time.perf_counter()) < ends:
        for fd, _ in ready.poll(5.0):
            answer = by_fd[fd].recv(512)
            assert answer[3] & 0xF == 0 < answer[7], answer
            now = time.perf_counter()
            took.append(now - asked_at[fd])
            asked_at[fd] = now
            by_fd[fd].send(query)
    ready.close()
    for sock in socks:
        sock.close()
    return took
