"""Fields that concern the process: who it is, what it may, what it is limited to."""

import json
import re
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.inside import inside, made, refused, running

STATUS = "grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups)' /proc/self/status"

SEEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "Ulimits": (
        {"Ulimits": [{"Name": "nofile", "Soft": 500, "Hard": 700}]},
        "ulimit -Sn; ulimit -Hn",
        "500\n700",
    ),
    "Ulimits, core": ({"Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}]}, "ulimit -c", "0"),
    "OomScoreAdj": ({"OomScoreAdj": 321}, "cat /proc/self/oom_score_adj", "321"),
    "GroupAdd": ({"GroupAdd": ["4711", "app"]}, "id -G", "0 .*4711"),
    "CapAdd": ({"CapAdd": ["NET_ADMIN"]}, STATUS, ".*CapEff:\t00000000a80435fb.*"),
    "CapAdd, ALL": ({"CapAdd": ["ALL"]}, STATUS, ".*CapEff:\t000001ff[0-9a-f]{8}.*"),
    "CapDrop": ({"CapDrop": ["cap_chown"]}, STATUS, ".*CapEff:\t00000000a80425fa.*"),
    "CapDrop, ALL": ({"CapDrop": ["ALL"]}, STATUS, ".*CapEff:\t0{16}.*"),
    "Privileged, capabilities": (
        {"Privileged": True},
        STATUS,
        ".*CapEff:\t000001ff[0-9a-f]{8}.*Seccomp:\t0.*",
    ),
    "Privileged, devices": ({"Privileged": True}, "ls /dev", ".*kmsg.*"),
    "Privileged, /sys": ({"Privileged": True}, "grep ' /sys sysfs ' /proc/mounts", "[^ ]+ /sys sysfs rw,.*"),
    "SecurityOpt, no-new-privileges": (
        {"SecurityOpt": ["no-new-privileges"]},
        STATUS,
        ".*NoNewPrivs:\t1.*",
    ),
    "SecurityOpt, seccomp unconfined": (
        {"SecurityOpt": ["seccomp=unconfined"]},
        STATUS,
        ".*Seccomp:\t0.*",
    ),
    "SecurityOpt, systempaths": (
        {"SecurityOpt": ["systempaths=unconfined"]},
        "grep -c ' /proc/[a-z]' /proc/mounts",
        "0",
    ),
    "Init": ({"Init": True}, "cat /proc/1/cmdline | tr '\\0' ' '", "/sbin/docker-init -- sh -c .*"),
    "Runtime": ({"Runtime": "runc"}, "echo up", "up"),
    "Isolation": ({"Isolation": "default"}, "echo up", "up"),
    "MaskedPaths, of one's own": (
        {"MaskedPaths": ["/etc/passwd", "/root"]},
        "cat /etc/passwd; ls /root; grep -c ' /proc/[a-z]* tmpfs' /proc/mounts",
        "0",
    ),
    "ReadonlyPaths, of one's own": (
        {"ReadonlyPaths": ["/home"]},
        "touch /home/x; grep -c ' /proc/sys ' /proc/mounts",
        "0\ntouch: /home/x: Read-only file system",
    ),
    "SecurityOpt, label disabled": ({"SecurityOpt": ["label=disable"]}, "echo up", "up"),
    "SecurityOpt, the old separator": ({"SecurityOpt": ["seccomp:unconfined"]}, STATUS, ".*Seccomp:\t0.*"),
    "ReadonlyRootfs": ({"ReadonlyRootfs": True}, "touch /x", ".*Read-only file system"),
}


@pytest.mark.parametrize(("host", "command", "text"), SEEN.values(), ids=SEEN)
def test_a_field_acts(http: Http, host: dict[str, Any], command: str, text: str) -> None:
    told = inside(http, command, host)
    assert re.fullmatch(text, told, re.DOTALL), told


USERS = [
    ("1234", "1234 0"),
    ("1234:4321", "1234 4321"),
    ("app", "1000 1000"),
    ("app:mail", "1000 8"),
    ("1000:8", "1000 8"),
    ("0", "0 0"),
]


@pytest.mark.parametrize(("user", "ids"), USERS)
def test_user_is_taken_in_all_its_forms(http: Http, user: str, ids: str) -> None:
    known = inside(http, "cat /etc/passwd /etc/group")
    if ("app" in user and "app" not in known) or ("mail" in user and "mail" not in known):
        pytest.skip(f"the image has no {user}")
    assert inside(http, "echo $(id -u) $(id -g)", User=user) == ids


def test_a_seccomp_profile_of_ones_own_acts(http: Http) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    host = {"SecurityOpt": [f"seccomp={json.dumps(profile)}"]}
    assert "Operation not permitted" in inside(http, "mkdir /x", host)
    assert inside(http, "touch /x && echo fine", host) == "fine"


def test_init_buries_orphans(http: Http, docker: DockerCLI) -> None:
    cid = running(http, "(sleep 0.01 &); sleep 600", {"Init": True})
    docker("exec", cid, "sleep", "0.1")
    assert "Z" not in docker.out("exec", cid, "ps", "-o", "stat")


def test_init_passes_the_stop_signal_on(http: Http, docker: DockerCLI) -> None:
    cid = running(http, "trap 'exit 5' USR1; while :; do sleep 0.02; done", {"Init": True}, StopSignal="USR1")
    docker("exec", cid, "sleep", "0.1")
    docker("stop", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 5


def test_stop_timeout_is_how_long_a_stop_waits(http: Http, docker: DockerCLI) -> None:
    cid = running(http, "trap '' TERM; while :; do sleep 0.05; done", StopTimeout=1)
    docker("exec", cid, "sleep", "0.1")
    docker("stop", cid)
    assert docker.inspect(cid)["State"]["ExitCode"] == 137


def test_a_device_is_there_with_the_rights_it_was_given(http: Http) -> None:
    device = {"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/other"}
    command = "ls -l /dev/other; : > /dev/other && echo opened"
    told = inside(http, command, {"Devices": [{**device, "CgroupPermissions": "r"}]})
    assert re.search(r"^c.* 1, +11 .* /dev/other", told)
    assert "opened" not in told
    assert "Operation not permitted" in told
    assert "opened" in inside(http, command, {"Devices": [{**device, "CgroupPermissions": "rwm"}]})


def test_a_device_rule_lets_a_node_be_used(http: Http) -> None:
    command = "mknod /tmp/k c 1 11 && : > /tmp/k && echo opened"  # the node of kmsg
    assert "Operation not permitted" in inside(http, command)
    assert inside(http, command, {"DeviceCgroupRules": ["c 1:11 rwm"]}) == "opened"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"Cmd": ["echo", "one", "two"]}, "one two"),
        ({"Cmd": "echo"}, ""),
        ({"Entrypoint": ["echo", "one"], "Cmd": ["two"]}, "one two"),
        ({"Entrypoint": "echo", "Cmd": None}, ""),
        ({"Entrypoint": [""], "Cmd": ["echo", "alone"]}, "alone"),
        (
            {"Env": ["A=b", "EMPTY=", "GONE"], "Cmd": ["sh", "-c", "echo $A-${EMPTY-unset}-${GONE-unset}"]},
            "b--unset",
        ),
        ({"WorkingDir": "/deep/../made", "Cmd": ["pwd"]}, "/made"),
    ],
    ids=str,
)
def test_what_runs_is_what_was_wished(http: Http, config: dict[str, Any], told: str) -> None:
    assert inside(http, "never", **config) == told


