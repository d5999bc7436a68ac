"""What is prepared for a start, and what the OCI runtime is told of it."""

from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.containers.values import HOST, ID, container, nobody

from lighterman.apitypes.container import (
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    NetworkingConfig,
    PortBinding,
    Ulimit,
)
from lighterman.containers.errors import RunsAlready, UnderRemoval
from lighterman.containers.identity import Identity
from lighterman.containers.life import Created, Exited, Life, Paused, Removing, Restarting, Running
from lighterman.containers.mounts import BindMount
from lighterman.containers.plan_start import plan_start, sandbox_wish
from lighterman.containers.process import environment, further_process
from lighterman.containers.spec import Prepared, oci_spec, seccomp_filter
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict, EngineError
from lighterman.linux.userns import IdMap, Range
from lighterman.networks import EndpointWish, PortWish, SandboxWish
from lighterman.oci import spec as oci

FACTS = Prepared(
    root=Path("/snapshots/root"),
    netns="/run/netns/4b0031d0e270",
    files=Path("/containers/4b"),
    volumes={"v": Path("/volumes/v/_data")},
    user=Identity(0, 0, (0, 10), "/root"),
    hostname="4b0031d0e270",
)


def spec_of(wish: HostConfig | None = None, *, facts: Prepared = FACTS, **config: object) -> oci.Spec:
    return oci_spec(plan_start(container(wish, **config), nobody), facts, HOST)


def process_of(spec: oci.Spec) -> oci.Process:
    assert spec.process is not None
    return spec.process


def linux_of(spec: oci.Spec) -> oci.Linux:
    assert spec.linux is not None
    return spec.linux


def mounts_of(spec: oci.Spec) -> dict[str, oci.Mount]:
    return {mount.destination: mount for mount in spec.mounts}


@pytest.mark.parametrize(
    ("life", "error"),
    [
        (Running(7, 1), RunsAlready),
        (Restarting(1, False, 1, 2), RunsAlready),
        (Paused(7, 1), Conflict),
        (Removing(Created()), UnderRemoval),
    ],
)
def test_a_container_that_cannot_start_is_refused(life: Life, error: type[EngineError]) -> None:
    with pytest.raises(error):
        plan_start(container(life=life), nobody)


@pytest.mark.parametrize("life", [Created(), Created(127, "x"), Exited(0, False, 1, 2)])
def test_a_container_without_process_may_start(life: Life) -> None:
    assert plan_start(container(life=life), nobody).network_of is None


def test_a_sandbox_is_wished_from_endpoints_and_ports() -> None:
    endpoints: dict[str, EndpointSettings | None] = {
        "mine": EndpointSettings(
            ipam_config=EndpointIPAMConfig(ipv4_address="10.0.0.9"), aliases=["web"], driver_opts={"a": "b"}
        )
    }
    one = container(
        HostConfig(network_mode="mine", port_bindings={"80/tcp": [PortBinding("", "8080")]}),
        networking_config=NetworkingConfig(endpoints),
        mac_address="02:42:ac:11:00:09",
    )
    assert sandbox_wish(one) == SandboxWish(
        id=ID,
        name="one",
        endpoints=(
            EndpointWish(
                "mine",
                ipv4="10.0.0.9",
                mac="02:42:ac:11:00:09",
                aliases=("web", ID[:12]),
                driver_opts={"a": "b"},
            ),
        ),
        ports=(PortWish(80, "tcp", "", 8080, 8080),),
    )


def test_a_host_name_of_its_own_is_a_name_in_users_networks() -> None:
    (end,) = sandbox_wish(container(HostConfig(network_mode="mine"), hostname="mail")).endpoints
    assert end.aliases == (ID[:12], "mail")


def test_no_name_is_added_on_the_default_bridge() -> None:
    assert sandbox_wish(container()).endpoints == (EndpointWish("bridge"),)


def test_ports_are_discarded_on_the_hosts_network() -> None:
    wish = HostConfig(network_mode="host", port_bindings={"80/tcp": [PortBinding("", "8080")]})
    assert sandbox_wish(container(wish)).ports == ()


