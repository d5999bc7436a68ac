"""A throw-away container, run with the defaults of every other: does this OCI runtime work here?

Its root has nothing but the host's programs, read-only; it prints the status of its process, which tells
whether capabilities and the filter of system calls came to be. Nothing stays: not its directory, mounts,
network, cgroup or state.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from lighterman.daemon.check.apart import with_own_mounts
from lighterman.linux.capabilities import mask_of, names_of
from lighterman.linux.cgroup import cgroup_path, open_cgroup
from lighterman.linux.host import Host
from lighterman.oci import spec as oci
from lighterman.oci.capabilities import effective, process_capabilities
from lighterman.oci.defaults import (
    DEFAULT_PATH,
    DEFAULT_SHM_BYTES,
    MASKED_PATHS,
    NETWORK_SYSCTLS,
    READONLY_PATHS,
    default_device_rules,
    default_mounts,
    masked_paths,
)
from lighterman.oci.seccomp import default_profile, resolve

TIMEOUT_S = 20.0
PARENT = "/lighterman-check"
DEFAULT_MOUNTS = default_mounts(shm_bytes=DEFAULT_SHM_BYTES, privileged=False, readonly_rootfs=False)
TOP = ("usr", "bin", "sbin", "lib", "lib64")
"""What a dynamic program of the host needs; links on a merged /usr, directories elsewhere."""


class Trial(Struct, frozen=True):
    """What came of it. `fault` is why it failed, or what was not as it should be; "" is good."""

    version: str
    ran: bool
    fault: str
    took_ms: float


def try_runtime(path: str, host: Host) -> Trial:
    """Run a container by the OCI runtime `path`, and take all of it away again. Blocks: 50 to 200 ms."""
    version, began = _version(path), time.perf_counter()
    if os.geteuid() != 0:
        return Trial(version, False, "only root can try it", 0.0)
    # crun 1.8 refuses a hybrid whose v2 mount it sees.
    hidden = [host.cgroup.unified] if host.cgroup.mode == "hybrid" and host.cgroup.unified else []
    id = f"lighterman-check-{os.getpid()}"
    cgroup = open_cgroup(host.cgroup, cgroup_path(id, PARENT))
    with tempfile.TemporaryDirectory(prefix="lighterman-check-") as scratch:
        bundle = Path(scratch)
        (bundle / "config.json").write_bytes(oci.encode(_spec(bundle / "rootfs", cgroup.path, host)))
        try:
            status = with_own_mounts(lambda: _run(path, bundle, id), hidden)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Trial(version, False, str(error), 0.0)
        except subprocess.CalledProcessError as error:
            return Trial(version, False, _last_line(error.stderr), 0.0)
        finally:
            cgroup.kill()
            open_cgroup(host.cgroup, PARENT).remove()
    return Trial(version, True, _fault(status, host), (time.perf_counter() - began) * 1000)


def _run(path: str, bundle: Path, id: str) -> str:
    """What the container printed. Raises: CalledProcessError, TimeoutExpired, OSError."""
    runtime = [path, "--root", str(bundle / "state")]
    try:
        done = subprocess.run(
            [*runtime, "run", "--bundle", str(bundle), id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return done.stdout
    finally:
        subprocess.run([*runtime, "delete", "--force", id], capture_output=True, timeout=TIMEOUT_S)


def _spec(rootfs: Path, cgroup: str, host: Host) -> oci.Spec:
    """The configuration of a container with the defaults, whose root is made in the new `rootfs`."""
    bounding = effective(None, None, False, host.bounding_caps)
    process = oci.Process(
        user=oci.User(uid=0, gid=0, additional_gids=(0,)),
        args=(shutil.which("cat") or "/bin/cat", "/proc/self/status"),
        env=(f"PATH={DEFAULT_PATH}",),
        cwd="/",
        capabilities=process_capabilities(bounding, uid=0),
    )
    seccomp = resolve(default_profile(), bounding, host.architecture, host.kernel_version)
    return oci.Spec(
        oci_version=oci.OCI_VERSION,
        process=process,
        root=oci.Root(path=str(rootfs)),
        hostname="check",
        mounts=(*DEFAULT_MOUNTS, *_programs(rootfs)),
        linux=oci.Linux(
            sysctl=NETWORK_SYSCTLS,
            resources=oci.Resources(devices=default_device_rules(privileged=False)),
            cgroups_path=cgroup,
            namespaces=tuple(oci.Namespace(type=kind) for kind in ("mount", "network", "uts", "pid", "ipc")),
            seccomp=seccomp if host.features.seccomp else None,
            masked_paths=masked_paths(MASKED_PATHS, host.thermal_paths),
            readonly_paths=READONLY_PATHS,
        ),
    )


def _programs(rootfs: Path) -> list[oci.Mount]:
    """Make `rootfs` look like the host's top: its links, and mounts of its directories for the rest."""
    rootfs.mkdir()
    binds = []
    for name in TOP:
        there = Path("/", name)
        if there.is_symlink():
            (rootfs / name).symlink_to(os.readlink(there))
        elif there.is_dir():
            options = ("bind", "ro", "rprivate", "nosuid", "nodev")
            binds.append(oci.Mount(destination=f"/{name}", type="bind", source=str(there), options=options))
    return binds


def _fault(status: str, host: Host) -> str:
    """What the process' own status says against the defaults."""
    if host.features.seccomp and "Seccomp:\t2\n" not in status:
        return "containers run without the filter of system calls"
    if names_of(mask_of(status, "CapEff")) != set(effective(None, None, False, host.bounding_caps)):
        return "containers run with other capabilities than asked for"
    return ""


def _version(path: str) -> str:
    """ "1.8.1" of "crun version 1.8.1"; "" when it does not say."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S)
    words = done.stdout.split()
    return words[words.index("version") + 1] if "version" in words[:-1] else ""


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else "it failed without a word"
