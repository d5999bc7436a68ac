import gzip
from pathlib import Path

import pytest

from lighterman.linux.cgroup import Layout
from lighterman.linux.host import kernel_version, limit_support, parse_os_release, probe_host


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-amd64", (6, 18)), ("4.4.0-rc1", (4, 4)), ("5.10", (5, 10)), ("strange", (0, 0))],
)
def test_a_kernels_version_is_its_first_two_numbers(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_os_release_is_unquoted_and_comments_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('# x=y\nPRETTY_NAME="Debian 12"\nID=debian\nEMPTY=\n')
    assert parse_os_release(tmp_path) == {"PRETTY_NAME": "Debian 12", "ID": "debian", "EMPTY": ""}


def test_without_etc_the_vendors_os_release_counts(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID='arch'\n")
    assert parse_os_release(tmp_path) == {"ID": "arch"}
    assert parse_os_release(tmp_path / "usr") == {}


def fake_root(root: Path, *, mountinfo: str) -> Path:
    """A machine's /proc and /sys with little in them."""
    for path, text in {
        "proc/self/mountinfo": mountinfo,
        "proc/self/status": "CapBnd:\t0000000000000003\n",
        "proc/meminfo": "MemFree: 1 kB\nMemTotal:       16384 kB\n",
        "proc/sys/net/ipv4/ip_forward": "1\n",
        "proc/self/ns/cgroup": "",
        "proc/self/ns/user": "",
        "proc/sys/user/max_user_namespaces": "0\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0\n",
        "sys/module/bridge/refcnt": "0\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "proc/config.gz").write_bytes(
        gzip.compress(
            b"#\nCONFIG_VETH=y\nCONFIG_MACVLAN=m\n# CONFIG_IPVLAN is not set\nCONFIG_OVERLAY_FS=y\n"
        )
    )
    return root


def test_the_facts_come_from_the_files_of_the_root(tmp_path: Path) -> None:
    host = probe_host(fake_root(tmp_path, mountinfo=""))
    assert host.mem_total_bytes == 16384 * 1024
    assert host.bounding_caps == {"CAP_CHOWN", "CAP_DAC_OVERRIDE"}
    assert host.thermal_paths == ("/sys/devices/system/cpu/cpu0/thermal_throttle",)
    assert (host.os_name, host.os_version, host.cgroup_mode) == ("Linux", "", "none")
    assert not host.limits.memory_limit
    features = host.features
    assert features.ipv4_forwarding
    assert features.cgroup_namespaces
    assert {features.apparmor, features.seccomp, features.time_namespaces} == {False}
    assert not features.user_namespaces  # the kernel has them, the administrator allows none


def test_a_driver_is_there_when_it_is_built_in_or_loaded_or_lies_ready(tmp_path: Path) -> None:
    fake_root(tmp_path, mountinfo="")
    features = probe_host(tmp_path).features
    assert (features.veth, features.overlayfs, features.bridge) == (True, True, True)
    assert (features.macvlan, features.ipvlan) == (False, False)  # a module that nobody installed
    kernel = probe_host(tmp_path).kernel
    modules = tmp_path / "lib/modules" / kernel
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("kernel/drivers/net/macvlan.ko.xz:\nkernel/net/nf-tables.ko: x.ko\n")
    features = probe_host(tmp_path).features
    assert (features.macvlan, features.nftables) == (True, True)


def test_the_limits_of_v2_are_its_controllers_and_the_files_of_a_child(tmp_path: Path) -> None:
    child = tmp_path / "system.slice"
    child.mkdir()
    (child / "memory.swap.max").write_text("max\n")
    layout = Layout("v2", {}, tmp_path, frozenset({"cpu", "memory", "pids", "blkio"}))
    limits = limit_support(layout)
    assert limits.memory_limit
    assert limits.swap_limit
    assert limits.cpu_cfs
    assert limits.pids_limit
    assert limits.blkio_throttle
    assert {limits.cpuset, limits.blkio_weight, limits.oom_kill_disable, limits.kernel_memory} == {False}


def test_this_machine_is_described() -> None:
    host = probe_host()
    assert host.ncpu >= 1
    assert host.mem_total_bytes > 1 << 20
    assert host.architecture
    assert host.cgroup.version in (1, 2)


def test_weights_of_bfq_are_offered_where_it_schedules_a_device(tmp_path: Path) -> None:
    layout = Layout("v1", {"blkio": tmp_path / "blkio"}, None, frozenset({"blkio"}))
    scheduler = tmp_path / "block/sda/queue/scheduler"
    scheduler.parent.mkdir(parents=True)
    for text, offered in (("none [mq-deadline] bfq\n", False), ("none mq-deadline [bfq]\n", True)):
        scheduler.write_text(text)
        limits = limit_support(layout, tmp_path / "block")
        assert (limits.blkio_weight, limits.blkio_weight_device) == (offered, offered)
