"""What a container becomes, and what is refused: dockerd's recorded answers, and where we say no earlier."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, convert, structs
from msgspec.structs import replace
from tests.containers.values import ENGINE, HOST, ID, container, image, namer, nobody, planned

from lighterman.apitypes.container import (
    ContainerCreateBody,
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    LogConfig,
    NetworkingConfig,
    PortBinding,
)
from lighterman.containers.mounts import BindMount, VolumeMount
from lighterman.containers.plan_create import plan_create
from lighterman.errdefs import InvalidParameter, NotFound, Unimplemented
from lighterman.linux.cgroup import Layout

MIB = 1 << 20

REFUSED_BY_DOCKERD: list[tuple[dict[str, Any], str]] = [
    ({"Binds": ["/etc:/c", "/tmp:/c"]}, "Duplicate mount point: /c"),
    (
        {"Mounts": [{"Source": "/etc", "Target": "/c"}]},
        'invalid mount config for type "": mount type unknown',
    ),
    (
        {"Mounts": [{"Type": "volume"}]},
        'invalid mount config for type "volume": field Target must not be empty',
    ),
    ({"Memory": 1000}, "Minimum memory limit allowed is 6MB"),
    (
        {"Memory": 100 * MIB, "MemorySwap": 50 * MIB},
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    (
        {"MemorySwap": 50 * MIB},
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    ),
    ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
    (
        {"Memory": 100 * MIB, "MemoryReservation": 200 * MIB},
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    ({"NanoCpus": 99 * 10**9}, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    (
        {"NanoCpus": 10**9, "CpuQuota": 1000},
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    ),
    (
        {"CpuPeriod": 5},
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    ({"CpuQuota": 5}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({"CpusetCpus": "0-99"}, "Requested CPUs are not available - requested 0-99, available: 0-1"),
    ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
    ({"CpusetCpus": "0,,"}, "Invalid value 0,, for cpuset cpus: invalid format: 0,,"),
    ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ({"ShmSize": -1}, "SHM size can not be less than 0"),
    ({"CapAdd": ["FOO"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
    ({"Runtime": "nope"}, "Unknown runtime specified nope"),
    (
        {"LogConfig": {"Type": "json-file", "Config": {"foo": "bar"}}},
        "unknown log opt 'foo' for json-file log driver",
    ),
    ({"RestartPolicy": {"Name": "nope"}}, "invalid restart policy 'nope'"),
    (
        {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
        "maximum retry count cannot be used with restart policy 'always'",
    ),
    (
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -3}},
        "maximum retry count cannot be negative",
    ),
    (
        {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
        "can't create 'AutoRemove' container with restart policy",
    ),
    ({"ExtraHosts": ["x"]}, 'bad format for add-host: "x"'),
    ({"ExtraHosts": ["a:b"]}, 'invalid IP address in add-host: "b"'),
    ({"VolumesFrom": ["nope"]}, "No such container: nope"),
    ({"VolumesFrom": ["nope:xx"]}, "invalid mode: xx"),
    ({"PidMode": "container:nope"}, "No such container: nope"),
    ({"NetworkMode": "container:"}, "Invalid network mode: invalid container format container:<name|id>"),
    ({"NetworkMode": "container"}, "Invalid network mode: invalid container format container:<name|id>"),
    ({"CpuShares": 1}, "the minimum allowed cpu-shares is 2"),
    ({"CpuShares": 262145}, "the maximum allowed cpu-shares is 262144"),
    (
        {"LogConfig": {"Type": "splunk"}},
        "failed to initialize logging driver: splunk: splunk-url is expected",
    ),
    (
        {"NetworkMode": "host", "Links": ["a:b"]},
        "conflicting options: host type networking can't be used with links. "
        "This would result in undefined behavior",
    ),
    ({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}, 'invalid port specification: "99999"'),
    ({"PortBindings": {"x/tcp": [{"HostPort": "1"}]}}, 'invalid port specification: "x"'),
]

REFUSED_WITH_500_BY_DOCKERD: list[tuple[dict[str, Any], str]] = [
    (
        {"Binds": ["/etc:c"]},
        "invalid volume specification: '/etc:c': invalid mount config for type \"bind\": "
        "invalid mount path: 'c' mount path must be absolute",
    ),
    (
        {"Binds": ["/etc:/"]},
        "invalid volume specification: '/etc:/': invalid mount config for type \"bind\": "
        "invalid specification: destination can't be '/'",
    ),
    ({"Binds": ["/etc:/c:foo"]}, "invalid mode: foo"),
    ({"Binds": ["a:b:c:d"]}, "invalid volume specification: 'a:b:c:d'"),
    ({"SecurityOpt": ["foo"]}, 'invalid --security-opt 1: "foo"'),
    ({"SecurityOpt": ["foo=bar"]}, 'invalid --security-opt 2: "foo=bar"'),
    (
        {"StorageOpt": {"size": "1G"}},
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ),
    ({"StorageOpt": {"foo": "1G"}}, "Unknown option foo"),
    ({"Isolation": "foo"}, "Invalid isolation: \"foo\" - linux only supports 'default'"),
]

REFUSED_AT_THE_START_BY_DOCKERD: list[tuple[dict[str, Any], str]] = [
    ({"Tmpfs": {"/t": "foo=bar"}}, 'invalid tmpfs option ["foo" "bar"]'),
    ({"Ulimits": [{"Name": "nofile", "Soft": 20, "Hard": 10}]}, "ulimit soft limit must be less than"),
    ({"Ulimits": [{"Name": "foo", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: foo"),
    ({"SecurityOpt": ["seccomp=xx"]}, "Decoding seccomp profile failed: "),
    ({"Sysctls": {"kernel.foo": "1"}}, 'sysctl "kernel.foo" is not in a separate kernel namespace'),
    (
        {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"},
        'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
    ),
    ({"Sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
    *(
        ({"Tmpfs": {"/t": f"{key}={value}"}}, f'invalid tmpfs option ["{key}" "{value}"]')
        for key, value in (
            ("size", "abc"),
            ("size", "-1"),
            ("mode", "9"),
            ("uid", "bob"),
            ("nr_inodes", "9%"),
        )
    ),
    (
        {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": -1}}]},
        'invalid mount config for type "tmpfs": invalid tmpfs option ["size" "-1"]',
    ),
    ({"Sysctls": {"kernel.sem": "1 2 x"}}, 'sysctl "kernel.sem" is a number, not "1 2 x"'),
    ({"Sysctls": {"fs.mqueue.foo": "1"}}, 'sysctl "fs.mqueue.foo" is not in a separate kernel namespace'),
    ({"PidsLimit": 4194305}, "invalid PidsLimit 4194305: the kernel has no more than 4194304"),
    ({"IpcMode": "foo"}, "Invalid IPC mode: foo"),
    ({"DeviceCgroupRules": ["foo"]}, "invalid device cgroup rule format: 'foo'"),
]

REFUSED_BY_US_ALONE: list[tuple[dict[str, Any], str]] = [
    ({"Dns": ["x"]}, "invalid IP address: x"),
    ({"Sysctls": {"net.ipv4.ip_forward": ""}}, 'sysctl "net.ipv4.ip_forward" has no value'),
    ({"PidMode": "foo"}, "invalid PID mode: foo"),
    ({"UTSMode": "foo"}, "invalid UTS mode: foo"),
    ({"UsernsMode": "foo"}, "invalid user namespace mode: foo"),
    ({"CgroupnsMode": "foo"}, "invalid cgroup namespace mode: foo"),
    ({"SecurityOpt": ["apparmor=foo"]}, "AppArmor is not enabled on this host"),
]


@pytest.mark.parametrize(
    ("wish", "text"),
    REFUSED_BY_DOCKERD + REFUSED_WITH_500_BY_DOCKERD + REFUSED_AT_THE_START_BY_DOCKERD + REFUSED_BY_US_ALONE,
)
def test_a_wrong_wish_for_the_host_is_refused_in_dockers_words(wish: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        planned(convert(wish, HostConfig))


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"WorkingDir": "x"}, "the working directory 'x' is invalid, it needs to be an absolute path"),
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"StopSignal": "FOO"}, "Invalid signal: FOO"),
        ({"MacAddress": "xx"}, "address xx: invalid MAC address"),
        ({"Hostname": "bad host"}, "invalid hostname format: bad host"),
        ({"Hostname": "x" * 65}, "is too long (maximum 64 bytes)"),
        (
            {"Hostname": "x", "HostConfig": {"UTSMode": "host"}},
            "conflicting options: hostname and the UTS mode",
        ),
        (
            {"Hostname": "x", "HostConfig": {"NetworkMode": "container:y"}},
            "conflicting options: hostname and the network mode",
        ),
        (
            {"HostConfig": {"NetworkMode": "container:y", "PublishAllPorts": True}},
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            {"Healthcheck": {"Test": ["CMD", "a"], "Interval": 1}},
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
        ({"Healthcheck": {"Test": ["FOO", "a"]}}, "Unknown type 'FOO' in Healthcheck"),
        ({"Volumes": {"/": {}}}, "invalid specification: destination can't be '/'"),
        ({"ExposedPorts": {"99999/tcp": {}}}, 'invalid port specification: "99999"'),
        ({"ExposedPorts": {"80/foo": {}}}, "Invalid proto: foo"),
    ],
)
def test_a_wrong_configuration_is_refused_in_dockers_words(wish: dict[str, Any], text: str) -> None:
    body = convert({"Image": "busybox", "Cmd": ["true"], **wish}, ContainerCreateBody)
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        plan_create(body, ID, image=image(), host=HOST, engine=ENGINE, peer=nobody, new_name=namer())


def test_what_does_not_act_yet_is_refused_and_not_passed_over() -> None:
    with pytest.raises(Unimplemented, match="implemented yet"):
        planned(convert({"LogConfig": {"Type": "awslogs"}}, HostConfig))


def test_a_command_must_come_from_somewhere() -> None:
    with pytest.raises(InvalidParameter, match="No command specified"):
        planned(cmd=None)
    assert planned(cmd=None, image=image(cmd=["sh"])).config.cmd == ["sh"]


@pytest.mark.parametrize(
    ("wish", "warning"),
    [
        ({"BlkioWeight": 500}, "Your kernel does not support Block I/O weight or the cgroup is not mounted."),
        (
            {"NetworkMode": "host", "PortBindings": {"80/tcp": [{}]}},
            "Published ports are discarded when using",
        ),
        ({"OomKillDisable": True}, "OOM killer is disabled for the container, but no memory limit is set"),
        ({"KernelMemory": 50 * MIB}, "Kernel memory limits are gone"),
        ({"DiskQuota": 5}, "linux does not support a disk quota"),
        ({"Privileged": True}, "This host itself lacks CAP_SYS_RESOURCE"),
        ({"CapAdd": ["sys_resource"]}, "This host itself lacks CAP_SYS_RESOURCE"),
    ],
)
def test_what_cannot_act_on_this_host_is_told_as_a_warning(wish: dict[str, Any], warning: str) -> None:
    (told,) = planned(convert(wish, HostConfig)).warnings
    assert told.startswith(warning)


def test_an_ordinary_container_has_no_warnings() -> None:
    assert planned().warnings == []


def test_on_cgroup_v2_a_container_has_a_cgroup_namespace_of_its_own() -> None:
    layout = Layout(mode="v2", v1={}, unified=Path("/sys/fs/cgroup"), controllers=frozenset())
    plan = planned(host=replace(HOST, cgroup=layout))
    assert plan.host_config.cgroupns_mode == "private"


def test_the_defaults_are_resolved_as_dockerd_stores_them() -> None:
    wish = planned().host_config
    assert wish.network_mode == "default"
    assert wish.shm_size == 64 * MIB
    assert wish.log_config == LogConfig("json-file", {})
    assert wish.cgroupns_mode == "host"
    assert wish.ipc_mode == "private"
    assert wish.oom_kill_disable is False
    assert wish.runtime is UNSET
    assert wish.masked_paths is not None
    assert wish.masked_paths[:2] == ["/proc/asound", "/proc/acpi"]
    assert wish.readonly_paths == ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def test_the_runtime_is_named_at_once_when_there_is_a_host_config_at_all() -> None:
    assert planned(HostConfig()).host_config.runtime == "crun"
    assert planned(HostConfig(runtime="runc")).host_config.runtime == "runc"


@pytest.mark.parametrize(
    ("source", "propagation"),
    [("/var/lib/lighterman/volumes", "rslave"), ("/var", "rslave"), ("/", "rslave"), ("/va", "rprivate")],
)
def test_a_bind_that_shows_the_engines_mounts_lets_go_of_them(source: str, propagation: str) -> None:
    (mount,) = planned(HostConfig(binds=[f"{source}:/m"])).mounts
    assert isinstance(mount, BindMount)
    assert mount.propagation == propagation
    if propagation == "rslave":
        with pytest.raises(InvalidParameter, match='must use either propagation mode "rslave" or "rshared"'):
            planned(HostConfig(binds=[f"{source}:/m:private"]))


def test_a_privileged_container_has_no_masks() -> None:
    wish = planned(HostConfig(privileged=True)).host_config
    assert (wish.masked_paths, wish.readonly_paths) == (None, None)


def test_a_memory_limit_allows_as_much_swap_again() -> None:
    assert planned(HostConfig(memory=100 * MIB)).host_config.memory_swap == 200 * MIB


def test_the_host_name_is_the_short_id_or_the_hosts_own() -> None:
    assert planned().config.hostname == ID[:12]
    assert planned(HostConfig(network_mode="host")).config.hostname == "host"
    assert planned(hostname="mine").config.hostname == "mine"


@pytest.mark.parametrize(
    ("mode", "names"),
    [("", ["bridge"]), ("default", ["bridge"]), ("host", ["host"]), ("none", ["none"]), ("mine", ["mine"])],
)
def test_a_container_is_in_the_network_of_its_mode(mode: str, names: list[str]) -> None:
    assert list(planned(HostConfig(network_mode=mode)).endpoints) == names


def test_endpoints_that_are_given_count_instead() -> None:
    wished: dict[str, EndpointSettings | None] = {"mine": EndpointSettings(aliases=["a"])}
    plan = planned(HostConfig(network_mode="mine"), networking_config=NetworkingConfig(wished))
    assert plan.endpoints == wished


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (EndpointIPAMConfig(ipv4_address="fd00::2"), "invalid IPv4 address: fd00::2"),
        (EndpointIPAMConfig(ipv6_address="10.0.0.2"), "invalid IPv6 address: 10.0.0.2"),
        (EndpointIPAMConfig(ipv6_address="::ffff:10.0.0.2"), "invalid IPv6 address: ::ffff:10.0.0.2"),
    ],
)
def test_an_address_of_the_other_version_is_refused(wish: EndpointIPAMConfig, text: str) -> None:
    endpoints: dict[str, EndpointSettings | None] = {"mine": EndpointSettings(ipam_config=wish)}
    with pytest.raises(InvalidParameter, match=text):
        planned(HostConfig(network_mode="mine"), networking_config=NetworkingConfig(endpoints))


def test_a_container_without_network_of_its_own_has_no_endpoints() -> None:
    assert planned(network_disabled=True).endpoints == {}
    other = container()
    plan = planned(HostConfig(network_mode="container:one"), peer=lambda ref: other)
    assert plan.endpoints == {}
    assert plan.host_config.network_mode == f"container:{ID}"


def test_a_network_of_a_container_to_come_is_kept_by_name() -> None:
    assert planned(HostConfig(network_mode="container:later")).host_config.network_mode == "container:later"


def test_mounts_come_from_everywhere_once_for_each_place() -> None:
    def peer(ref: str) -> Any:
        if ref != "data":
            raise NotFound(f"No such container: {ref}")
        return structs.replace(container(), mounts=(VolumeMount(name="v", target="/v", anonymous=True),))

    plan = planned(
        HostConfig(binds=["/etc:/c:ro", "named:/d"], volumes_from=["data:ro"]),
        volumes={"/d": {}, "/new": {}},
        peer=peer,
    )
    assert plan.mounts == (
        VolumeMount(name="v", target="/v", read_only=True, copy_up=False, anonymous=True),
        BindMount(
            source="/etc",
            target="/c",
            read_only=True,
            mode="ro",
            propagation="rprivate",
            create_source=True,
        ),
        VolumeMount(name="named", target="/d", mode="z"),
        VolumeMount(name="anonymous1", target="/new", anonymous=True),
    )


def test_a_link_leads_to_the_container_whose_network_it_is() -> None:
    owner = structs.replace(container(), id="e" * 64)
    others = {"db": container(HostConfig(network_mode="container:owner"), peer=lambda ref: owner)}
    others |= {"owner": owner, owner.id: owner}
    plan = planned(HostConfig(links=["db:alias"]), peer=others.__getitem__)
    assert plan.host_config.links == [f"{owner.id}:alias"]


def test_bindings_are_kept_as_they_came() -> None:
    bindings: dict[str, list[PortBinding] | None] = {"80/tcp": [PortBinding("", "48080")]}
    assert planned(HostConfig(port_bindings=bindings)).host_config.port_bindings == bindings
