"""Engines on hosts of their own, joined by one switch: what a swarm needs.

A `Cluster` is the switch, a network namespace with a bridge; each `Host` is an engine whose namespace has
one more link, to that bridge. `cut` pulls the plug of a host without anybody being told, as a network
does.
"""

import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.cli import DockerCLI
from tests.support.engines import Engine
from tests.support.http import Http
from tests.support.waiting import until


def _ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)


def side_by_side(calls: Iterable[Callable[[], object]]) -> None:
    """Do all `calls`, each in a thread of its own. Raises the first that one of them raised."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


class Host:
    """An engine at an address that the others reach."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.cluster, self.address, self.port = cluster, f"10.99.0.{number}", f"port{number}"
        self.engine = Engine()
        try:
            self._plug_in()
            self.engine.start()
        except BaseException:
            self.engine.close()
            raise

    def _plug_in(self) -> None:
        switch, net = self.cluster.netns, self.engine.net.name
        _ip(
            f"-n {switch} link add {self.port} type veth peer name wire0 netns {net}",
            f"-n {switch} link set {self.port} master switch up",
            f"-n {net} addr add {self.address}/24 dev wire0",
            f"-n {net} link set wire0 up",
        )

    @property
    def docker(self) -> DockerCLI:
        return self.engine.docker

    @property
    def http(self) -> Http:
        return self.engine.http

    @property
    def info(self) -> Any:
        """The swarm's section of /info."""
        return self.http.ok("GET", "/info")["Swarm"]

    @property
    def id(self) -> str:
        """Of the node."""
        return str(self.info["NodeID"])

    def init(self, *options: str) -> "Host":
        """Make a swarm; this host."""
        self.docker("swarm", "init", "--advertise-addr", self.address, *options)
        return self

    def token(self, role: str) -> str:
        return self.docker.out("swarm", "join-token", "-q", role)

    def join(self, other: "Host", role: str = "worker", *options: str) -> "Host":
        """Join the swarm of a manager; this host."""
        self.docker("swarm", "join", "--token", other.token(role), *options, f"{other.address}:2377")
        return self

    def nodes(self) -> dict[str, Any]:
        """What this manager knows of all nodes, by their addresses; empty while it can say nothing."""
        answer = self.http("GET", "/nodes")
        return {node["Status"].get("Addr", ""): node for node in answer.json} if answer.status == 200 else {}

    def node(self, other: "Host") -> Any:
        """What this manager knows of a host; {} while it knows nothing."""
        return self.nodes().get(other.address, {})

    def leader(self) -> str:
        """The address of the swarm's leader, as this manager has it; "" for none."""
        return next(
            (addr for addr, node in self.nodes().items() if node.get("ManagerStatus", {}).get("Leader")), ""
        )

    def sees(self, other: "Host", state: str) -> None:
        """Wait until this manager finds the host in this state."""
        until(
            lambda: self.node(other).get("Status", {}).get("State") == state,
            what=f"{other.address} to be {state}",
        )

    def sees_manager(self, other: "Host", reachability: str) -> None:
        """Wait until this manager finds the host to be a manager that is reachable, or not; "" for no
        manager.
        """
        until(
            lambda: (self.node(other).get("ManagerStatus") or {}).get("Reachability", "") == reachability,
            what=f"{other.address} to be {reachability or 'no'} manager",
        )

    def close(self) -> None:
        """End the engine, and everything that was made for it."""
        try:
            if self.engine.process and self.engine.answers():
                self.http("POST", "/swarm/leave?force=1")
        finally:
            self.engine.close()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Its plug is pulled for as long as the block lasts."""
        _ip(f"-n {self.cluster.netns} link set {self.port} down")
        try:
            yield
        finally:
            _ip(f"-n {self.cluster.netns} link set {self.port} up")


class Cluster:
    """The switch, and the hosts that are plugged in."""

    def __init__(self) -> None:
        self.netns = f"lmt-{secrets.token_hex(3)}-sw"
        _ip(
            f"netns add {self.netns}",
            f"-n {self.netns} link add switch type bridge",
            f"-n {self.netns} link set switch up",
        )
        self.hosts: list[Host] = []
        self.made = 0

    def host(self) -> Host:
        """One more engine, in no swarm yet."""
        self.made += 1
        made = Host(self, self.made)
        self.hosts.append(made)
        return made

    def several(self, count: int) -> list[Host]:
        """As many engines, started side by side."""
        numbers = range(self.made + 1, self.made + count + 1)
        self.made += count
        side_by_side([lambda number=number: self.hosts.append(Host(self, number)) for number in numbers])  # type: ignore[misc]
        self.hosts.sort(key=lambda host: (len(host.port), host.port))
        return self.hosts[-count:]

    def close(self) -> None:
        """End all engines, and everything that was made for them."""
        try:
            side_by_side([host.close for host in self.hosts])
        finally:
            _ip(f"netns del {self.netns}")


@contextmanager
def lone_manager(archive: Path, image: str) -> Iterator[Host]:
    """A swarm of one host that has busybox under the name of `image`."""
    cluster = Cluster()
    try:
        host = cluster.host()
        host.docker("load", "-i", archive)
        host.docker("tag", "busybox", image)
        yield host.init()
    finally:
        cluster.close()
