"""`python -m benchmarks.thousand [NODES TASKS]`: a real manager with its etcd, and nodes that say they work.

The nodes are played in one process, each over a connection of its own, by the protocol and with certificates
of real ones; a task of theirs runs as soon as they hear of it. So what is measured is the manager: how long
it takes to decide, to write down and to tell, and what it takes of the machine.
"""

import asyncio
import contextlib
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.engines import Engine
from tests.support.leaks import processes
from tests.support.net import run_in

from lighterman.apitypes.service import TaskStatus
from lighterman.apitypes.swarm import (
    EngineDescription,
    NodeDescription,
    Platform,
    Resources,
    TLSInfo,
)
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.tokens import parse_token
from lighterman.swarm.node.channels import connect
from lighterman.swarm.node.wire import ISSUE_PATH, IssueAnswer, IssueWish, ask, client_context, fetch_root
from lighterman.swarm.session import (
    PATIENT_PERIODS,
    AgentChannel,
    Alive,
    AssignedTask,
    Assignments,
    ChannelClosed,
    Hello,
    Statuses,
    TaskReport,
    Welcome,
)

MANAGER, PORT = "127.0.0.1", 2377
LIMIT_S = 300.0
_OVER = ("complete", "shutdown", "failed")
_LOOK_AGAIN_S, _CONNECT_AGAIN_S = 0.02, 0.5


