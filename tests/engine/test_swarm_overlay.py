"""Tasks and plain containers of two nodes in overlay networks, the routing mesh, and a node's side of it all.

Clients and engines are on hosts of their own; everything is driven through the docker command line.
"""

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.net import run_in
from tests.support.swarm import Cluster, Host
from tests.support.waiting import until

SERVE = "hostname > /index.html; exec httpd -f -v -p 80 -h /"
OFFLINE = "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"
CLIENT = "10.99.0.200"


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[Cluster]:
    """A manager and a worker."""
    os.environ[OFFLINE] = "1"  # nobody is to look for busybox outside
    made = Cluster()
    try:
        manager = made.host()
        worker = made.host()
        for host in (manager, worker):
            host.docker("load", "-i", archive)
        manager.init()
        worker.join(manager)
        manager.sees(worker, "ready")
        manager.docker("network", "create", "-d", "overlay", "--attachable", "net1")
        yield made
    finally:
        made.close()
        del os.environ[OFFLINE]


@pytest.fixture
def hosts(cluster: Cluster) -> Iterator[tuple[Host, Host]]:
    """The manager and the worker; without services and containers before and after."""
    manager, worker = cluster.hosts
    yield manager, worker
    for host in (manager, worker):
        if not host.engine.process:
            host.engine.start()
    manager.sees(worker, "ready")
    for service in manager.docker.out("service", "ls", "-q").split():
        manager.docker("service", "rm", service)
    until(lambda: not manager.http.ok("GET", "/tasks"), what="no task to be left")
    for host in (manager, worker):
        until(partial(is_empty, host), what="no container of a task to be left")
        host.engine.clean()


def is_empty(host: Host) -> bool:
    return not managed(host)


def managed(host: Host) -> list[str]:
    return host.docker.out("ps", "-aq", "--filter", "label=com.docker.swarm.task").split()


def create(manager: Host, name: str, *words: str) -> None:
    """A service; `words` are its options, image and command. Nobody looks for the image outside."""
    usual = ("-d", "--no-resolve-image", "--stop-signal", "KILL", "--name", name)
    manager.docker("service", "create", *usual, *words)


def serve(manager: Host, name: str, *options: str) -> None:
    """A service with a task on each node, which answers with its host name."""
    create(manager, name, "--mode", "global", *options, "busybox", "sh", "-c", SERVE)
    runs(manager, name, 2)


def runs(manager: Host, name: str, count: int) -> None:
    filters = f'{{"service":["{name}"],"desired-state":["running"]}}'

    def running() -> bool:
        tasks = manager.http.ok("GET", f"/tasks?filters={filters}")
        return [task["Status"]["State"] for task in tasks].count("running") == count

    until(running, what=f"{count} tasks of {name} to run")


def fetched(netns: Path, address: str, port: int) -> str:
    """What a server says as soon as it listens."""

    def fetch() -> str:
        try:
            return fetched_at_once(netns, address, port)
        except OSError:
            return ""

    return until(fetch, what=f"{address}:{port} to answer")


def fetched_at_once(netns: Path, address: str, port: int) -> str:
    """What a server says to somebody in a namespace: the host name of its container."""

    def fetch() -> str:
        with socket.create_connection((address, port), timeout=60) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return sock.makefile("rb").read().decode().split()[-1]

    return run_in(netns, fetch)


def host_names(*hosts: Host) -> set[str]:
    """The host names of the tasks that run."""
    return {cid for host in hosts for cid in host.docker.out("ps", "-q").split()}


def in_container(host: Host, command: str, network: str = "net1") -> str:
    return host.docker.run("--rm", "--network", network, "busybox", "sh", "-c", command)


def reached(host: Host, name: str) -> bool:
    """Whether a new container there reaches somebody by name."""
    return " 0% packet loss" in in_container(host, f"ping -c 1 -W 2 {name} || true")


def test_plain_containers_of_two_nodes_reach_each_other_by_name(hosts: tuple[Host, Host]) -> None:
    manager, worker = hosts
    worker.docker.run("-d", "--name", "far", "--network", "net1", "--network-alias", "alias", "busybox",
                      "sh", "-c", SERVE)  # fmt: skip
    for name in ("far", "alias", "far.net1"):
        until(partial(reached, manager, name), what=f"{name} to be known on the other node")
    seen = in_container(manager, "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 $(nslookup far | "
                                 "awk '/^Address: 10/ {print $2}') 80")  # fmt: skip
    assert seen.split()[-1] == worker.docker.out("ps", "-q")