def test_the_network_of_another_container_must_run() -> None:
    wish = HostConfig(network_mode=f"container:{ID}")
    other = container()
    joins = structs.replace(container(wish, peer=lambda ref: other), id="f" * 64)
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        plan_start(joins, lambda ref: other)
    running = structs.replace(other, life=Running(7, 1))
    plan = plan_start(joins, lambda ref: running)
    assert (plan.sandbox, plan.network_of) == (None, running)
    with pytest.raises(Conflict, match="cannot join own network"):
        plan_start(joins, lambda ref: joins)


def test_files_are_those_of_the_container_whose_network_it_is_in_the_end() -> None:
    owner = structs.replace(container(), life=Running(7, 1))
    between = structs.replace(
        container(HostConfig(network_mode=f"container:{ID}"), peer=lambda ref: owner),
        id="e" * 64,
        life=Running(8, 1),
    )
    joins = container(HostConfig(network_mode=f"container:{between.id}"), peer=lambda ref: between)
    plan = plan_start(structs.replace(joins, id="f" * 64), {ID: owner, between.id: between}.__getitem__)
    assert (plan.network_of, plan.files_of) == (between, owner)


def test_the_process_is_dockerds() -> None:
    process = process_of(spec_of(entrypoint=["sh"], cmd=["-c", "id"], env=["A=1"]))
    assert process.args == ("sh", "-c", "id")
    assert process.cwd == "/"
    assert process.env[:2] == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=4b0031d0e270",
    )
    assert set(process.env[2:]) == {"A=1", "HOME=/root"}
    assert process.user == oci.User(uid=0, gid=0, additional_gids=(0, 10))
    assert process.capabilities is not None
    assert len(process.capabilities.effective) == 14
    assert process.capabilities.inheritable == process.capabilities.ambient == ()
    assert not process.no_new_privileges


def test_the_environment_is_overridden_by_name() -> None:
    one = container(env=["PATH=/bin", "HOME=/h", "HOSTNAME", "X"])
    found = environment(one, "name", "/root", tty=True, extra=["A=1", "TERM=dumb"])
    assert found == ("PATH=/bin", "TERM=dumb", "HOME=/h", "A=1")
    assert "HOME=/root" in environment(container(env=["HOME="]), "name", "/root", tty=False)


def test_an_exec_is_confined_as_its_container() -> None:
    one = container(
        HostConfig(cap_drop=["ALL"], security_opt=["no-new-privileges"], oom_score_adj=5), working_dir="/w"
    )
    user = Identity(1000, 100, (100,), "/home/bob")
    process = further_process(
        one, HOST, user, args=["id"], env=["A=1"], tty=False, privileged=False, working_dir=""
    )
    assert process.capabilities == oci.Capabilities()
    assert (process.no_new_privileges, process.oom_score_adj, process.cwd) == (True, 5, "/w")
    assert "A=1" in process.env
    free = further_process(one, HOST, user, args=["id"], env=[], tty=True, privileged=True, working_dir="/x")
    assert free.capabilities is not None
    assert len(free.capabilities.bounding) == len(HOST.bounding_caps)
    assert free.capabilities.effective == ()
    assert (free.terminal, free.cwd) == (True, "/x")


def test_ulimits_are_named_as_the_kernel_does() -> None:
    wish = HostConfig(ulimits=[Ulimit("nofile", 1024, 2048), Ulimit("core", -1, -1)])
    assert process_of(spec_of(wish)).rlimits == (
        oci.Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=2048),
        oci.Rlimit(type="RLIMIT_CORE", soft=2**64 - 1, hard=2**64 - 1),
    )


def test_a_container_has_namespaces_of_its_own() -> None:
    namespaces = {each.type: each.path for each in linux_of(spec_of()).namespaces}
    assert namespaces == {"mount": "", "network": "/run/netns/4b0031d0e270", "uts": "", "pid": "", "ipc": ""}


def test_the_hosts_namespaces_are_not_named() -> None:
    wish = HostConfig(network_mode="host", pid_mode="host", ipc_mode="host", uts_mode="host")
    spec = spec_of(wish, facts=_with(netns=""))
    assert [each.type for each in linux_of(spec).namespaces] == ["mount"]
    assert spec.hostname == ""
    assert linux_of(spec).sysctl == {}
    assert mounts_of(spec)["/dev/shm"].source == "/dev/shm"


