"""Networks and volumes: making and removing them, joining while a container runs, published ports."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.net import HOST_ADDRESS, run_in

from benchmarks.rows import Bench, Numbers, timed

STREAMED_BYTES = 1 << 30
PORTS = 10


def networks(bench: Bench) -> Numbers:
    """A network is made and removed; a running container joins it and leaves; ten ports are published."""
    numbers: dict[str, float] = {}
    client = bench.client
    with timed(numbers, "network create+remove"):
        client.raw("POST", "/networks/create", {"Name": "one"})
        client.raw("DELETE", "/networks/one")
    client.raw("POST", "/networks/create", {"Name": "one"})
    cid = client.create("sleep", "600")
    client.start(cid)
    with timed(numbers, "network connect+disconnect"):
        client.raw("POST", "/networks/one/connect", {"Container": cid})
        client.raw("POST", "/networks/one/disconnect", {"Container": cid})
    client.remove(cid)
    client.raw("DELETE", "/networks/one")
    ports = {f"{port}/tcp": [{"HostPort": str(port)}] for port in range(20_000, 20_000 + PORTS)}
    cid = client.create("sleep", "600", PortBindings=ports)
    with timed(numbers, f"start with {PORTS} published ports"):
        client.start(cid)
    client.remove(cid)
    return numbers


def volumes(bench: Bench) -> Numbers:
    """A volume is made, and removed."""
    numbers: dict[str, float] = {}
    with timed(numbers, "volume create"):
        bench.client.raw("POST", "/volumes/create", {"Name": "one"})
    with timed(numbers, "volume remove"):
        bench.client.raw("DELETE", "/volumes/one")
    return numbers


def published_port(bench: Bench) -> Numbers:
    """Megabytes a second from another host into a container, and through a veth with a rule of NAT alone."""
    client = bench.client
    cid = client.create("sleep", "600", PortBindings={"5001/tcp": [{"HostPort": "5001"}]})
    client.start(cid)
    inside = namespace(bench, cid)
    through = _streamed(bench, inside, 5001)
    client.remove(cid)
    with plain_way(bench) as bare:
        plain = _streamed(bench, bare, 5001)
    return {"published port": through, "plain veth and NAT": plain}


def namespace(bench: Bench, cid: str) -> Path:
    """The network namespace of a running container."""
    pid = bench.client.bare.ok("GET", f"/containers/{cid}/json")["State"]["Pid"]
    return Path(f"/proc/{pid}/ns/net")


@contextmanager
def plain_way(bench: Bench) -> Iterator[Path]:
    """A namespace behind the engine's host with nothing but what has to be: a veth, and one rule of NAT."""
    host, name = bench.engine.net.name, f"{bench.engine.net.name}-p"
    hook = "type nat hook prerouting priority -110"
    rule = f"table ip plain {{ chain to {{ {hook}; tcp dport 5001 dnat to 10.9.9.2\n}}\n}}\n"
    made = (
        f"ip netns add {name}",
        f"ip -n {host} link add plain0 type veth peer name eth0 netns {name}",
        f"ip -n {host} addr add 10.9.9.1/24 dev plain0",
        f"ip -n {name} addr add 10.9.9.2/24 dev eth0",
        f"ip -n {host} link set plain0 up",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} route add default via 10.9.9.1",
        f"ip netns exec {host} nft -f -",
    )
    try:
        for line in made:
            subprocess.run(line.split(), check=True, input=rule, text=True)
        yield Path("/run/netns") / name
    finally:
        for line in (f"ip netns exec {host} nft delete table ip plain", f"ip netns del {name}"):
            subprocess.run(line.split(), check=False)


def _streamed(bench: Bench, inside: Path, port: int) -> float:
    """Megabytes a second from outside to a server in the namespace `inside`."""
    with run_in(inside, lambda: socket.create_server(("0.0.0.0", port))) as listener:
        drained = threading.Thread(target=_drain, args=(listener,))
        drained.start()
        client = bench.engine.net.connect((HOST_ADDRESS, port), outside=True)
        client.settimeout(60)
        data = memoryview(bytes(1 << 18))
        began = time.perf_counter()
        with client:
            for _ in range(STREAMED_BYTES // len(data)):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        return STREAMED_BYTES / 1e6 / (time.perf_counter() - began)


def _drain(listener: socket.socket) -> None:
    """Read one connection to its end, and say so by closing it."""
    sock, _ = listener.accept()
    buffer = bytearray(1 << 18)
    with sock:
        while sock.recv_into(buffer):
            pass