def test_a_service_is_one_address_for_tasks_on_all_nodes(hosts: tuple[Host, Host]) -> None:
    manager, worker = hosts
    serve(manager, "web", "--network", "net1")
    names = host_names(manager, worker)
    endpoint = manager.docker.inspect("web")["Endpoint"]["VirtualIPs"]
    vip = endpoint[0]["Addr"].partition("/")[0]
    ask = f"for i in 1 2; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {vip} 80; done"

    def answered(host: Host) -> bool:
        return names <= set(in_container(host, ask).split())

    for host in hosts:
        known = in_container(host, "nslookup web; nslookup tasks.web")
        assert known.count(f"Address: {vip}") == 1
        assert known.count("Address: 10.0.") == 3, "its own, and those of both tasks"
        until(partial(answered, host), what="both tasks to answer in turn")


def test_a_published_port_answers_on_every_node_and_tasks_see_the_client(
    cluster: Cluster, hosts: tuple[Host, Host]
) -> None:
    manager, worker = hosts
    create(manager, "pub", "-p", "8080:80", "busybox", "sh", "-c", SERVE)
    runs(manager, "pub", 1)
    name = host_names(manager, worker)
    outside = Path("/run/netns") / cluster.netns
    run_in(outside, lambda: os.system(f"ip addr replace {CLIENT}/24 dev switch"))
    for host in hosts:
        assert {fetched(outside, host.address, 8080)} == name
        assert {fetched(host.engine.net.netns, "127.0.0.1", 8080)} == name
    logs = manager.docker("service", "logs", "pub")
    assert f"[::ffff:{CLIENT}]" in logs.stdout + logs.stderr


def test_logs_come_from_all_nodes(hosts: tuple[Host, Host]) -> None:
    manager, worker = hosts
    words = "echo from $(hostname); echo wrong >&2; exec sleep 600"
    create(manager, "talk", "--mode", "global", "busybox", "sh", "-c", words)
    runs(manager, "talk", 2)
    names = host_names(manager, worker)

    def told() -> bool:
        said = manager.docker("service", "logs", "--raw", "talk")
        return {f"from {name}" for name in names} <= set(said.stdout.splitlines()) and (
            said.stderr.count("wrong") == 2
        )

    until(told, what="the words of both tasks")
    tail = manager.docker("service", "logs", "--raw", "--tail", "1", "talk")
    assert len((tail.stdout + tail.stderr).split()) <= 4


def test_no_task_is_restarted_when_engines_are_killed(hosts: tuple[Host, Host]) -> None:
    manager, worker = hosts
    serve(manager, "stay", "--network", "net1", "-p", "8080:80")
    for _ in range(4):  # both tasks listen, whoever's turn it is
        assert fetched(manager.engine.net.netns, worker.address, 8080)
    before = {host.address: state(host) for host in hosts}
    for host in hosts:
        host.engine.kill()
    assert fetched_at_once(manager.engine.net.netns, worker.address, 8080), "it answers without engines"
    for host in hosts:
        host.engine.start()
    manager.sees(worker, "ready")
    runs(manager, "stay", 2)
    assert {host.address: state(host) for host in hosts} == before
    assert fetched_at_once(manager.engine.net.netns, worker.address, 8080)


def state(host: Host) -> list[str]:
    ids = managed(host)
    return host.docker.out("inspect", "-f", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}", *ids).splitlines()


def test_secrets_and_configs_lie_in_memory_only(hosts: tuple[Host, Host]) -> None:
    manager, _worker = hosts
    manager.docker("secret", "create", "s1", "-", stdin=b"whisper")
    manager.docker("config", "create", "--template-driver", "golang", "c1", "-", stdin=b"{{.Service.Name}}")
    try:
        create(
            manager, "sec", "--secret", "s1",
            "--secret", "source=s1,target=/x/y,mode=0400,uid=5", "--config", "source=c1,target=/etc/c1",
            "busybox", "sh", "-c",
            "cat /run/secrets/s1 /etc/c1; ls -ln /x/y; touch /run/secrets/s1 || exec sleep 600",
        )  # fmt: skip
        runs(manager, "sec", 1)

        def said() -> str:
            return manager.docker("service", "logs", "--raw", "sec").stdout

        until(lambda: "/x/y" in said(), what="the task to have looked")
        assert said().startswith("whispersec")
        assert "-r--------    1 5 " in said()
        for host in hosts:
            for path in (host.engine.data / "containers").rglob("*"):
                on_disk = path.is_file() and os.stat(path).st_dev == os.stat(host.engine.data).st_dev
                assert not on_disk or path.name.endswith(".log") or b"whisper" not in path.read_bytes()
    finally:
        manager.docker("service", "rm", "sec", check=False)
        until(
            lambda: manager.docker("secret", "rm", "s1", check=False).code == 0,
            what="the secret to be unused",
        )
        manager.docker("config", "rm", "c1")


