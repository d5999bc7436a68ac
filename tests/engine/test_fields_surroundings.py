"""Fields that concern what surrounds the process: names, files, mounts and namespaces."""

import os
import re
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.http import Http
from tests.support.inside import inside, refused, running

SEEN: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "Hostname": ({}, {"Hostname": "one"}, "hostname; cat /etc/hostname", "one\none"),
    "Hostname, by default": ({}, {}, "hostname", "[0-9a-f]{12}"),
    "Domainname": (
        {},
        {"Hostname": "one", "Domainname": "example.org"},
        "cat /proc/sys/kernel/domainname; tail -1 /etc/hosts",
        r"example.org\n[0-9.]+\tone.example.org one",
    ),
    "ExtraHosts": (
        {"ExtraHosts": ["other:192.0.2.7"]},
        {},
        "grep other /etc/hosts",
        "192.0.2.7\tother",
    ),
    "ExtraHosts, host-gateway": (
        {"ExtraHosts": ["host:host-gateway"]},
        {},
        "grep 'host$' /etc/hosts | grep -v local",
        r"172.17.0.1\thost",
    ),
    "Dns": ({"Dns": ["192.0.2.53"]}, {}, "cat /etc/resolv.conf", ".*nameserver 192.0.2.53.*"),
    "DnsSearch": (
        {"DnsSearch": ["example.org"]},
        {},
        "cat /etc/resolv.conf",
        ".*search example.org.*",
    ),
    "DnsOptions": (
        {"DnsOptions": ["ndots:3"]},
        {},
        "cat /etc/resolv.conf",
        ".*options ndots:3.*",
    ),
    "ShmSize": ({"ShmSize": 32 << 20}, {}, "df -k /dev/shm | tail -1", "shm +32768 .*"),
    "ShmSize, by default": ({}, {}, "df -k /dev/shm | tail -1", "shm +65536 .*"),
    "Tmpfs": (
        {"Tmpfs": {"/scratch": "size=1m,mode=1770"}},
        {},
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch",
        r"tmpfs /scratch tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=1770.*\n1770",
    ),
    "Tmpfs, below a read-only root": (
        {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": ""}},
        {},
        "touch /tmp/x && echo fine",
        "fine",
    ),
    "Sysctls, of the network": (
        {"Sysctls": {"net.ipv4.ip_forward": "1"}},
        {},
        "cat /proc/sys/net/ipv4/ip_forward",
        "1",
    ),
    "Sysctls, of ipc": (
        {"Sysctls": {"kernel.msgmax": "9999"}},
        {},
        "cat /proc/sys/kernel/msgmax",
        "9999",
    ),
    "IpcMode, none": ({"IpcMode": "none"}, {}, "grep -c ' /dev/shm ' /proc/mounts", "0"),
    "UTSMode, host": (
        {"UTSMode": "host"},
        {},
        "cat /proc/sys/kernel/hostname",
        re.escape(os.uname().nodename),
    ),
}


@pytest.mark.parametrize(("host", "config", "command", "text"), SEEN.values(), ids=SEEN)
def test_a_field_acts(
    http: Http, host: dict[str, Any], config: dict[str, Any], command: str, text: str
) -> None:
    told = inside(http, command, host, **config)
    assert re.fullmatch(text, told, re.DOTALL), told


def namespace(http: Http, kind: str, host: Any = None) -> str:
    return inside(http, f"readlink /proc/self/ns/{kind}", host)


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.parametrize("mode", ["private", "shareable"])
def test_ipc_is_a_containers_own_unless_it_is_shared(http: Http, mode: str) -> None:
    assert namespace(http, "ipc", {"IpcMode": mode}) != own("ipc")


def test_a_cgroup_namespace_of_its_own_hides_where_it_is(http: Http) -> None:
    assert namespace(http, "cgroup", {"CgroupnsMode": "private"}) != own("cgroup")
    assert re.search(r"memory:/$", inside(http, "cat /proc/self/cgroup", {"CgroupnsMode": "private"}), re.M)
    assert namespace(http, "cgroup", {"CgroupnsMode": "host"}) == own("cgroup")