@pytest.mark.beyond_dockerd
def test_a_terminal_has_the_size_that_was_wished_from_the_first_moment(http: Http, engine: Daemon) -> None:
    newest = Http(engine.socket, prefix="/v1.44")
    wish = {"Image": "busybox", "Cmd": ["stty", "size"], "Tty": True, "HostConfig": {"ConsoleSize": [41, 99]}}
    cid = newest.ok("POST", "/containers/create", wish)["Id"]
    newest.ok("POST", f"/containers/{cid}/start")
    newest.ok("POST", f"/containers/{cid}/wait")
    assert newest("GET", f"/containers/{cid}/logs?stdout=1").body == b"41 99\r\n"
    for size in ([1], [1, -1], [1, 70000]):
        text = f"invalid ConsoleSize: {size}: it is made of rows and columns"
        assert refused(newest, {"ConsoleSize": size}) == (400, text)


@pytest.mark.beyond_dockerd
def test_annotations_reach_the_runtime(http: Http, engine: Daemon) -> None:
    newest = Http(engine.socket, prefix="/v1.44")
    cid = running(newest, host={"Annotations": {"org.example.note": "kept"}})
    bundle = json.loads((engine.exec / "c" / cid / "config.json").read_text())
    assert bundle["annotations"]["org.example.note"] == "kept"


