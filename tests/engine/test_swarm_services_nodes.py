"""Services on several nodes: where tasks go, when a node is drained, and when it is lost."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.swarm import Cluster, Host
from tests.support.waiting import until

IMAGE = "127.0.0.1:1/busybox"
"""busybox under a name that is looked for nowhere else: that registry refuses at once."""
QUICK = ("--detach", "--no-resolve-image", "--restart-delay=100ms", "--name=web")
IDLE = (IMAGE, "sh", "-c", "echo hello; trap exit TERM; while :; do sleep 0.1; done")


@pytest.fixture(scope="module")
def hosts(archive: Path) -> Iterator[list[Host]]:
    """A manager and a worker."""
    cluster = Cluster()
    try:
        manager, worker = cluster.host(), cluster.host()
        for host in (manager, worker):
            host.docker("load", "-i", archive)
            host.docker("tag", "busybox", IMAGE)
        worker.join(manager.init())
        manager.sees(worker, "ready")
        yield [manager, worker]
    finally:
        cluster.close()


@pytest.fixture
def web(hosts: list[Host]) -> Iterator[Host]:
    """A service of four tasks that run, and the manager who tells of them."""
    manager = hosts[0]
    manager.docker("service", "create", *QUICK, "--replicas=4", *IDLE)
    until(lambda: len(running(manager)) == 4, what="four tasks to run")
    yield manager
    manager.docker("service", "rm", "web")
    until(lambda: manager.http.ok("GET", "/tasks") == [], what="all tasks to be gone")


def running(manager: Host) -> list[Any]:
    filters = quote(json.dumps({"service": ["web"], "desired-state": ["running"]}))
    tasks = manager.http.ok("GET", f"/tasks?filters={filters}")
    return [task for task in tasks if task["Status"]["State"] == "running"]


def places(manager: Host) -> Counter[str]:
    """Nodes, and how many of the tasks run there."""
    return Counter(task["NodeID"] for task in running(manager))


def test_tasks_are_spread_and_a_drained_node_hands_its_own_over(hosts: list[Host], web: Host) -> None:
    manager, worker = (host.id for host in hosts)
    assert places(web) == {manager: 2, worker: 2}
    assert web.docker("service", "logs", "--raw", "web").stdout == "hello\n" * 4
    web.docker("node", "update", "--availability=drain", worker)
    try:
        until(lambda: places(web) == {manager: 4}, what="the worker to be empty")
        assert hosts[1].docker.out("ps", "-q") == ""
    finally:
        web.docker("node", "update", "--availability=active", worker)


def test_a_manager_runs_processes_in_tasks_of_another_node(hosts: list[Host], web: Host) -> None:
    docker, worker = web.docker, hosts[1]
    task = next(task for task in running(web) if task["NodeID"] == worker.id)
    name, container = f"web.{task['Slot']}.{task['ID']}", task["Status"]["ContainerStatus"]["ContainerID"]
    assert docker.out("inspect", name, "--format", "{{.Id}} {{.State.Running}}") == f"{container} true"
    assert docker.out("exec", "-i", name, "cat", stdin=b"to and fro") == "to and fro"
    told = docker("exec", container[:12], "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (told.stdout, told.stderr, told.code) == ("out\n", "err\n", 7)
    docker("exec", "-d", name, "touch", "/tmp/made")
    until(lambda: docker.out("exec", name, "ls", "/tmp") == "made", what="the process to have run")
    wrong = docker("exec", "-w", "relative", name, "true", check=False)
    assert "the working directory 'relative' needs to be an absolute path" in wrong.stderr
    plain = worker.docker.run("-d", IMAGE, "sleep", "1000")
    assert "No such container" in docker("exec", plain, "true", check=False).stderr
    worker.docker("rm", "-f", plain)


def test_tasks_of_a_lost_node_run_elsewhere_and_not_twice(hosts: list[Host], web: Host) -> None:
    manager, worker = (host.id for host in hosts)
    hosts[1].engine.kill()
    until(lambda: places(web) == {manager: 4}, what="its tasks to run elsewhere")
    assert sorted(task["Slot"] for task in running(web)) == [1, 2, 3, 4]
    hosts[1].engine.start()
    web.sees(hosts[1], "ready")
    until(lambda: hosts[1].docker.out("ps", "-q") == "", what="what was moved to be stopped")
    assert places(web) == {manager: 4}
    web.docker("service", "update", "--detach", "--force", "--update-parallelism=0", "web")
    until(lambda: places(web) == {manager: 2, worker: 2}, what="new tasks to be spread again")
