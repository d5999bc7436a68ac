"""Services through the docker command line: made, followed, changed, taken back, read, removed."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker as docker_py
import pytest
from tests.support.cli import DockerCLI
from tests.support.http import Http
from tests.support.swarm import Host, lone_manager
from tests.support.waiting import until

IMAGE = "127.0.0.1:1/busybox"
"""busybox under a name that is looked for nowhere else: that registry refuses at once."""
QUICK = (
    "-q",
    "--no-resolve-image",
    "--update-monitor=200ms",
    "--rollback-monitor=200ms",
    "--restart-delay=100ms",
)
IDLE = (IMAGE, "sh", "-c", "trap exit TERM; while :; do sleep 0.1; done")


@pytest.fixture(scope="module")
def host(archive: Path) -> Iterator[Host]:
    with lone_manager(archive, IMAGE) as host:
        yield host


@pytest.fixture
def swarm(host: Host) -> Iterator[Host]:
    """A swarm of one node without services, before and after the test."""
    yield host
    for service in host.http.ok("GET", "/services"):
        host.http("DELETE", f"/services/{service['ID']}")
    until(lambda: host.http.ok("GET", "/tasks") == [], what="all tasks to be gone")
    for kind in ("secrets", "configs"):
        for each in host.http.ok("GET", f"/{kind}"):
            host.http("DELETE", f"/{kind}/{each['ID']}")


@pytest.fixture
def docker(swarm: Host) -> DockerCLI:
    return swarm.docker


@pytest.fixture
def http(swarm: Host) -> Http:
    return swarm.http


def tasks(http: Http, service: str = "web") -> list[Any]:
    """Those that shall run."""
    filters = quote(json.dumps({"service": [service], "desired-state": ["running"]}))
    return list(http.ok("GET", f"/tasks?filters={filters}"))


def fetched(host: Host, port: int, path: str) -> str:
    """What is served at this port of the host."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.sock = host.engine.net.connect(("127.0.0.1", port))
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def states(http: Http, *, without: str = "") -> list[str]:
    """How far the tasks that shall run are."""
    return [task["Status"]["State"] for task in tasks(http) if task["ID"] != without]