def test_what_cannot_run_says_why(hosts: tuple[Host, Host]) -> None:
    manager, _worker = hosts
    create(manager, "bad", "--restart-condition", "none", "localhost:1/nope:1")
    create(manager, "ends", "--restart-condition", "none", "busybox", "sh", "-c", "exit 3")
    create(
        manager, "sick", "--restart-condition", "none",
        "--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1",
        "busybox", "sleep", "600",
    )  # fmt: skip

    def error(name: str) -> str:
        tasks = manager.http.ok("GET", f'/tasks?filters={{"service":["{name}"]}}')
        return f"{tasks[0]['Status']['State']}: {tasks[0]['Status'].get('Err', '')}" if tasks else ""

    def says(name: str, text: str) -> bool:
        return error(name) == text

    for name, text in (
        ("bad", "rejected: No such image: localhost:1/nope:1"),
        ("ends", "failed: task: non-zero exit (3)"),
        ("sick", "failed: task: non-zero exit (137): dockerexec: unhealthy container"),
    ):
        until(partial(says, name, text), what=text)


def test_a_port_of_mode_host_is_the_nodes_own(hosts: tuple[Host, Host]) -> None:
    manager, _worker = hosts
    serve(manager, "own", "--publish", "mode=host,target=80,published=8081")
    for host in hosts:
        assert {fetched(manager.engine.net.netns, host.address, 8081)} == host_names(host)


def test_a_running_container_gets_into_an_attachable_network_and_out(hosts: tuple[Host, Host]) -> None:
    manager, worker = hosts
    worker.docker.run("-d", "--name", "late", "busybox", "sleep", "600")
    worker.docker("network", "connect", "net1", "late")
    until(partial(reached, manager, "late"), what="it to be reached from the other node")
    worker.docker("network", "disconnect", "net1", "late")
    assert "net1" not in worker.docker.inspect("late")["NetworkSettings"]["Networks"]


def test_who_may_not_be_attached_is_told_so(hosts: tuple[Host, Host]) -> None:
    manager, _worker = hosts
    manager.docker("network", "create", "-d", "overlay", "closed")
    try:
        for host in hosts:
            refused = host.docker("run", "--rm", "--network", "closed", "busybox", "true", check=False)
            assert "network closed not manually attachable" in refused.stderr
    finally:
        manager.docker("network", "rm", "closed")


def test_a_network_is_on_a_node_as_long_as_somebody_is_in_it(hosts: tuple[Host, Host]) -> None:
    _manager, worker = hosts
    worker.docker.run("-d", "--name", "last", "--network", "net1", "busybox", "sleep", "600")
    assert "net1" in worker.docker.out("network", "ls", "--format", "{{.Name}}").split()
    worker.docker("rm", "-f", "last")
    until(
        lambda: "net1" not in worker.docker.out("network", "ls", "--format", "{{.Name}}").split(),
        what="the network to be gone from the node",
    )


def test_a_node_that_leaves_keeps_nothing(cluster: Cluster, hosts: tuple[Host, Host]) -> None:
    """The last test: the worker is out of the swarm then."""
    manager, worker = hosts
    serve(manager, "gone", "--network", "net1", "-p", "8080:80")
    worker.docker.run("-d", "--name", "stays", "--network", "net1", "busybox", "sleep", "600")
    node = worker.id
    worker.docker("swarm", "leave")
    assert managed(worker) == []
    stays = worker.docker.inspect("stays")
    assert (stays["State"]["Running"], stays["NetworkSettings"]["Networks"]) == (True, {})
    worker.docker("rm", "-f", "stays")
    networks = worker.docker.out("network", "ls", "--format", "{{.Name}}").split()
    assert set(networks) == {"bridge", "docker_gwbridge", "host", "none"}
    traces = worker.engine.traces()
    assert not traces.netns
    assert not [mount for mount in traces.mounts if "overlay-netns" in mount or "given" in mount]
    manager.docker("node", "rm", "--force", node)
    worker.join(manager)
    manager.sees(worker, "ready")
