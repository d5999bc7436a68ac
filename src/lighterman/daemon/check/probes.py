"""The probes: each tries one part of the host for real and gives findings. Nothing of it stays.

What files alone can tell is in `linux.host`; here is what only doing can. Each blocks for some milliseconds
(a runtime for a tenth of a second) and needs root, or says that it lacks it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from lighterman.daemon.check.apart import with_own_mounts, with_own_network
from lighterman.daemon.check.container import try_runtime
from lighterman.daemon.check.finding import Finding, State, graded
from lighterman.linux import link_kinds, netlink, netns
from lighterman.linux.apparmor import PROFILES
from lighterman.linux.capabilities import NAMES
from lighterman.linux.host import Host
from lighterman.linux.mountinfo import read_mountinfo
from lighterman.linux.nft import Nft, NftError
from lighterman.linux.openat2 import IN_ROOT, openat2
from lighterman.snapshots import overlay

RUNTIMES = ("crun", "runc")
CONTROLLERS = {
    "memory": "limits of memory",
    "cpu": "limits of processor time",
    "cpuset": "pinning to processors",
    "pids": "limits of processes",
    "blkio": "limits of disk traffic",
}
"""Controller -> what containers do without where it is missing."""

TABLE = """
table ip lighterman_check {
    map published {
        type inet_proto . inet_service : ipv4_addr . inet_service
    }
    chain prerouting {
        type nat hook prerouting priority -100
        dnat ip to meta l4proto . th dport map @published
    }
    chain postrouting {
        type nat hook postrouting priority 100
        ip saddr 10.0.0.0/8 masquerade
    }
}
"""
"""What networks of containers are made of: NAT in both directions, and a map of published ports."""

SCRATCH_BYTES = 1 << 30
"""Below this much free space a pull of an ordinary image fails."""


def probe_kernel(host: Host) -> list[Finding]:
    """Who we are, which kernel this is, and what it protects containers with."""
    features, lacking = host.features, sorted(set(NAMES) - host.bounding_caps)
    optional = [
        ("seccomp", features.seccomp, "filters system calls", "no filter: containers run without one"),
        (
            "capabilities",
            not lacking,
            "all",
            f"no container can have {', '.join(lacking)}, not even a privileged one",
        ),
        ("user namespaces", features.user_namespaces, "there", "not there: no --userns-remap"),
        ("AppArmor", features.apparmor, "profiles can be loaded", _no_apparmor()),
    ]
    return [
        graded("Kernel", "root", os.geteuid() == 0, "uid 0", "not root: most cannot be tried"),
        _tried("Kernel", "system calls", _call_new_calls, f"{host.kernel} has pidfd_open and openat2"),
        *(graded("Kernel", *row, needed=False) for row in optional),
    ]


def _no_apparmor() -> str:
    lacking = "no apparmor_parser" if (Path("/") / PROFILES).exists() else "not enabled"
    return f"{lacking}: containers run without a profile"


def probe_cgroups(host: Host) -> list[Finding]:
    """The mode, and the controllers that limits need."""
    layout = host.cgroup
    missing = [what for name, what in CONTROLLERS.items() if name not in layout.controllers]
    optional = [
        ("controllers", not missing, ", ".join(sorted(layout.controllers)), f"no {', no '.join(missing)}"),
        ("swap accounting", host.limits.swap_limit, "there", "not there: swap cannot be limited"),
    ]
    return [
        graded("Cgroups", "mode", layout.mode != "none", layout.mode, "none is mounted on /sys/fs/cgroup"),
        *(graded("Cgroups", *row, needed=False) for row in optional),
    ]


def probe_runtimes(host: Host) -> list[Finding]:
    """Each OCI runtime, by running a container with it. One that works is enough."""
    return [_probe_runtime(name, host) for name in RUNTIMES]


def probe_storage(data_root: Path) -> list[Finding]:
    """An overlay with layers where the data root is, or would be."""
    place = _existing(data_root)
    free = shutil.disk_usage(place).free
    enough, there = free >= SCRATCH_BYTES, f"{free / (1 << 30):.1f} GiB free at {place}"
    return [
        _tried("Storage", "overlay", lambda: _mount_overlay(place), f"on {_file_system(place)} at {place}"),
        graded("Storage", "space", enough, there, f"only {there}", needed=False),
    ]


def probe_firewall() -> list[Finding]:
    """libnftables, and a table with NAT in a network namespace of its own."""
    try:
        Nft().close()
    except OSError as error:
        return [Finding("Firewall", "nftables", State.MISSING, str(error), ("libnftables1",))]
    return [_tried("Firewall", "nftables", lambda: with_own_network(_make_table), "NAT and maps")]


def probe_network(host: Host) -> list[Finding]:
    """A bridge with a veth pair, one end of it in another namespace."""
    forwarding = "on" if host.features.ipv4_forwarding else "off: the engine switches it on"
    macvlan = ("macvlan", host.features.macvlan, "there", "not there: no networks of this driver")
    return [
        _tried("Network", "bridge and veth", lambda: with_own_network(_make_bridge), "made and removed"),
        Finding("Network", "IPv4 forwarding", State.OK, forwarding),
        graded("Network", *macvlan, needed=False),
    ]


def probe_swarm() -> list[Finding]:
    """etcd, which only managers of a swarm need."""
    path = shutil.which("etcd")
    if path is None:
        without = "not installed: this host can be a worker of a swarm, and no manager"
        return [Finding("Swarm", "etcd", State.LIMITED, without, ("etcd-server",), needed=False)]
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return [Finding("Swarm", "etcd", State.OK, f"{path} {said.partition(chr(10))[0]}", needed=False)]


def _tried(topic: str, name: str, call: Callable[[], None], detail: str) -> Finding:
    """A finding of what `call` did: its error is the reason why it is missing."""
    try:
        call()
    except (OSError, NftError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        return Finding(topic, name, State.MISSING, why.partition("\n")[0])
    return Finding(topic, name, State.OK, detail)


def _call_new_calls() -> None:
    """Raises: OSError (ENOSYS) before Linux 5.6."""
    os.close(os.pidfd_open(os.getpid()))
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(openat2(top, b"proc", os.O_PATH, resolve=IN_ROOT))
    finally:
        os.close(top)


def _probe_runtime(name: str, host: Host) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding("Runtimes", name, State.MISSING, "not installed", (name,), needed=False)
    trial = try_runtime(path, host)
    program = f"{path} {trial.version}".rstrip()
    if not trial.ran:
        return Finding("Runtimes", name, State.MISSING, f"{program}: {trial.fault}", needed=False)
    if trial.fault:
        return Finding("Runtimes", name, State.LIMITED, f"{program}: {trial.fault}", needed=False)
    detail = f"{program}: a container ran within {trial.took_ms:.0f} ms"
    return Finding("Runtimes", name, State.OK, detail, needed=False)


def _existing(path: Path) -> Path:
    """The nearest directory above that is there: it is on the same file system."""
    return next(place for place in (path, *path.absolute().parents) if place.is_dir())


def _file_system(place: Path) -> str:
    mounts = [entry for entry in read_mountinfo() if place.resolve().is_relative_to(entry.point)]
    if not mounts:
        return "what no mount tells"  # a chroot that is no mount
    return max(mounts, key=lambda entry: len(entry.point)).type


def _mount_overlay(place: Path) -> None:
    """Write to a file of a lower layer and remove another. Raises: OSError."""
    with tempfile.TemporaryDirectory(prefix=".lighterman-check-", dir=place) as scratch:
        lower, upper, work, merged = (Path(scratch, name) for name in ("lower", "upper", "work", "merged"))
        for directory in (lower, upper, work, merged):
            directory.mkdir()
        for name in ("kept", "removed"):
            (lower / name).write_text("lower")

        def change() -> None:
            by_fds = overlay.takes_fds(lower)
            overlay.mount_overlay([lower], upper, work, merged, volatile=True, by_fds=by_fds)
            (merged / "kept").write_text("upper")
            (merged / "removed").unlink()

        with_own_mounts(change)


def _make_table() -> None:
    """Raises: NftError."""
    nft = Nft()
    try:
        nft.run(TABLE)
        nft.run("delete table ip lighterman_check")
    finally:
        nft.close()


def _make_bridge() -> None:
    """Raises: OSError."""
    with netlink.Netlink() as links:
        links.batch([link_kinds.add_bridge("lmcheck0", mac="02:42:00:00:00:01", mtu=1500)])
        (bridge,) = (link.index for link in links.links() if link.name == "lmcheck0")
        peer_ns = netns.new()
        try:
            veth = link_kinds.add_veth(
                "lmcheck1",
                master=bridge,
                peer="eth0",
                peer_ns=peer_ns,
                peer_mac="02:42:00:00:00:02",
                mtu=1500,
            )
            links.batch([veth, netlink.delete_link("lmcheck1"), netlink.delete_link("lmcheck0")])
        finally:
            os.close(peer_ns)