def test_namespaces_of_others_are_entered_by_path() -> None:
    wish = HostConfig(pid_mode=f"container:{ID}", cgroupns_mode="private")
    one = container(wish, peer=lambda ref: container())
    running = structs.replace(container(), id="f" * 64, life=Running(7, 1))
    spec = oci_spec(plan_start(one, lambda ref: running), _with(pid_namespace_pid=7), HOST)
    namespaces = {each.type: each.path for each in linux_of(spec).namespaces}
    assert namespaces["pid"] == "/proc/7/ns/pid"
    assert namespaces["cgroup"] == ""


def test_low_ports_and_ping_are_free_in_a_network_of_its_own() -> None:
    assert linux_of(spec_of(domainname="example.org")).sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.domainname": "example.org",
    }
    own = HostConfig(sysctls={"net.ipv4.ip_unprivileged_port_start": "1024"})
    assert linux_of(spec_of(own)).sysctl["net.ipv4.ip_unprivileged_port_start"] == "1024"


def test_limits_become_resources() -> None:
    wish = HostConfig(memory=100 << 20, nano_cpus=1_500_000_000, pids_limit=99, cpuset_cpus="0-1")
    resources = linux_of(spec_of(wish)).resources
    assert resources is not None
    assert resources.memory == oci.Memory(limit=100 << 20, swap=200 << 20)
    assert resources.cpu == oci.CPU(period=100_000, quota=150_000, cpus="0-1")
    assert resources.pids == oci.Pids(limit=99)
    plain = linux_of(spec_of(HostConfig(pids_limit=-1))).resources
    assert plain is not None
    assert (plain.memory, plain.cpu, plain.pids, plain.block_io) == (None, None, None, None)
    assert plain.devices[0].allow is False


def test_mounts_of_the_container_replace_the_usual_ones_and_parents_come_first() -> None:
    wish = HostConfig(
        binds=["/src:/a/b/c:ro,rslave", "v:/a"], tmpfs={"/dev/shm": "size=1m"}, readonly_rootfs=True
    )
    spec = spec_of(wish)
    mounts = mounts_of(spec)
    assert [each.destination for each in spec.mounts].count("/dev/shm") == 1
    assert mounts["/dev/shm"].options == ("noexec", "nosuid", "nodev", "size=1m")
    assert mounts["/a/b/c"].options == ("rbind", "rslave", "ro")
    assert mounts["/a"].source == "/volumes/v/_data"
    assert mounts["/etc/hosts"] == oci.Mount(
        destination="/etc/hosts",
        type="bind",
        source="/containers/4b/hosts",
        options=("rbind", "rprivate", "ro"),
    )
    places = list(mounts)
    assert places.index("/a") < places.index("/etc/hosts") < places.index("/a/b/c")
    assert linux_of(spec).rootfs_propagation == "rslave"
    shared = spec_of(HostConfig(tmpfs={"/t": "shared,size=1m"}))
    assert linux_of(shared).rootfs_propagation == "shared"
    assert spec.root == oci.Root(path="/snapshots/root", readonly=True)


def test_a_mount_at_dev_hides_what_would_be_below() -> None:
    places = mounts_of(spec_of(HostConfig(binds=["/dev:/dev"])))
    assert [place for place in places if place.startswith("/dev")] == ["/dev"]


def test_a_file_that_the_client_mounts_itself_is_left_alone() -> None:
    assert mounts_of(spec_of(HostConfig(binds=["/my:/etc/hosts"])))["/etc/hosts"].source == "/my"


def test_no_shared_memory_when_none_is_wished() -> None:
    assert "/dev/shm" not in mounts_of(spec_of(HostConfig(ipc_mode="none")))


def test_init_is_mounted_and_runs_the_command() -> None:
    one = structs.replace(container(), host_config=structs.replace(container().host_config, init=True))
    spec = oci_spec(plan_start(one, nobody), _with(init_path="/usr/bin/tini-static"), HOST)
    assert process_of(spec).args == ("/sbin/docker-init", "--", "true")
    assert mounts_of(spec)["/sbin/docker-init"].source == "/usr/bin/tini-static"


