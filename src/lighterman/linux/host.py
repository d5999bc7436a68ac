"""What the host is and can do: facts, read once at start, never acted upon.

`Host` is a value that planners get as an argument; `probe_host` makes it by reading files of `/proc`, `/sys`
and `/etc` and nothing else (no mount, no link, no process: trying for real is `lighterman check`'s business).
Tests make one with `msgspec.structs.replace`.
"""

import gzip
import os
import re
from pathlib import Path

from msgspec import Struct

from lighterman.linux import apparmor
from lighterman.linux.capabilities import bounding_capabilities
from lighterman.linux.cgroup.layout import Layout, Mode, find_layout
from lighterman.linux.mountinfo import read_mountinfo

ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i586": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    "mips64": "mips64le",
}
"""The kernel's name of a machine -> Go's, which images and the API use."""


class LimitSupport(Struct, frozen=True):
    """Which limits the cgroups of this host can hold; the words of `/info` and of create's warnings."""

    memory_limit: bool = False
    swap_limit: bool = False
    memory_reservation: bool = False
    memory_swappiness: bool = False
    oom_kill_disable: bool = False
    kernel_memory: bool = False
    kernel_memory_tcp: bool = False
    cpu_shares: bool = False
    cpu_cfs: bool = False
    cpu_realtime: bool = False
    cpuset: bool = False
    pids_limit: bool = False
    blkio_weight: bool = False
    blkio_weight_device: bool = False
    blkio_throttle: bool = False
    devices: bool = False


class Features(Struct, frozen=True):
    """What the kernel has, built in or as a module that it can load."""

    seccomp: bool = False
    apparmor: bool = False
    selinux: bool = False
    user_namespaces: bool = False
    cgroup_namespaces: bool = False
    time_namespaces: bool = False
    ipv4_forwarding: bool = False  # switched on now
    bridge_nf_iptables: bool = False  # switched on now
    bridge_nf_ip6tables: bool = False  # switched on now
    overlayfs: bool = False
    mount_api: bool = False  # fsopen, move_mount, open_tree (5.2)
    mount_setattr: bool = False  # 5.12
    nftables: bool = False
    bridge: bool = False
    veth: bool = False
    macvlan: bool = False
    ipvlan: bool = False
    vxlan: bool = False


class Host(Struct, frozen=True):
    """All facts about the host that plans, `/info` and `/version` are made of."""

    hostname: str
    kernel: str
    """The release as uname says it: 6.18.44-amd64."""
    kernel_version: tuple[int, int]
    build: str
    """uname's version: when and how this kernel was built."""
    os_name: str
    """PRETTY_NAME of os-release: Debian GNU/Linux 12 (bookworm)."""
    os_version: str
    machine: str
    """x86_64"""
    architecture: str
    """amd64"""
    ncpu: int
    cpus: str
    """The processors that containers can be pinned to, as a kernel's list: 0-3,6."""
    mems: str
    mem_total_bytes: int
    cgroup: Layout
    limits: LimitSupport
    features: Features
    bounding_caps: frozenset[str]
    """CAP_CHOWN, ...: nobody below this daemon can have more."""
    thermal_paths: tuple[str, ...] = ()
    """Files under /sys that count events of each processor, so tell a container of its neighbours."""

    @property
    def cgroup_mode(self) -> Mode:
        return self.cgroup.mode

    @property
    def controllers(self) -> frozenset[str]:
        return self.cgroup.controllers


def probe_host(root: Path = Path("/")) -> Host:
    """The facts of this machine, with files read below `root`. Blocks for about 5 ms.

    Raises: OSError when /proc or /sys is not there.
    """
    uname = os.uname()
    os_release = parse_os_release(root)
    layout = find_layout(read_mountinfo(root / "proc/self/mountinfo"))
    version = kernel_version(uname.release)
    cpus, mems = _cpuset(layout)
    return Host(
        hostname=uname.nodename,
        kernel=uname.release,
        kernel_version=version,
        build=uname.version,
        os_name=os_release.get("PRETTY_NAME", "Linux"),
        os_version=os_release.get("VERSION_ID", ""),
        machine=uname.machine,
        architecture=ARCHITECTURES.get(uname.machine, uname.machine),
        ncpu=len(os.sched_getaffinity(0)),
        cpus=cpus,
        mems=mems,
        mem_total_bytes=_mem_total_bytes(root),
        cgroup=layout,
        limits=limit_support(layout, root / "sys/block"),
        features=_features(root, version, _drivers(root, uname.release)),
        bounding_caps=bounding_capabilities(root / "proc/self/status"),
        thermal_paths=tuple(
            f"/{path.relative_to(root)}"
            for path in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))
        ),
    )


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 18) of "6.18.44-amd64"; (0, 0) of what does not begin with two numbers."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def parse_os_release(root: Path) -> dict[str, str]:
    """Keys and unquoted values of os-release; empty when there is none. Source: os-release(5)."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        if (root / path).exists():
            lines = (root / path).read_text().splitlines()
            pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
            return {key: value.strip("\"'") for key, _, value in pairs}
    return {}


def limit_support(layout: Layout, block: Path = Path("/sys/block")) -> LimitSupport:
    """What the files in the hierarchies say. v1's roots have them; of v2 the controllers decide."""
    return _limit_support_v2(layout) if layout.mode == "v2" else _limit_support_v1(layout, block)