class PlayedNode:
    """A node that reports each task as what it is wished to be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.states: dict[str, str] = {}
        self.life: asyncio.Task[None] | None = None
        self.context: ssl.SSLContext
        self.description: NodeDescription

    @property
    def running(self) -> int:
        return sum(state == "running" for state in self.states.values())

    async def join(self, token: str, directory: Path) -> None:
        """Get a certificate, and begin the first session."""
        addr, (request, key) = f"{MANAGER}:{PORT}", certificates.new_request()
        root = await fetch_root(addr, parse_token(token).digest)
        answer = await ask(addr, ISSUE_PATH, IssueWish(request, token), IssueAnswer, client_context(root))
        paths = [directory / f"{self.number}.{part}" for part in ("crt", "key")]
        for path, text in zip(paths, (answer.certificate, key), strict=True):
            path.write_text(text)
        self.context = client_context(answer.root, *map(str, paths))
        subject, public_key = certificates.issuer_in(answer.certificate, answer.root)
        self.description = NodeDescription(
            hostname=f"played{self.number}",
            platform=Platform("x86_64", "linux"),
            resources=Resources(nano_cpus=8_000_000_000, memory_bytes=32 << 30),
            engine=EngineDescription("26.11.0", {}, []),
            tls_info=TLSInfo(answer.root, subject, public_key),
        )
        begun = asyncio.Event()
        self.life = asyncio.create_task(self._live(begun))
        await begun.wait()

    async def _live(self, begun: asyncio.Event) -> None:
        """One session after the other."""
        while True:
            try:
                channel = await connect(f"{MANAGER}:{PORT}", self.context)
                try:
                    await self._converse(channel, begun)
                finally:
                    await channel.close()
            except ChannelClosed:
                await asyncio.sleep(_CONNECT_AGAIN_S)

    async def _converse(self, channel: AgentChannel, begun: asyncio.Event) -> None:
        """Raises: ChannelClosed."""
        place = f"10.1.{self.number // 250}.{self.number % 250 + 1}"
        await channel.send(Hello(self.description, place))
        welcome = await channel.receive()
        if not isinstance(welcome, Welcome):
            raise ChannelClosed("not welcome")
        begun.set()
        channel.silence_s = PATIENT_PERIODS * welcome.heartbeat_period_s
        beating = asyncio.create_task(_beat(channel, welcome.heartbeat_period_s / 2))
        try:
            await channel.send(Statuses(tuple(_said(*each) for each in self.states.items())))
            while True:
                frame = await channel.receive()
                if isinstance(frame, Assignments):
                    await self._do(channel, frame)
        finally:
            beating.cancel()

    async def _do(self, channel: AgentChannel, news: Assignments) -> None:
        reports = [report for task in news.tasks if (report := self._report(task)) is not None]
        known = {task.id for task in news.tasks}
        for id in self.states.keys() - known if news.full else news.removed.tasks:
            self.states.pop(id, None)
        if reports:
            await channel.send(Statuses(tuple(reports)))

    def _report(self, task: AssignedTask) -> TaskReport | None:
        wished = task.desired_state if task.desired_state in ("ready", "running") else "shutdown"
        if self.states.get(task.id) in (wished, *_OVER):
            return None
        self.states[task.id] = wished
        return _said(task.id, wished)


def _said(task_id: str, state: str) -> TaskReport:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
    return TaskReport(task_id, TaskStatus(timestamp=now, state=state))


async def _beat(channel: AgentChannel, period_s: float) -> None:
    while True:
        await asyncio.sleep(period_s)
        with contextlib.suppress(ChannelClosed):
            await channel.send(Alive())


class Trial:
    """One manager, and what it costs."""

    def __init__(self, engine: Engine, nodes: int, tasks: int) -> None:
        self.engine, self.tasks = engine, tasks
        self.nodes = [PlayedNode(number) for number in range(nodes)]
        assert engine.process is not None
        etcds = [pid for pid, command in processes(engine.net) if command.startswith("etcd ")]
        self.pids = {"manager": engine.process.pid, "etcd": etcds[0]}

    @property
    def running(self) -> int:
        return sum(node.running for node in self.nodes)

    async def walk(self) -> None:
        """Everything that is measured, one after the other."""
        token = self.engine.docker.out("swarm", "join-token", "-q", "worker")
        self.tell("before")
        with tempfile.TemporaryDirectory(prefix="lm-played-") as directory:
            began_s = time.monotonic()
            await asyncio.gather(*(node.join(token, Path(directory)) for node in self.nodes))
            self.tell(f"{len(self.nodes)} nodes joined", began_s)
            service = (await self.call("POST", "/services/create", self.spec(self.tasks)))["ID"]
            await self.until(self.tasks, f"0 to {self.tasks} tasks")
            for count in (self.tasks // 10, self.tasks):
                before = self.running
                await self.update(service, self.spec(count))
                await self.until(count, f"{before} to {count} tasks")
            for node in self.nodes[: len(self.nodes) // 10]:
                assert node.life is not None
                node.life.cancel()
                node.states.clear()
            await self.until(self.tasks, f"{len(self.nodes) // 10} nodes lost, their tasks run elsewhere")
            await self.update(service, self.spec(self.tasks, version="2"))
            await self.until(self.tasks, f"{self.tasks} tasks to another version, all at once", version="2")
            for node in self.nodes:
                if node.life is not None:
                    node.life.cancel()

    def spec(self, replicas: int, version: str = "1") -> dict[str, Any]:
        return {
            "Name": "web",
            "TaskTemplate": {
                "ContainerSpec": {"Image": "played", "Env": [f"VERSION={version}"]},
                "Placement": {"Constraints": ["node.role==worker"]},
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
            "UpdateConfig": {"Parallelism": 0},
        }

    async def call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.engine.http.ok, method, path, body)

    async def update(self, service: str, spec: dict[str, Any]) -> None:
        index = (await self.call("GET", f"/services/{service}"))["Version"]["Index"]
        await self.call("POST", f"/services/{service}/update?version={index}", spec)

    async def until(self, count: int, what: str, version: str = "") -> None:
        """Wait until the nodes run so many tasks, and the manager knows it. Prints what it took."""
        began_s = time.monotonic()
        while True:
            while self.running != count:
                await asyncio.sleep(_LOOK_AGAIN_S)
                assert time.monotonic() < began_s + LIMIT_S, f"{what}: {self.running} run"
            known = await self.call("GET", '/tasks?filters={"desired-state":["running"]}')
            if sum(_runs(task, version) for task in known) == len(known) == count:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        self.tell(what, began_s)

    def tell(self, what: str, began_s: float | None = None) -> None:
        took = "" if began_s is None else f" {time.monotonic() - began_s:.2f} s;"
        costs = (f"{name} {_pss_mb(pid):.0f} MB, {_cpu_s(pid):.1f} s" for name, pid in self.pids.items())
        print(f"{what}:{took} {'; '.join(costs)} of a processor so far", flush=True)


def _runs(task: Any, version: str) -> bool:
    new = not version or f"VERSION={version}" in task["Spec"]["ContainerSpec"]["Env"]
    return bool(new and task["Status"]["State"] == "running")


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Play it."""
    nodes, tasks = map(int, sys.argv[1:]) if len(sys.argv) == 3 else (100, 1000)
    engine = Engine()
    try:
        engine.start()
        engine.docker("swarm", "init", "--advertise-addr", MANAGER)
        trial = Trial(engine, nodes, tasks)
        run_in(engine.net.netns, lambda: asyncio.run(trial.walk()))
    finally:
        engine.close()


if __name__ == "__main__":
    main()
