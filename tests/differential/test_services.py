"""The same wishes for services to dockerd and to us: what is kept, what is told, and what is refused.

No task runs: services have no replicas. What differs on purpose is listed with its reason.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.engines import Daemon, Engine, Reference
from tests.support.waiting import until

ADDRESS = "10.99.0.1"
CONTAINER = {"Image": "busybox:latest", "Command": ["sleep", "1000"]}


class SwarmReference(Reference):
    """dockerd refuses a swarm while its containers are to survive it."""

    def command(self) -> list[str]:
        return [word for word in super().command() if word != "--live-restore"]


def service(**more: Any) -> dict[str, Any]:
    return {
        "Name": "x",
        "TaskTemplate": {"ContainerSpec": CONTAINER},
        "Mode": {"Replicated": {"Replicas": 0}},
        **more,
    }


def task(**more: Any) -> dict[str, Any]:
    return service(TaskTemplate={"ContainerSpec": CONTAINER, **more})


def container(**more: Any) -> dict[str, Any]:
    return task(ContainerSpec={**CONTAINER, **more})


def mount(**more: Any) -> dict[str, Any]:
    return container(Mounts=[{"Target": "/a", **more}])


def secret(*files: Any) -> dict[str, Any]:
    return container(
        Secrets=[{"SecretName": f"s{n}", "SecretID": f"i{n}", **file} for n, file in enumerate(files)]
    )


def config(*files: Any) -> dict[str, Any]:
    return container(
        Configs=[{"ConfigName": f"c{n}", "ConfigID": f"i{n}", **file} for n, file in enumerate(files)]
    )


def published(mode: str = "", **port: Any) -> dict[str, Any]:
    return service(EndpointSpec={"Mode": mode, "Ports": [port]})


EVERYTHING = {
    "Env": ["A=1", "B={{.Task.Slot}}"],
    "Dir": "/x",
    "User": "1",
    "Groups": ["2"],
    "Hostname": "{{.Node.Hostname}}",
    "Labels": {"l": "m"},
    "TTY": True,
    "OpenStdin": True,
    "ReadOnly": True,
    "StopSignal": "SIGINT",
    "StopGracePeriod": 5,
    "Hosts": ["1.2.3.4 a"],
    "DNSConfig": {"Nameservers": ["8.8.8.8"], "Search": ["s"], "Options": ["o"]},
    "Init": True,
    "Sysctls": {"a": "b"},
    "CapabilityAdd": ["NET_ADMIN"],
    "CapabilityDrop": ["ALL"],
    "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
    "Privileges": {"SELinuxContext": {"Disable": True}},
}
PLACEMENT = {
    "Constraints": ["node.role==manager"],
    "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.a"}}, {}],
    "Platforms": [{"OS": "linux", "Architecture": "amd64"}, {}],
    "MaxReplicas": 3,
}
RESOURCES = {
    "Limits": {"NanoCPUs": 500000000, "MemoryBytes": 10**8, "Pids": 5},
    "Reservations": {
        "NanoCPUs": 10**8,
        "MemoryBytes": 10**7,
        "GenericResources": [
            {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}},
            {"NamedResourceSpec": {"Kind": "x", "Value": "y"}},
        ],
    },
}
UPDATE = {
    "Parallelism": 2,
    "Delay": 5,
    "FailureAction": "rollback",
    "Monitor": 7,
    "MaxFailureRatio": 0.5,
    "Order": "start-first",
}
WISHES: list[Any] = [
    service(),
    service(Mode={}),
    service(Mode={"Global": {}}),
    service(Mode={"Replicated": {}}),
    service(Mode={"Replicated": {"Replicas": -1}}),
    service(Mode={"Replicated": {"Replicas": "x"}}),
    service(Mode={"Replicated": {"Replicas": 1}, "Global": {}}),
    service(Labels=None),
    service(Labels={"a": "b"}),
    service(Labels=[]),
    service(Name="a_b-c"),
    service(Name="a."),
    service(Name="-a"),
    service(Name="a" * 64),
    {"Name": 5},
    {"Mode": 5},
    {},
    [],
    "x",
    service(TaskTemplate=5),
    service(TaskTemplate={"PluginSpec": {"Name": "a"}}),
    service(TaskTemplate={"PluginSpec": {"Name": "a"}, "Runtime": "plugin"}),
    container(**EVERYTHING),
    container(Env=[]),
    container(Env="x"),
    container(Command="sleep"),
    container(StopGracePeriod="5s"),
    container(DNSConfig={}),
    container(Init=False),
    container(Isolation="hyperv"),
    container(Isolation="foo"),
    container(Image=""),
    container(Image="UP"),
    container(Image="a:b:c"),
    container(Image="busybox@sha256:1"),
    container(Healthcheck={}),
    container(Healthcheck={"Test": ["NONE"]}),
    container(Healthcheck={"Test": ["CMD", "x"], "Interval": 10**9, "Retries": 3, "StartPeriod": 10**9}),
    container(Healthcheck={"Interval": 1}),
    container(Healthcheck={"Retries": -1}),
    container(Privileges={}),
    container(Privileges={"CredentialSpec": {}}),
    container(Privileges={"CredentialSpec": {"File": "a", "Registry": "b"}}),
    container(Privileges={"CredentialSpec": {"File": "a", "Registry": "b", "Config": "c"}}),
    mount(),
    mount(Type="foo"),
    mount(Type="npipe"),
    mount(Type="tmpfs", TmpfsOptions={"SizeBytes": 100, "Mode": 511}),
    mount(Type="bind", Source="/tmp", BindOptions={}),
    mount(Type="bind", Source="/tmp", BindOptions={"Propagation": "rshared"}),
    mount(Type="bind", Source="/tmp", BindOptions={"Propagation": "foo"}),
    mount(Type="volume", Source="v", VolumeOptions={}),
    mount(
        Type="volume",
        VolumeOptions={
            "NoCopy": True,
            "Labels": {"a": "b"},
            "DriverConfig": {"Name": "d", "Options": {"o": "1"}},
        },
    ),
    container(Mounts=[{"Target": "/a"}, {"Target": "/a"}]),
    secret({}),
    secret({"SecretID": ""}),
    secret({"File": {}}),
    secret({"File": {"Name": "f"}}, {"File": {"Name": "f"}}),
    secret({"File": {"Name": "f"}}, {"File": {"Name": "g"}}),
    config({}),
    config({"File": {}}),
    config({"File": {"Name": "f"}}),
    config({"Runtime": {}}),
    config({"Runtime": {}, "File": {"Name": "f"}}),
    task(Resources={}),
    task(Resources={"Limits": {}}),
    task(Resources=RESOURCES),
    task(Resources={"Reservations": {"MemoryBytes": 1}}),
    task(Resources={"Reservations": {"NanoCPUs": 1}}),
    task(Resources={"Limits": {"MemoryBytes": -1}}),
    task(Resources={"Limits": {"NanoCPUs": 999999}}),
    task(RestartPolicy={}),
    task(RestartPolicy={"Condition": "on-failure", "Delay": 1, "MaxAttempts": 2, "Window": 3}),
    task(RestartPolicy={"Condition": "foo"}),
    task(RestartPolicy={"Delay": -1}),
    task(RestartPolicy={"Window": -1}),
    task(RestartPolicy={"MaxAttempts": -1}),
    task(Placement={}),
    task(Placement=PLACEMENT),
    task(Placement={"Constraints": ["node.id"]}),
    task(Placement={"Constraints": ["node.id==a b c"]}),
    task(Placement={"Constraints": ["=="]}),
    task(Placement={"Constraints": ["aa==b"]}),
    task(LogDriver={}),
    task(LogDriver={"Name": "json-file", "Options": {"a": "b"}}),
    task(ForceUpdate=3),
    task(Runtime="container"),
    task(Runtime="foo"),
    task(Runtime="attachment"),
    task(Runtime="plugin"),
    task(Networks=[]),
    task(Networks=[{"Target": "ingress"}]),
    task(Networks=[{"Target": "nope"}]),
    task(Networks=[{"Target": "none"}]),
    task(Networks=[{"Target": "ov", "Aliases": ["a"]}]),
    service(Networks=[{"Target": "ov"}]),
    service(UpdateConfig={}),
    service(UpdateConfig=UPDATE, RollbackConfig={"FailureAction": "continue"}),
    service(UpdateConfig={"Parallelism": -1}),
    service(UpdateConfig={"Delay": -1}),
    service(UpdateConfig={"Monitor": -1}),
    service(UpdateConfig={"MaxFailureRatio": 1.5}),
    service(UpdateConfig={"MaxFailureRatio": "x"}),
    service(UpdateConfig={"FailureAction": "foo"}),
    service(UpdateConfig={"Order": "x"}),
    service(RollbackConfig={"FailureAction": "foo"}),
    service(EndpointSpec={"Mode": "dnsrr"}),
    published(TargetPort=80),
    published(TargetPort=80, PublishedPort=8080, Protocol="udp", PublishMode="host", Name="n"),
    published("dnsrr", TargetPort=80, PublishMode="ingress"),
    published("foo", TargetPort=80),
    published(TargetPort=-1),
]


@pytest.fixture(scope="module")
def swarms() -> Iterator[tuple[Daemon, Daemon]]:
    """One swarm of one node each, with a network `ov`."""
    engines = (Engine(), SwarmReference())
    try:
        for engine in engines:
            for line in (
                "link add outside type bridge",
                f"addr add {ADDRESS}/24 dev outside",
                "link set outside up",
            ):
                subprocess.run(["ip", "-n", engine.net.name, *line.split()], check=True)
            engine.start()
            made = engine.http(
                "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": ADDRESS}
            )
            assert made.status == 200, made
            assert engine.http("POST", "/networks/create", {"Name": "ov", "Driver": "overlay"}).status == 201
        yield engines
    finally:
        for engine in engines:
            if engine.process and engine.answers():
                engine.http("POST", "/swarm/leave?force=1")
            engine.close()


def told(engine: Daemon, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and body, with what differs from one run to the next made equal."""
    answer = engine.http(method, path, body)
    text = json.dumps(answer.json, sort_keys=True)
    for pattern, name in (
        (r"\b[a-z0-9]{25}\b", "<id>"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>"),
        (r'"Index": \d+', '"Index": 0'),
        (r": (\d+)\.0\b", r": \1"),  # the same number in JSON
        (r'"(Addr|PublishedPort)": ("[0-9./]+"|3\d{4})', r'"\1": "<given>"'),
    ):
        text = re.sub(pattern, name, text)
    return answer.status, text


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: json.dumps(wish)[:90])
def test_a_service_is_kept_told_and_refused_alike(swarms: tuple[Daemon, Daemon], wish: Any) -> None:
    ours, reference = swarms
    try:
        made = [told(engine, "POST", "/services/create", wish) for engine in swarms]
        assert made[0] == made[1]
        if made[0][0] != 201:
            return
        name = wish.get("Name", "x")
        for path in (f"/services/{name}", f"/services/{name}?insertDefaults=true"):
            until(
                lambda path=path: told(ours, "GET", path) == told(reference, "GET", path),  # type: ignore[misc]
                what="both to tell the same",
            )
    except AssertionError:
        name = wish.get("Name", "x") if isinstance(wish, dict) else "x"
        assert told(ours, "GET", f"/services/{name}") == told(reference, "GET", f"/services/{name}")
        raise
    finally:
        for engine in swarms:
            for each in engine.http.ok("GET", "/services"):
                engine.http("DELETE", f"/services/{each['ID']}")


REFUSED_HERE_ONLY = [
    (service(RollbackConfig={"Delay": -1}), "dockerd looks at the settings of updates only"),
    (
        published(TargetPort=80, PublishedPort=70000),
        "dockerd's service never gets its port",
    ),
    (published(TargetPort=0), "dockerd publishes a port that leads nowhere"),
    (published(TargetPort=80, Protocol="foo"), "dockerd makes it tcp"),
]


@pytest.mark.parametrize(("wish", "reason"), REFUSED_HERE_ONLY, ids=lambda each: json.dumps(each)[-60:])
def test_what_cannot_be_is_refused_where_dockerd_takes_it(
    swarms: tuple[Daemon, Daemon], wish: Any, reason: str
) -> None:
    ours, reference = swarms
    try:
        assert ours.http("POST", "/services/create", wish).status == 400
        assert reference.http("POST", "/services/create", wish).status == 201, reason
    finally:
        for each in reference.http.ok("GET", "/services"):
            reference.http("DELETE", f"/services/{each['ID']}")