def test_a_privileged_container_is_masked_and_filtered_by_nothing() -> None:
    one = container(HostConfig(privileged=True))
    linux = linux_of(oci_spec(plan_start(one, nobody), FACTS, HOST))
    assert (linux.masked_paths, linux.readonly_paths) == ((), ())
    assert linux.resources is not None
    assert [rule.allow for rule in linux.resources.devices] == [True]
    assert seccomp_filter(one, HOST) is None


def test_the_filter_depends_on_the_capabilities() -> None:
    usual = seccomp_filter(container(), HOST)
    assert usual is not None
    assert usual is seccomp_filter(container(), HOST)
    assert usual != seccomp_filter(container(HostConfig(cap_add=["SYS_ADMIN"])), HOST)
    assert seccomp_filter(container(HostConfig(security_opt=["seccomp=unconfined"])), HOST) is None
    own = HostConfig(security_opt=['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'])
    assert seccomp_filter(container(own), HOST) == oci.LinuxSeccomp(default_action="SCMP_ACT_ALLOW")


def test_only_a_directory_is_read_only_with_what_is_mounted_below() -> None:
    binds = [
        BindMount(source=source, target=source, read_only=True, propagation="rprivate", deep_read_only=True)
        for source in ("/directory", "/file")
    ]
    spec = spec_of(mounts=tuple(binds), facts=_with(bound_files=frozenset({"/file"})))
    options = [mounts_of(spec)[bind.target].options for bind in binds]
    assert options == [("rbind", "rprivate", "ro", "rro"), ("rbind", "rprivate", "ro")]


def test_a_container_survives_its_row() -> None:
    one = container(
        HostConfig(binds=["/a:/b", "v:/c"], tmpfs={"/t": ""}, init=None),
        volumes={"/x": {}},
        life=Removing(Exited(1, True, 2, 3, "x"), ("v",)),
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Container) == one


def _with(**changes: object) -> Prepared:
    return Prepared(**{**{name: getattr(FACTS, name) for name in Prepared.__struct_fields__}, **changes})


def test_another_containers_ipc_is_joined_with_its_memory() -> None:
    donor = container(HostConfig(ipc_mode="shareable"), life=Running(7, 1))
    mine = container(HostConfig(ipc_mode="shareable"))
    mine = structs.replace(
        mine, host_config=structs.replace(mine.host_config, ipc_mode=f"container:{donor.id}")
    )
    plan = plan_start(mine, lambda ref: donor)
    assert plan.ipc_of == donor
    facts = replace(FACTS, ipc_namespace_pid=7, borrowed_shm="/containers/4b/shm")
    spec = oci_spec(plan, facts, HOST)
    assert oci.Namespace(type="ipc", path="/proc/7/ns/ipc") in linux_of(spec).namespaces
    assert mounts_of(spec)["/dev/shm"].source == "/containers/4b/shm"


@pytest.mark.parametrize(
    ("donor", "text"),
    [
        (container(HostConfig(ipc_mode="private"), life=Running(7, 1)), "non-shareable IPC"),
        (container(HostConfig(ipc_mode="shareable")), "is not running"),
    ],
)
def test_an_ipc_that_cannot_be_joined_is_refused(donor: Container, text: str) -> None:
    mine = structs.replace(donor, host_config=structs.replace(donor.host_config, ipc_mode=f"container:{ID}"))
    with pytest.raises(Conflict, match=f"can't join IPC of container {ID}: .*{text}"):
        plan_start(structs.replace(mine, life=Created()), lambda ref: donor)


def test_a_user_namespace_comes_with_its_map() -> None:
    id_map = IdMap((Range(0, 1000, 10), Range(10, 5000, 5)), (Range(0, 2000, 15),))
    spec = linux_of(spec_of(facts=replace(FACTS, id_map=id_map, userns="/proc/7/fd/8")))
    assert oci.Namespace(type="user", path="/proc/7/fd/8") in spec.namespaces
    assert [(each.container_id, each.host_id, each.size) for each in spec.uid_mappings] == [
        (0, 1000, 10),
        (10, 5000, 5),
    ]
    assert len(spec.gid_mappings) == 1
    assert "net.ipv4.ping_group_range" not in spec.sysctl
    assert "net.ipv4.ip_unprivileged_port_start" in spec.sysctl
    assert not any(each.type == "user" for each in linux_of(spec_of()).namespaces)