@pytest.mark.parametrize(
    ("field", "kind"), [("IpcMode", "ipc"), ("PidMode", "pid"), ("UTSMode", "uts"), ("UsernsMode", "user")]
)
def test_a_namespace_of_the_host_is_used_when_asked(http: Http, field: str, kind: str) -> None:
    assert namespace(http, kind, {field: "host"}) == own(kind)


def test_ipc_mode_container_shares_queues_and_memory(http: Http, docker: DockerCLI) -> None:
    running(http, "echo hello > /dev/shm/note; sleep 600", {"IpcMode": "shareable"}, name="donor")
    theirs = docker.out("exec", "donor", "readlink", "/proc/self/ns/ipc")
    command = "readlink /proc/self/ns/ipc; cat /dev/shm/note; echo answer > /dev/shm/answer"
    assert inside(http, command, {"IpcMode": "container:donor"}).split() == [theirs, "hello"]
    assert docker.out("exec", "donor", "cat", "/dev/shm/answer") == "answer"


@pytest.mark.beyond_dockerd
def test_the_ipc_of_a_private_container_is_not_shared(http: Http) -> None:
    cid = running(http, host={"IpcMode": "private"}, name="donor")
    _, told = refused(http, {"IpcMode": "container:donor"})
    hint = "(hint: use IpcMode:shareable for the donor container)"
    assert told == f"can't join IPC of container {cid}: non-shareable IPC {hint}"
    http.ok("POST", "/containers/donor/kill")
    _, told = refused(http, {"IpcMode": "container:donor"})
    assert told == f"can't join IPC of container {cid}: Container {cid} is not running"


def test_pid_mode_container_shows_the_others_processes(http: Http, docker: DockerCLI) -> None:
    running(http, "sleep 4711", name="other")
    assert "sleep 4711" in inside(http, "ps -o args", {"PidMode": "container:other"})
    assert docker.inspect("other")["State"]["Running"]


def test_mount_and_network_are_always_its_own(http: Http) -> None:
    told = inside(http, "readlink /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/uts").split()
    assert not {own("mnt"), own("net"), own("uts")} & set(told)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "Hostname, too long": (
        {},
        {"Hostname": "x" * 65},
        f'hostname "{"x" * 65}" is too long (maximum 64 bytes)',
    ),
    "Domainname, too long": (
        {},
        {"Domainname": "x" * 65},
        f'domainname "{"x" * 65}" is too long (maximum 64 bytes)',
    ),
    "Hostname with UTSMode": (
        {"UTSMode": "host"},
        {"Hostname": "x"},
        "conflicting options: hostname and the UTS mode",
    ),
    "ExtraHosts, no pair": ({"ExtraHosts": ["x"]}, {}, 'bad format for add-host: "x"'),
    "ExtraHosts, no address": (
        {"ExtraHosts": ["x:y"]},
        {},
        'invalid IP address in add-host: "y"',
    ),
    "ShmSize": ({"ShmSize": -1}, {}, "SHM size can not be less than 0"),
    "IpcMode": ({"IpcMode": "foo"}, {}, "Invalid IPC mode: foo"),
    "IpcMode, nobody": ({"IpcMode": "container:nope"}, {}, "No such container: nope"),
    "PidMode": ({"PidMode": "foo"}, {}, "invalid PID mode: foo"),
    "PidMode, nobody": ({"PidMode": "container:nope"}, {}, "No such container: nope"),
    "UTSMode": ({"UTSMode": "foo"}, {}, "invalid UTS mode: foo"),
    "UsernsMode": ({"UsernsMode": "foo"}, {}, "invalid user namespace mode: foo"),
    "Sysctls": (
        {"Sysctls": {"kernel.panic": "1"}},
        {},
        'sysctl "kernel.panic" is not in a separate kernel namespace',
    ),
    "Sysctls with the host's network": (
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "1"}},
        {},
        'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
    ),
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("host", "config", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(
    http: Http, host: dict[str, Any], config: dict[str, Any], text: str
) -> None:
    assert refused(http, host, **config) == (400, text)