def test_a_service_is_made_and_followed_until_it_runs(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", "--replicas=3", "--label=tier=front", *IDLE)
    assert docker.out("service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}") == (
        "web replicated 3/3 127.0.0.1:1/busybox:latest"
    )
    shown = docker.out("service", "ps", "web", "--format", "{{.Name}} {{.DesiredState}} {{.Error}}")
    assert sorted(line.strip() for line in shown.splitlines()) == [
        "web.1 Running",
        "web.2 Running",
        "web.3 Running",
    ]
    assert docker.out("ps", "-q", "--filter", "is-task=false") == ""
    names = docker.out("ps", "--filter", "is-task=true", "--format", "{{.Names}}").split()
    assert sorted(names) == sorted(f"web.{task['Slot']}.{task['ID']}" for task in tasks(http))
    (service,) = json.loads(docker.out("service", "inspect", "web"))
    assert service["Spec"]["Labels"] == {"tier": "front"}
    assert "Replicas:\t3" in docker.out("service", "inspect", "--pretty", "web")


def test_a_name_is_of_one_network_of_the_swarm_or_of_the_node(docker: DockerCLI) -> None:
    for one, other in (("bridge", "overlay"), ("overlay", "bridge")):
        docker("network", "create", "-d", one, "twice")
        refused = docker("network", "create", "-d", other, "twice", check=False)
        assert "network with name twice already exists" in refused.stderr
        docker("network", "rm", "twice")


def test_a_service_is_scaled_up_and_down(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", *IDLE)
    docker("service", "scale", "web=3")
    assert [task["Slot"] for task in tasks(http)] == [1, 2, 3]
    docker("service", "scale", "web=1")
    until(lambda: len(docker.out("ps", "-q").split()) == 1, what="two containers to go")
    assert [task["Slot"] for task in tasks(http)] == [1]


def env_of(http: Http) -> list[list[str]]:
    return [task["Spec"]["ContainerSpec"].get("Env", []) for task in tasks(http)]


def update_state(http: Http) -> str:
    return str(http.ok("GET", "/services/web").get("UpdateStatus", {}).get("State"))


def test_an_update_replaces_tasks_and_a_rollback_brings_them_back(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", "--replicas=2", *IDLE)
    docker("service", "update", "-q", "--env-add=A=1", "web")
    assert env_of(http) == [["A=1"]] * 2
    until(lambda: update_state(http) == "completed", what="the update to be completed")
    docker("service", "rollback", "-q", "web")
    assert env_of(http) == [[]] * 2
    until(lambda: update_state(http) == "rollback_completed", what="the rollback to be completed")
    assert http.ok("GET", "/services/web")["UpdateStatus"]["Message"] == "rollback completed"


def test_an_update_that_fails_is_paused_or_taken_back(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", "--replicas=2", *IDLE)
    docker("service", "update", "--detach", "--args=false", "web")
    until(lambda: update_state(http) == "paused", what="the update to be paused")
    message = http.ok("GET", "/services/web")["UpdateStatus"]["Message"]
    assert message.startswith("update paused due to failure or early termination of task ")
    docker(
        "service",
        "update",
        "--detach",
        "--update-failure-action=rollback",
        "--args=sh -c 'trap exit TERM; while :; do sleep 0.1; done'",
        "web",
    )
    until(lambda: update_state(http) == "completed", what="the update to be completed")
    docker("service", "update", "--detach", "--args=false", "web")
    until(lambda: update_state(http) == "rollback_completed", what="the update to be taken back")
    assert all(task["Spec"]["ContainerSpec"]["Args"][0] == "sh" for task in tasks(http))


def test_a_container_that_dies_is_replaced_in_its_slot(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", *IDLE)
    (before,) = tasks(http)
    docker("kill", f"web.1.{before['ID']}")
    until(
        lambda: (
            [task["Status"]["State"] for task in tasks(http) if task["ID"] != before["ID"]] == ["running"]
        ),
        what="another task to run",
    )
    (after,) = tasks(http)
    assert after["Slot"] == 1
    shown = docker.out("service", "ps", "web", "--format", "{{.Name}}: {{.CurrentState}}: {{.Error}}")
    assert "task: non-zero exit (137)" in shown


def test_a_task_without_a_node_says_why(docker: DockerCLI, http: Http) -> None:
    wish = ("--detach", "--no-resolve-image", "--name=web", "--constraint=node.labels.disk==ssd")
    docker("service", "create", *wish, *IDLE)
    reason = "no suitable node (scheduling constraints not satisfied on 1 node)"
    until(
        lambda: [task["Status"].get("Err") for task in tasks(http)] == [reason],
        what="the task to say why it waits",
    )
    node = http.ok("GET", "/nodes")[0]["ID"]
    docker("node", "update", "--label-add=disk=ssd", node)
    until(lambda: tasks(http)[0]["Status"]["State"] == "running", what="the task to run")
    docker("node", "update", "--label-rm=disk", node)
    until(lambda: docker.out("ps", "-q") == "", what="the task to be stopped")


def test_a_drained_node_has_no_tasks(docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", "--mode=global", *IDLE)
    node = http.ok("GET", "/nodes")[0]["ID"]
    try:
        docker("node", "update", "--availability=drain", node)
        until(lambda: docker.out("ps", "-q") == "", what="the node to be empty")
    finally:
        docker("node", "update", "--availability=active", node)
    until(lambda: docker.out("ps", "-q") != "", what="the task to be there again")


def test_logs_are_read_from_all_tasks(docker: DockerCLI, http: Http) -> None:
    talk = (IMAGE, "sh", "-c", "echo out; echo err >&2; trap exit TERM; while :; do sleep 0.1; done")
    docker("service", "create", *QUICK, "--name=web", "--replicas=2", *talk)
    until(
        lambda: docker("service", "logs", "--raw", "web").stdout.splitlines() == ["out"] * 2,
        what="both to have written",
    )
    read = docker("service", "logs", "web")
    assert sorted(line.partition("|")[2].strip() for line in read.stdout.splitlines()) == ["out"] * 2
    assert all(line.startswith("web.") and "@" in line for line in read.stdout.splitlines())
    assert read.stderr.count("err") == 2
    task = tasks(http)[0]["ID"]
    assert docker("service", "logs", "--raw", task).stdout == "out\n"
    last = docker("service", "logs", "--raw", "--tail=1", task)
    assert len((last.stdout + last.stderr).splitlines()) == 1
    refused = http("GET", "/services/web/logs")
    assert (refused.status, refused.json["message"]) == (
        500,
        "Bad parameters: you must choose at least one stream",
    )


def test_secrets_and_configs_are_files_of_their_tasks(docker: DockerCLI, http: Http) -> None:
    docker("secret", "create", "--label=a=b", "s1", "-", stdin=b"hush")
    docker("config", "create", "c1", "-", stdin=b"conf")
    shown = "cd /run/secrets; stat -c '%a %u:%g' s1 /etc/c1; cat s1 /etc/c1; echo; grep s1 /proc/mounts"
    docker(
        "service",
        "create",
        *QUICK,
        "--name=web",
        "--secret=s1",
        "--config=source=c1,target=/etc/c1,mode=0400,uid=1000,gid=1000",
        IMAGE,
        "sh",
        "-c",
        f"{shown}; trap exit TERM; while :; do sleep 0.1; done",
    )
    until(lambda: "tmpfs" in docker.out("service", "logs", "--raw", "web"), what="the task to have written")
    first, second, content, mount = docker.out("service", "logs", "--raw", "web").splitlines()[:4]
    assert (first, second, content) == ("444 0:0", "400 1000:1000", "hushconf")
    assert mount.startswith("tmpfs /run/secrets/s1 tmpfs ro")
    for kind, name in (("secret", "s1"), ("config", "c1")):
        refused = docker(kind, "rm", name, check=False)
        assert f"{kind} '{name}' is in use by the following service: web" in refused.stderr
    assert "hush" not in json.dumps(http.ok("GET", "/secrets/s1"))
    assert docker.out("secret", "ls", "--filter", "label=a=b", "--format", "{{.Name}}") == "s1"
    docker("service", "rm", "web")
    docker("secret", "rm", "s1")
    docker("config", "rm", "c1")


def test_names_in_a_tasks_settings_are_filled_in(docker: DockerCLI) -> None:
    wish = ("--hostname=h{{.Task.Slot}}", "--env=ME={{.Service.Name}}.{{.Task.Slot}}")
    docker("service", "create", *QUICK, "--name=web", *wish, *IDLE)
    container = docker.out("ps", "-q")
    assert docker.out("exec", container, "sh", "-c", "echo $(hostname) $ME") == "h1 web.1"


DEPLOY = ("stack", "deploy", "--resolve-image=never")
STACK = """
version: "3.8"
services:
  web:
    image: 127.0.0.1:1/busybox
    command: httpd -f -p 80 -h /etc
    init: true
    networks: [front]
    ports: ["8088:80"]
    configs: [{source: page, target: /etc/index.html}]
    secrets: [key]
    deploy:
      replicas: REPLICAS
      update_config: {order: start-first, monitor: 200ms}
      restart_policy: {delay: 100ms}
      resources: {limits: {cpus: "0.5", memory: 50M}, reservations: {memory: 20M}}
      placement: {constraints: ["node.role == manager"], max_replicas_per_node: 4}
  client:
    image: 127.0.0.1:1/busybox
    init: true
    command: sh -c 'until wget -q -O - http://web/index.html; do sleep 0.1; done; sleep 1000'
    networks: {front: {aliases: [me]}}
    deploy: {update_config: {monitor: 200ms}}
networks:
  front: {}
configs:
  page: {file: ./page}
secrets:
  key: {file: ./key}
"""


def test_a_stack_is_deployed_deployed_again_and_removed(
    swarm: Host, docker: DockerCLI, http: Http, tmp_path: Path
) -> None:
    (tmp_path / "page").write_text("hello\n")
    (tmp_path / "key").write_text("hush\n")
    file = tmp_path / "stack.yml"
    file.write_text(STACK.replace("REPLICAS", "1"))
    docker(*DEPLOY, "--detach=false", "-c", file, "demo")
    until(
        lambda: docker.out("service", "logs", "--raw", "demo_client") == "hello",
        what="the client to find the service by its name",
    )
    assert fetched(swarm, 8088, "/index.html") == "hello\n"
    first = tasks(http, "demo_web")
    file.write_text(STACK.replace("REPLICAS", "2"))
    docker(*DEPLOY, "--detach=false", "-c", file, "demo")
    second = tasks(http, "demo_web")
    assert len(second) == 2
    assert first[0]["ID"] in [task["ID"] for task in second], "a scale alone replaces nothing"
    assert docker.out("stack", "ls", "--format", "{{.Name}} {{.Services}}") == "demo 2"
    replicas = docker.out("stack", "services", "demo", "--format", "{{.Name}} {{.Replicas}}")
    assert sorted(replicas.splitlines()) == ["demo_client 1/1", "demo_web 2/2 (max 4 per node)"]
    (tmp_path / "page").write_text("other\n")
    refused = docker(
        "stack", "deploy", "--resolve-image=never", "--detach=true", "-c", file, "demo", check=False
    )
    assert "only updates to Labels are allowed" in refused.stderr
    docker("stack", "rm", "demo")
    assert http.ok("GET", "/services") == []
    assert "demo" not in docker.out("network", "ls")
    until(lambda: docker.out("ps", "-aq") == "", what="all containers to go")


def test_a_port_of_the_host_is_its_tasks_own(swarm: Host, docker: DockerCLI, http: Http) -> None:
    serve = (IMAGE, "httpd", "-f", "-p", "80", "-h", "/etc")
    port = "--publish=published=8089,target=80,mode=host"
    docker("service", "create", *QUICK, "--init", "--name=web", port, *serve)
    assert fetched(swarm, 8089, "/group")
    docker("service", "update", "--detach", "--replicas=2", "web")
    reason = "no suitable node (host-mode port already in use on 1 node)"
    until(
        lambda: reason in [task["Status"].get("Err") for task in tasks(http)],
        what="the second task to say why it waits",
    )


def test_what_a_service_wishes_of_its_containers_acts(docker: DockerCLI, http: Http) -> None:
    wish = (
        "--cap-add=NET_ADMIN",
        "--cap-drop=CHOWN",
        "--ulimit=nofile=123:456",
        "--sysctl=net.ipv4.ip_unprivileged_port_start=80",
        "--init",
        "--limit-pids=77",
        "--replicas-max-per-node=1",
        "--container-label=lighterman.devices=/dev/kmsg:/dev/log0:w",
    )
    docker("service", "create", "--detach", *QUICK, "--name=web", "--replicas=2", *wish, *IDLE)
    container = until(lambda: docker.out("ps", "-q", "--filter", "name=web"), what="the task to run")
    shown = docker.out(
        "exec",
        container,
        "sh",
        "-c",
        "grep CapEff /proc/1/status; ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
        "cat /proc/1/comm; ls /dev/log0; (: </dev/log0) 2>&1; (: >/dev/log0) && echo opened",
    ).splitlines()
    held = int(shown[0].split()[1], 16)
    assert (held >> 12 & 1, held & 1) == (1, 0), "CAP_NET_ADMIN is there, CAP_CHOWN is not"
    assert shown[1:5] == ["123", "80", "docker-init", "/dev/log0"]
    assert "Operation not permitted" in shown[5]
    assert shown[6] == "opened"
    assert docker.inspect(container)["HostConfig"]["PidsLimit"] == 77
    reason = "no suitable node (max replicas per node limit exceed)"
    until(
        lambda: reason in [task["Status"].get("Err") for task in tasks(http)],
        what="the second task to say why it waits",
    )


def test_a_job_is_done_as_often_as_is_wished(docker: DockerCLI) -> None:
    wish = ("--name=job", "--mode=replicated-job", "--replicas=3", "--max-concurrent=2")
    make = ("service", "create", "--no-resolve-image", "--restart-delay=100ms", *wish, IMAGE)
    assert docker.out(*make, "sh", "-c", "echo done").endswith("job complete")
    listed = ("service", "ls", "--format", "{{.Mode}}: {{.Replicas}}")
    assert docker.out(*listed) == "replicated job: 0/2 (3/3 completed)"
    shown = docker.out("service", "ps", "job", "--format", "{{.DesiredState}} {{.CurrentState}}")
    assert [line.split()[:2] for line in shown.splitlines()] == [["Complete", "Complete"]] * 3
    assert docker.out("service", "logs", "--raw", "job").split() == ["done"] * 3
    docker("service", "update", "--no-resolve-image", "--force", "job")
    assert docker.out("service", "logs", "--raw", "job").split() == ["done"] * 6


def test_docker_py_makes_updates_and_removes_a_service(swarm: Host) -> None:
    client = docker_py.DockerClient(base_url=f"unix://{swarm.engine.socket}")
    service = client.services.create(
        IMAGE, ["sh", "-c", IDLE[3]], name="web", mode=docker_py.types.ServiceMode("replicated", 2)
    )
    until(
        lambda: [task["Status"]["State"] for task in service.tasks()] == ["running"] * 2,
        what="both tasks to run",
    )
    assert client.services.list(filters={"name": "we"})[0].name == "web"
    assert service.scale(1)
    until(lambda: len(service.tasks({"desired-state": "running"})) == 1, what="one task to go")
    service.remove()
    assert client.services.list() == []
    client.close()


def test_tasks_outlive_the_engine(swarm: Host, docker: DockerCLI, http: Http) -> None:
    docker("service", "create", *QUICK, "--name=web", "--replicas=2", *IDLE)
    before = sorted(docker.out("ps", "-q").split())
    swarm.engine.restart_killed()
    swarm.sees(swarm, "ready")
    until(lambda: states(http) == ["running"] * 2, what="the tasks to be known to run")
    assert sorted(docker.out("ps", "-q").split()) == before
    docker("service", "scale", "--detach", "web=3")
    until(lambda: len(docker.out("ps", "-q").split()) == 3, what="a third task to run")
