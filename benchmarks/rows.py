"""What is measured. A row is a function of an engine's bench that gives one or several named numbers."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field
from tests.support.engines import Daemon
from tests.support.leaks import processes
from tests.support.registry import Registry

from benchmarks.client import Client, swallowed

LINES = 300_000
STREAM_BYTES = 256 << 20
LISTED = 500
CROWD = 30


class Bench(Struct):
    """One engine with its client, its registry, and what a row has prepared for itself."""

    engine: Daemon
    client: Client
    registry: Registry
    image: str
    listed: list[str] = field(default_factory=list)
    logged: str = ""


Numbers = Mapping[str, float]


class Row(Struct, frozen=True):
    """A group of numbers measured together, `rounds` times by default."""

    name: str
    measure: Callable[[Bench], Numbers]
    rounds: int = 15
    unit: str = "ms"
    more_is_better: bool = False


@contextmanager
def timed(numbers: dict[str, float], name: str) -> Iterator[None]:
    """Put the milliseconds of the body under `name`."""
    began = time.perf_counter()
    yield
    numbers[name] = (time.perf_counter() - began) * 1000


def life(bench: Bench, network: str) -> dict[str, float]:
    """create, start, wait and remove of `true`."""
    numbers: dict[str, float] = {}
    client = bench.client
    with timed(numbers, "create"):
        cid = client.create("true", network=network)
    with timed(numbers, "start"):
        client.start(cid)
    with timed(numbers, "wait"):
        client.wait(cid)
    with timed(numbers, "remove"):
        client.remove(cid)
    numbers[f"create+start+wait+remove, {network}"] = sum(numbers.values())
    return numbers


def life_on_a_bridge(bench: Bench) -> Numbers:
    return life(bench, "bridge")


def life_without_network(bench: Bench) -> Numbers:
    name = "create+start+wait+remove, none"
    return {name: life(bench, "none")[name]}


def second_process(bench: Bench) -> Numbers:
    """exec of `true`: create, start, read to the end of its stream."""
    numbers: dict[str, float] = {}
    cid = bench.client.create("sleep", "600", network="none")
    bench.client.start(cid)
    with timed(numbers, "exec"):
        wish = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        eid = bench.client.bare.ok("POST", f"/containers/{cid}/exec", wish)["Id"]
        sock, buffer = bench.client.drained(f"/exec/{eid}/start", {})
        with sock:
            swallowed(sock, buffer)
    bench.client.remove(cid)
    return numbers


def twenty_at_once(bench: Bench) -> Numbers:
    """20 starts side by side on the bridge, until the last is answered; then their removal while they run."""
    numbers: dict[str, float] = {}
    ids = [bench.client.create("sleep", "600") for _ in range(20)]
    clients = [Client(bench.engine.socket) for _ in ids]
    with ThreadPoolExecutor(len(ids)) as pool:
        with timed(numbers, "20 parallel starts"):
            list(pool.map(Client.start, clients, ids))
        with timed(numbers, "20 parallel removals"):
            list(pool.map(Client.remove, clients, ids))
    for client in clients:
        client.connection.close()
    return numbers


def lists(bench: Bench) -> Numbers:
    """A list of 500 created containers, one inspected, a ping."""
    numbers: dict[str, float] = {}
    if not bench.listed:
        bench.listed = [bench.client.create("true", network="none") for _ in range(LISTED)]
    with timed(numbers, f"list of {LISTED}"):
        bench.client.raw("GET", "/containers/json?all=1")
    with timed(numbers, "inspect"):
        bench.client.raw("GET", f"/containers/{bench.listed[0]}/json")
    with timed(numbers, "ping"):
        bench.client.raw("GET", "/_ping")
    return numbers


def logs(bench: Bench) -> Numbers:
    """300,000 lines written to the log, read back whole, and the last 100."""
    numbers: dict[str, float] = {}
    cid = bench.client.create("seq", "1", str(LINES), network="none")
    with timed(numbers, f"log {LINES} lines, start to end"):
        bench.client.start(cid)
        bench.client.wait(cid)
    with timed(numbers, "log read"):
        bench.client.raw("GET", f"/containers/{cid}/logs?stdout=1")
    with timed(numbers, "log tail 100"):
        bench.client.raw("GET", f"/containers/{cid}/logs?stdout=1&tail=100")
    bench.client.remove(cid)
    return numbers


def throughput(bench: Bench) -> Numbers:
    """Megabytes a second that an attached client gets, without a log beside it."""
    cid = bench.client.create(
        *("dd", "if=/dev/zero", "bs=64k", f"count={STREAM_BYTES >> 16}"),
        network="none",
        LogConfig={"Type": "none"},
    )
    sock, buffer = bench.client.drained(f"/containers/{cid}/attach?stream=1&stdout=1")
    with sock:
        began = time.perf_counter()
        bench.client.start(cid)
        got = swallowed(sock, buffer)
        seconds = time.perf_counter() - began
    bench.client.remove(cid)
    assert got >= STREAM_BYTES
    return {"attach throughput": STREAM_BYTES / 1e6 / seconds}


def pull(bench: Bench) -> Numbers:
    """The heavy image from the registry beside the engine, none of its layers there."""
    numbers: dict[str, float] = {}
    name, _, tag = bench.image.rpartition(":")
    with timed(numbers, "pull 300 MB, 10 layers"):
        told = bench.client.raw("POST", f"/images/create?fromImage={name}&tag={tag}")
    assert b"errorDetail" not in told, told[-300:]
    bench.client.raw("DELETE", f"/images/{bench.image}?force=1")
    return numbers


def weight_mb(bench: Bench) -> float:
    """PSS of every process of the engine: daemon, containerd, shims, zygote, monitors, workers."""
    total = 0
    for pid, command in processes(bench.engine.net):
        if "docker-registry" not in command:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def memory(bench: Bench) -> Numbers:
    """Idle after a restart, then with 30 containers that sleep."""
    bench.client.connection.close()
    bench.engine.stop()
    bench.engine.start()
    bench.client.connection.connect()
    life(bench, "bridge")
    numbers = {"memory, idle": weight_mb(bench)}
    ids = [bench.client.create("sleep", "600") for _ in range(CROWD)]
    for cid in ids:
        bench.client.start(cid)
    numbers[f"memory, {CROWD} containers"] = weight_mb(bench)
    for cid in ids:
        bench.client.remove(cid)
    return numbers


ROWS = (
    Row("run", life_on_a_bridge, rounds=25),
    Row("none", life_without_network, rounds=15),
    Row("exec", second_process, rounds=15),
    Row("parallel", twenty_at_once, rounds=5),
    Row("logs", logs, rounds=5),
    Row("attach", throughput, rounds=5, unit="MB/s", more_is_better=True),
    Row("pull", pull, rounds=3),
    Row("memory", memory, rounds=1, unit="MB"),
    Row("list", lists, rounds=25),
)
