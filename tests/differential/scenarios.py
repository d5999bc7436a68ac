"""What both engines are asked. Each scenario begins on engines that hold busybox and nothing else."""

import json
from typing import Any
from urllib.parse import quote

from tests.differential.pair import Step


def filters(**wanted: Any) -> str:
    """A filters parameter."""
    return "filters=" + quote(json.dumps(wanted))


def create(name: str = "box", *, keep: str = "box", **body: Any) -> Step:
    """Create a container of busybox."""
    wish = {"Image": "busybox", "Cmd": ["sleep", "600"], **body}
    return Step("POST", f"/containers/create?name={name}", wish, keep=keep)


def host(**settings: Any) -> Step:
    """Create a container with these HostConfig settings (most are refused)."""
    return Step("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": settings})


START = Step("POST", "/containers/box/start")
LOOK = Step("GET", "/containers/box/json")
NEXT = Step("POST", "/containers/box/wait")
REMOVE = Step("DELETE", "/containers/box?force=1")


def run(script: str, **body: Any) -> list[Step]:
    """A container that runs `script` to its end."""
    return [create(Cmd=["sh", "-c", script], **body), START, NEXT]


SCENARIOS: dict[str, list[Step]] = {
    "ping and versions": [
        Step("GET", "/_ping"),
        Step("HEAD", "/_ping"),
        Step("GET", "/nowhere"),
        Step("PUT", "/containers/json"),
        Step("GET", "/containers/json/"),
    ],
    "a container from create to removal": [
        create(Env=["A=b"], Labels={"a": "b"}, WorkingDir="/tmp", User="1000"),
        LOOK,
        Step("GET", "/containers/json?all=1"),
        START,
        START,
        LOOK,
        Step("GET", "/containers/json"),
        Step("GET", "/containers/{box}/json"),
        Step("GET", "/containers/json?size=1"),
        Step("POST", "/containers/box/rename?name=other"),
        Step("POST", "/containers/other/kill?signal=KILL"),
        Step("POST", "/containers/other/wait"),
        Step("GET", "/containers/other/json"),
        Step("POST", "/containers/other/kill"),
        Step("POST", "/containers/other/stop"),
        Step("DELETE", "/containers/other"),
        Step("DELETE", "/containers/other"),
    ],
    "what an exited container looks like": [*run("exit 7"), LOOK, Step("GET", "/containers/json?all=1")],
    "restart, pause and their refusals": [
        create(StopTimeout=0),
        Step("POST", "/containers/box/pause"),
        START,
        Step("POST", "/containers/box/pause"),
        LOOK,
        Step("POST", "/containers/box/pause"),
        Step("POST", "/containers/box/stop?t=0"),
        START,
        Step("POST", "/containers/box/unpause"),
        Step("POST", "/containers/box/restart?t=0"),
        Step("POST", "/containers/box/kill?signal=NOPE"),
        Step("DELETE", "/containers/box"),
        Step("POST", "/containers/box/stop?t=x"),
        REMOVE,
    ],
    "starts that fail": [
        create(Cmd=["nosuchcmd"]),
        START,
        LOOK,
        REMOVE,
        create(Cmd=["/no/such"]),
        START,
        REMOVE,
        create(Cmd=["/etc"]),
        START,
        LOOK,
        REMOVE,
        create(User="nosuch"),
        START,
        REMOVE,
        create(HostConfig={"NetworkMode": "nope"}),
        START,
        REMOVE,
    ],
    "nothing by that name": [
        Step(method, path)
        for method, path in (
            ("GET", "/containers/nope/json"),
            ("POST", "/containers/nope/start"),
            ("POST", "/containers/nope/stop"),
            ("POST", "/containers/nope/restart"),
            ("POST", "/containers/nope/kill"),
            ("POST", "/containers/nope/pause"),
            ("POST", "/containers/nope/unpause"),
            ("POST", "/containers/nope/rename?name=xx"),
            ("POST", "/containers/nope/wait"),
            ("POST", "/containers/nope/resize?h=1&w=1"),
            ("DELETE", "/containers/nope"),
            ("GET", "/containers/nope/top"),
            ("GET", "/containers/nope/logs?stdout=1"),
            ("GET", "/images/nope/json"),
            ("GET", "/images/nope/history"),
            ("DELETE", "/images/nope"),
            ("POST", "/images/nope/tag?repo=x"),
            ("GET", "/volumes/nope"),
            ("DELETE", "/volumes/nope"),
            ("DELETE", "/volumes/nope?force=1"),
            ("GET", "/networks/nope"),
            ("DELETE", "/networks/nope"),
            ("GET", "/exec/nope/json"),
            ("POST", "/exec/nope/resize?h=1&w=1"),
        )
    ]
    + [
        Step("POST", "/containers/nope/exec", {"Cmd": ["true"]}),
        Step("POST", "/exec/nope/start", {}),
        Step("POST", "/containers/create", {"Image": "nope"}),
        Step("POST", "/containers/create", {"Image": "UP"}),
    ],
    "bodies that are none": [
        Step("POST", "/containers/create", b"{", {"Content-Type": "application/json"}),
        Step("POST", "/containers/create", b"", {"Content-Type": "application/json"}),
        Step("POST", "/containers/create", b"[]", {"Content-Type": "application/json"}),
        Step("POST", "/containers/create", b"{}", {"Content-Type": "text/plain"}),
        Step("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Memory": "5"}}),
        Step("POST", "/containers/create", {"Image": "busybox", "Tty": "true"}),
        Step("POST", "/containers/create", {"Image": "busybox", "Env": {"a": "b"}}),
        Step("POST", "/containers/create", {"image": "busybox", "cmd": "echo", "HOSTCONFIG": None}),
    ],
    "names": [
        create("a"),
        create("-a"),
        create("a%20b"),
        create("good"),
        create("good"),
        Step("POST", "/containers/good/rename?name="),
        Step("POST", "/containers/good/rename?name=good"),
        Step("POST", "/containers/good/rename?name=b"),
    ],
    "limits that are none": [
        host(Memory=1000),
        host(Memory=104857600, MemorySwap=52428800),
        host(MemorySwap=52428800),
        host(MemorySwappiness=101),
        host(Memory=104857600, MemoryReservation=209715200),
        host(NanoCpus=99_000_000_000),
        host(NanoCpus=1_000_000_000, CpuQuota=1000),
        host(CpuPeriod=5),
        host(CpuQuota=5),
        host(CpusetCpus="0-99"),
        host(CpusetCpus="x"),
        host(OomScoreAdj=2000),
        host(ShmSize=-1),
        host(CapAdd=["FOO"]),
        host(SecurityOpt=["foo"]),
        host(SecurityOpt=["foo=bar"]),
        host(RestartPolicy={"Name": "foo"}),
        host(RestartPolicy={"Name": "always", "MaximumRetryCount": 3}),
        host(AutoRemove=True, RestartPolicy={"Name": "always"}),
        host(LogConfig={"Type": "nope"}),
        host(LogConfig={"Type": "json-file", "Config": {"foo": "bar"}}),
        host(Runtime="nope"),
    ],
    "mounts that are none": [
        host(Binds=["a/b:/c"]),
        host(Binds=["/etc:c"]),
        host(Binds=["/etc:/"]),
        host(Binds=["/etc:/c:foo"]),
        host(Binds=["/etc:/c", "/tmp:/c"]),
        host(Binds=["a:b:c:d"]),
        host(Mounts=[{"Type": "bind", "Source": "/nope_x", "Target": "/c"}]),
        host(Mounts=[{"Source": "/etc", "Target": "/c"}]),
        host(Mounts=[{"Type": "volume"}]),
        host(Mounts=[{"Type": "foo", "Target": "/c"}]),
    ],
    "ports that are none": [
        host(PortBindings={"80/tcp": [{"HostPort": "99999"}]}),
        host(PortBindings={"x/tcp": [{"HostPort": "1"}]}),
        host(PortBindings={"80/foo": [{"HostPort": "1"}]}),
        host(NetworkMode="host", PortBindings={"80/tcp": [{"HostPort": "8080"}]}),
    ],
    "a published port": [
        create(
            ExposedPorts={"80/tcp": {}, "81/udp": {}},
            HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
        ),
        LOOK,
        START,
        LOOK,
        Step("GET", "/containers/json"),
        create(
            "two",
            keep="two",
            ExposedPorts={"80/tcp": {}},
            HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
        ),
        Step("POST", "/containers/two/start"),
        Step("GET", "/containers/two/json"),
    ],
    "networks of a container": [
        create("none", keep="n", HostConfig={"NetworkMode": "none"}),
        Step("POST", "/containers/none/start"),
        Step("GET", "/containers/none/json"),
        create("host", keep="h", HostConfig={"NetworkMode": "host"}),
        Step("POST", "/containers/host/start"),
        Step("GET", "/containers/host/json"),
        create("shared", keep="s", HostConfig={"NetworkMode": "container:none"}),
        Step("POST", "/containers/shared/start"),
        Step("GET", "/containers/shared/json"),
        Step("GET", "/networks", unordered=True),
        Step("GET", "/networks/bridge"),
        Step("GET", "/networks/host"),
        Step("GET", "/networks/none"),
        Step("GET", "/networks?" + filters(driver=["bridge"])),
        Step("GET", "/networks?" + filters(foo=["x"])),
        Step("DELETE", "/networks/bridge"),
    ],
    "lists and their filters": [
        create("one", keep="one", Labels={"a": "1"}),
        create("two", keep="two", Labels={"a": "2"}),
        Step("POST", "/containers/two/start"),
        *(
            Step("GET", f"/containers/json?all=1&{filters(**wanted)}")
            for wanted in (
                {"status": ["created"]},
                {"status": {"running": True}},
                {"status": ["bogus"]},
                {"bogus": ["x"]},
                {"label": ["a=1"]},
                {"name": ["o"]},
                {"before": ["two"]},
                {"since": ["one"]},
                {"ancestor": ["busybox"]},
                {"exited": ["x"]},
                {"volume": ["x"]},
                {"network": ["bridge"]},
                {"is-task": ["false"]},
                {"health": ["none"]},
            )
        ),
        Step("GET", "/containers/json?limit=1"),
        Step("GET", "/containers/json?limit=x"),
        Step("GET", "/containers/json?filters=%7B"),
        Step("POST", "/containers/prune?" + filters(label=["none"])),
        Step("POST", "/containers/prune?" + filters(foo=["x"])),
    ],
    "logs": [
        *run("echo one; echo two >&2; sleep 0.2; echo three"),
        Step("GET", "/containers/box/logs"),
        Step("GET", "/containers/box/logs?stdout=1"),
        Step("GET", "/containers/box/logs?stderr=1"),
        Step("GET", "/containers/box/logs?stdout=1&tail=1"),
        Step("GET", "/containers/box/logs?stdout=1&tail=0"),
        Step("GET", "/containers/box/logs?stdout=1&tail=x"),
        Step("GET", "/containers/box/logs?stdout=1&since=x"),
        Step("GET", "/containers/box/logs?stdout=1&since=9999999999"),
        Step("GET", "/containers/box/logs?stdout=1&until=1"),
        Step("GET", "/containers/box/logs?stdout=1&follow=1"),
    ],
    "exec": [
        create(),
        Step("POST", "/containers/box/exec", {"Cmd": ["true"]}),
        START,
        Step("POST", "/containers/box/exec", {"Cmd": []}),
        Step("POST", "/containers/box/exec", {"Cmd": ["true"], "Env": ["A=b"]}, keep="exec"),
        Step("GET", "/exec/{exec}/json"),
        Step("POST", "/exec/{exec}/start", {"Detach": True}),
        Step("POST", "/containers/box/exec", {"Cmd": ["nosuch"]}, keep="bad"),
        Step("POST", "/exec/{bad}/start", {"Detach": True}),
        Step("POST", "/containers/box/exec", {"Cmd": ["sh"], "User": "nosuch"}, keep="user"),
        Step("POST", "/exec/{user}/start", {"Detach": True}),
        Step("POST", "/containers/box/exec", {"Cmd": ["sh"], "DetachKeys": "foo"}),
    ],
    "top": [
        create(),
        Step("GET", "/containers/box/top"),
        START,
        Step("GET", "/containers/box/top?ps_args=-o%20pid,args"),
    ],
    "volumes": [
        Step("GET", "/volumes"),
        Step("POST", "/volumes/create", {"Name": "kept", "Labels": {"a": "b"}}),
        Step("POST", "/volumes/create", {"Name": "kept"}),
        Step("POST", "/volumes/create", {"Name": "a/b"}),
        Step("POST", "/volumes/create", {"Name": "xx", "Driver": "nope"}),
        Step("POST", "/volumes/create", {"Name": "xx", "DriverOpts": {"foo": "bar"}}),
        Step("GET", "/volumes/kept"),
        create(HostConfig={"Binds": ["kept:/v", "/tmp:/host:ro"]}, Volumes={"/anonymous": {}}),
        LOOK,
        START,
        Step("DELETE", "/volumes/kept"),
        Step("GET", "/volumes?" + filters(dangling=["true"])),
        Step("GET", "/volumes?" + filters(label=["a=b"])),
        Step("GET", "/volumes?" + filters(foo=["x"])),
        Step("DELETE", "/containers/box?force=1&v=1"),
        Step("GET", "/volumes"),
        Step("DELETE", "/volumes/kept"),
        Step("POST", "/volumes/prune?" + filters(label=["none"])),
    ],
    "images": [
        Step("GET", "/images/json"),
        Step("GET", "/images/busybox/json"),
        Step("GET", "/images/busybox/history"),
        Step("POST", "/images/busybox/tag?repo=other&tag=1"),
        Step("POST", "/images/busybox/tag?repo=UP"),
        Step("POST", "/images/busybox/tag?repo=x&tag=-bad"),
        Step("GET", "/images/json?" + filters(reference=["other"])),
        Step("GET", "/images/json?" + filters(dangling=["maybe"])),
        Step("GET", "/images/json?" + filters(foo=["x"])),
        Step("DELETE", "/images/other:1"),
        create(),
        Step("DELETE", "/images/busybox"),
        Step("POST", "/images/create?fromImage=UP"),
        Step("POST", "/images/create"),
        Step("POST", "/images/create?fromImage=127.0.0.1:9/x&tag=y"),
        Step("POST", "/images/create?fromSrc=-", b"no tar", {"Content-Type": "application/x-tar"}),
        Step("POST", "/images/load", b"no tar", {"Content-Type": "application/x-tar"}),
        Step("POST", "/images/prune?" + filters(dangling=["maybe"])),
        Step("POST", "/images/prune?" + filters(label=["none"])),
    ],
    "events": [
        Step("GET", "/events?since=abc&until=1"),
        Step("GET", "/events?since=10&until=5"),
        Step("GET", "/events?since=1&until=2"),
    ],
}
