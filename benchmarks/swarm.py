"""A swarm of one node: its beginning, a service of ten tasks, and another version of it.

dockerd keeps containers alive over its own end or is in a swarm, not both: so each round has engines of its
own here, whose start is not measured. The service has no network but the engine's gateway: without IPVS in
the kernel dockerd cannot do more.
"""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.support.engines import Daemon, Engine, Reference
from tests.support.images import BUSYBOX, saved
from tests.support.waiting import TooLate

from benchmarks.client import Client
from benchmarks.rows import Bench, Numbers, timed

REPLICAS = 10
LIMIT_S = 120.0
_LOOK_AGAIN_S = 0.01


class SwarmReference(Reference):
    """dockerd as it can be in a swarm."""

    def command(self) -> list[str]:
        return [argument for argument in super().command() if argument != "--live-restore"]


def swarm(bench: Bench) -> Numbers:
    """init, create and update, each until everything runs as it is meant to."""
    daemon: Daemon = Engine() if isinstance(bench.engine, Engine) else SwarmReference()
    try:
        daemon.start(env={"DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"})  # what is here is not asked for
        daemon.docker("load", stdin=saved([BUSYBOX]))
        with Client(daemon.socket) as client:
            return _measured(client)
    finally:
        daemon.close()


def _measured(client: Client) -> Numbers:
    numbers: dict[str, float] = {}
    with timed(numbers, "swarm init"):
        _json(client, "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "127.0.0.1"})
    with timed(numbers, f"service create to {REPLICAS} running"):
        service = _json(client, "POST", "/services/create", _spec("1", parallelism=1))["ID"]
        _wait_for(client, service, "1")
    for version, parallelism, how in (("2", 0, "all at once"), ("3", 1, "one by one")):
        index = _json(client, "GET", f"/services/{service}")["Version"]["Index"]
        spec = _spec(version, parallelism=parallelism)
        with timed(numbers, f"service update of {REPLICAS}, {how}"):
            _json(client, "POST", f"/services/{service}/update?version={index}", spec)
            _wait_for(client, service, version)
    with timed(numbers, f"service rm of {REPLICAS} to no container"):
        _json(client, "DELETE", f"/services/{service}")
        _until(lambda: not _json(client, "GET", "/containers/json?all=1"), "no container to be left")
    _json(client, "POST", "/swarm/leave?force=1")
    return numbers


def _spec(version: str, *, parallelism: int) -> dict[str, Any]:
    """A service whose processes end at once when they are to."""
    container = {
        "Image": BUSYBOX,
        "Command": ["sleep", "600"],
        "Env": [f"VERSION={version}"],
        "StopSignal": "SIGKILL",
    }
    return {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": container},
        "Mode": {"Replicated": {"Replicas": REPLICAS}},
        "UpdateConfig": {"Parallelism": parallelism},
    }


def _wait_for(client: Client, service: str, version: str) -> None:
    """Wait until all tasks of this version run, and none of another is meant to."""
    filters = quote(json.dumps({"service": [service], "desired-state": ["running"]}))

    def runs() -> bool:
        tasks = _json(client, "GET", f"/tasks?filters={filters}")
        new = [task for task in tasks if f"VERSION={version}" in task["Spec"]["ContainerSpec"]["Env"]]
        return len(tasks) == len(new) == REPLICAS and all(
            task["Status"]["State"] == "running" for task in new
        )

    _until(runs, f"version {version} to run")


def _json(client: Client, method: str, path: str, body: Any = None) -> Any:
    """The decoded answer; None for an empty one."""
    told = client.raw(method, path, body)
    return json.loads(told) if told.strip() else None


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > deadline_s:
            raise TooLate(what)
        time.sleep(_LOOK_AGAIN_S)