def test_what_only_clients_use_is_kept_as_it_came(http: Http) -> None:
    config = {
        "Image": "busybox:latest",
        "AttachStdin": True,
        "AttachStdout": False,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "ArgsEscaped": True,
        "OnBuild": ["RUN true"],
        "Labels": {"a": "b", "empty": ""},
    }
    body = {**config, "Cmd": ["true"], "HostConfig": {"ContainerIDFile": "/tmp/id"}}
    cid = http.ok("POST", "/containers/create", body)["Id"]
    shown = http.ok("GET", f"/containers/{cid}/json")
    assert {name: shown["Config"][name] for name in config} == config
    assert shown["HostConfig"]["ContainerIDFile"] == "/tmp/id"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "Ulimits, soft over hard": (
        {"Ulimits": [{"Name": "nofile", "Soft": 20, "Hard": 10}]},
        {},
        "ulimit soft limit must be less than or equal to hard limit: 20 > 10",
    ),
    "Ulimits, unknown": ({"Ulimits": [{"Name": "foo"}]}, {}, "invalid ulimit type: foo"),
    "OomScoreAdj": (
        {"OomScoreAdj": 2000},
        {},
        r"Invalid value 2000, range for oom score adj is \[-1000, 1000\]",
    ),
    "CapAdd": ({"CapAdd": ["FOO"]}, {}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
    "CapDrop": ({"CapDrop": ["FOO"]}, {}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
    "SecurityOpt": ({"SecurityOpt": ["foo=bar"]}, {}, 'invalid --security-opt 2: "foo=bar"'),
    "SecurityOpt, seccomp": (
        {"SecurityOpt": ["seccomp=xx"]},
        {},
        "Decoding seccomp profile failed: invalid character 'x' looking for beginning of value",
    ),
    "Devices": (
        {"Devices": [{"PathOnHost": "/nope"}]},
        {},
        'error gathering device information while adding custom device "/nope": no such file or directory',
    ),
    "Devices, rights": (
        {"Devices": [{"PathOnHost": "/dev/zero", "CgroupPermissions": "zz"}]},
        {},
        ".*zz.*",
    ),
    "DeviceCgroupRules": (
        {"DeviceCgroupRules": ["foo"]},
        {},
        "invalid device cgroup rule format: 'foo'",
    ),
    "Runtime": ({"Runtime": "nope"}, {}, "Unknown runtime specified nope"),
    "Isolation": ({"Isolation": "foo"}, {}, "Invalid isolation: \"foo\" - linux only supports 'default'"),
    "StorageOpt": ({"StorageOpt": {"foo": "1G"}}, {}, "Unknown option foo"),
    "StorageOpt, size": (
        {"StorageOpt": {"size": "1G"}},
        {},
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ),
    "MaskedPaths": (
        {"MaskedPaths": ["proc"]},
        {},
        "the path 'proc' is invalid, it needs to be an absolute path",
    ),
    "DeviceRequests": (
        {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]},
        {},
        r'could not select device driver "" with capabilities: \[\[gpu\]\]',
    ),
    "DeviceRequests, of a driver": (
        {"DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": ["0"], "Options": {"a": "b"}}]},
        {},
        r'could not select device driver "nvidia" with capabilities: \[\]',
    ),
    "SecurityOpt, label": (
        {"SecurityOpt": ["label=type:x_t"]},
        {},
        'SELinux labels cannot be set here: "label=type:x_t"',
    ),
    "SecurityOpt, AppArmor where there is none": (
        {"SecurityOpt": ["apparmor=mine"]},
        {},
        ".*AppArmor.*|.*apparmor.*",
    ),
    "Cgroup": (
        {"Cgroup": "container:x"},
        {},
        "invalid cgroup mode: container:x: a container always has a cgroup of its own",
    ),
    "GroupAdd": (
        {"GroupAdd": ["nogrp"]},
        {},
        "Unable to find group nogrp: no matching entries in group file",
    ),
    "User": ({}, {"User": "nope"}, "unable to find user nope: no matching entries in passwd file"),
    "StopSignal": ({}, {"StopSignal": "FOO"}, "Invalid signal: FOO"),
    "StopSignal, no such number": ({}, {"StopSignal": "99"}, "Invalid signal: 99"),
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("host", "config", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(
    http: Http, host: dict[str, Any], config: dict[str, Any], text: str
) -> None:
    status, told = refused(http, host, **config)
    assert re.fullmatch(text, told), told
    assert status == 400


@pytest.mark.beyond_dockerd
def test_what_root_itself_may_not_is_refused_in_clear_words(http: Http) -> None:
    if "CapEff:\t000001ffffffffff" in inside(http, STATUS, {"Privileged": True}):
        pytest.skip("this root may everything")
    for host, word in (
        ({"OomScoreAdj": -500}, "oom"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 2**30, "Hard": 2**30}]}, "rlimit|ulimit"),
    ):
        _, told = refused(http, host)
        assert re.search(word, told, re.IGNORECASE), told
        assert "EOF" not in told


@pytest.mark.beyond_dockerd
def test_capabilities_that_nobody_here_has_are_told_and_left_out(http: Http) -> None:
    if "CapEff:\t000001ffffffffff" in inside(http, STATUS, {"Privileged": True}):
        pytest.skip("this root may everything")
    answer = http.ok("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Privileged": True}})
    assert "CAP_SYS_RESOURCE" in answer["Warnings"][0]
    assert made(http, "true", {"CapAdd": ["SYS_RESOURCE"]})