def _limit_support_v1(layout: Layout, block: Path) -> LimitSupport:
    def has(controller: str, file: str) -> bool:
        return controller in layout.v1 and (layout.v1[controller] / file).exists()

    # BFQ's weights are no files of the root, and act on the devices only that it schedules.
    schedulers = (file.read_text() for file in block.glob("*/queue/scheduler"))
    bfq = "blkio" in layout.v1 and any("[bfq]" in text for text in schedulers)

    return LimitSupport(
        memory_limit="memory" in layout.v1,
        swap_limit=has("memory", "memory.memsw.limit_in_bytes"),
        memory_reservation=has("memory", "memory.soft_limit_in_bytes"),
        memory_swappiness=has("memory", "memory.swappiness"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        kernel_memory=has("memory", "memory.kmem.limit_in_bytes"),
        kernel_memory_tcp=has("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_cfs=has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime=has("cpu", "cpu.rt_period_us"),
        cpuset="cpuset" in layout.v1,
        pids_limit="pids" in layout.v1,
        blkio_weight=has("blkio", "blkio.weight") or bfq,
        blkio_weight_device=has("blkio", "blkio.weight_device") or bfq,
        blkio_throttle=has("blkio", "blkio.throttle.read_bps_device"),
        devices="devices" in layout.v1,
    )


def _limit_support_v2(layout: Layout) -> LimitSupport:
    # The root of v2 has no limits, so files that depend on the kernel's configuration are looked for in a
    # child: any will do, and a host without one child of the root runs nothing.
    def has(file: str) -> bool:
        assert layout.unified is not None
        return any(layout.unified.glob(f"*/{file}"))

    memory, blkio = "memory" in layout.controllers, "blkio" in layout.controllers
    return LimitSupport(
        memory_limit=memory,
        swap_limit=memory and has("memory.swap.max"),
        memory_reservation=memory,
        cpu_shares="cpu" in layout.controllers,
        cpu_cfs="cpu" in layout.controllers,
        cpuset="cpuset" in layout.controllers,
        pids_limit="pids" in layout.controllers,
        blkio_weight=blkio and (has("io.weight") or has("io.bfq.weight")),
        blkio_weight_device=blkio and has("io.weight"),
        blkio_throttle=blkio,
        devices=True,
    )


def _cpuset(layout: Layout) -> tuple[str, str]:
    """The processors and memory nodes to choose from, as the kernel lists them."""
    if layout.mode == "v2" and layout.unified:
        files = layout.unified / "cpuset.cpus.effective", layout.unified / "cpuset.mems.effective"
    elif "cpuset" in layout.v1:
        files = layout.v1["cpuset"] / "cpuset.cpus", layout.v1["cpuset"] / "cpuset.mems"
    else:
        return "", ""
    cpus, mems = (file.read_text().strip() if file.exists() else "" for file in files)
    return cpus, mems


def _mem_total_bytes(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemTotal in /proc/meminfo")


def _features(root: Path, version: tuple[int, int], drivers: frozenset[str]) -> Features:
    def sysctl(file: str) -> str:
        path = root / "proc/sys" / file
        return path.read_text().strip() if path.exists() else ""

    def there(path: str) -> bool:
        return (root / path).exists()

    return Features(
        seccomp=there("proc/sys/kernel/seccomp/actions_avail"),
        apparmor=apparmor.is_usable(root),
        selinux=there("sys/fs/selinux/enforce"),
        user_namespaces=there("proc/self/ns/user") and sysctl("user/max_user_namespaces") != "0",
        cgroup_namespaces=there("proc/self/ns/cgroup"),
        time_namespaces=there("proc/self/ns/time"),
        ipv4_forwarding=sysctl("net/ipv4/ip_forward") == "1",
        bridge_nf_iptables=sysctl("net/bridge/bridge-nf-call-iptables") == "1",
        bridge_nf_ip6tables=sysctl("net/bridge/bridge-nf-call-ip6tables") == "1",
        overlayfs="overlay" in drivers,
        mount_api=version >= (5, 2),
        mount_setattr=version >= (5, 12),
        nftables="nf_tables" in drivers,
        bridge="bridge" in drivers,
        veth="veth" in drivers,
        macvlan="macvlan" in drivers,
        ipvlan="ipvlan" in drivers,
        vxlan="vxlan" in drivers,
    )


CONFIG_OF = {
    "overlay": "CONFIG_OVERLAY_FS",
    "nf_tables": "CONFIG_NF_TABLES",
    "bridge": "CONFIG_BRIDGE",
    "veth": "CONFIG_VETH",
    "macvlan": "CONFIG_MACVLAN",
    "ipvlan": "CONFIG_IPVLAN",
    "vxlan": "CONFIG_VXLAN",
}
"""Driver -> the kernel's option that builds it in (y) or as a module (m)."""


def _drivers(root: Path, release: str) -> frozenset[str]:
    """Which drivers of CONFIG_OF are loaded, built in, or lie ready as modules."""
    modules = root / "lib/modules" / release
    config = _kernel_config(root, release)
    ready = {
        Path(line.partition(":")[0]).name.partition(".ko")[0].replace("-", "_")
        for index in (modules / "modules.dep", modules / "modules.builtin")
        if index.exists()
        for line in index.read_text().splitlines()
    }
    return frozenset(
        driver
        for driver, option in CONFIG_OF.items()
        if driver in ready or f"\n{option}=y\n" in config or (root / "sys/module" / driver).exists()
    )


def _kernel_config(root: Path, release: str) -> str:
    """The kernel's configuration, where it or the distribution tells; else ""."""
    if (root / "proc/config.gz").exists():
        return gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    beside = root / f"boot/config-{release}"
    return beside.read_text() if beside.exists() else ""
