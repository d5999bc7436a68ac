"""Which OCI runtimes there are, which of them works here, and how their commands are written.

crun is preferred: it starts a container in half of runc's time. Whether one works is found by trying: a
container is created and deleted again, since what a runtime refuses (crun 1.8 the hybrid cgroup layout, say)
is known to nobody but itself.
"""

import logging
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lighterman.errdefs import InvalidParameter
from lighterman.lib.effects import Group, in_thread
from lighterman.linux.cgroup import Layout, cgroup_path, open_cgroup
from lighterman.oci import spec as oci
from lighterman.runtime.outcomes import StartBroke
from lighterman.runtime.start_errors import last_error
from lighterman.runtime.zygote_client import Zygote

log = logging.getLogger(__name__)
PREFERRED = ("crun", "runc")


class OciRuntime(Struct, frozen=True):
    """One program. `kind` is the first word of its `--version`: crun, runc, or another."""

    name: str
    path: str
    kind: str
    version: str
    root: Path
    """Where it keeps its containers' state."""
    arguments: tuple[str, ...] = ()
    """What the operator wants before all others."""

    def argv(self, log: str, *command: str) -> list[str]:
        """A command line of it; errors go to the file `log` as JSON."""
        told = ["--root", str(self.root), "--log", log, "--log-format", "json"]
        return [self.path, *self.arguments, *told, *command]

    def run_argv(self, id: str, *, tty: bool) -> list[str]:
        """Start a container; in its bundle's directory."""
        console = ["--console-socket", "console.sock"] if tty else []
        return self.argv("oci.log", "run", "--detach", "--bundle", ".", "--pid-file", "pid", *console, id)

    def exec_argv(self, id: str, *, tty: bool) -> list[str]:
        """Start a further process; in the directory with its process.json."""
        console = ["--tty", "--console-socket", "console.sock"] if tty else []
        flags = ["--detach", "--process", "process.json", "--pid-file", "pid", *console]
        return self.argv("oci.log", "exec", *flags, id)


class OciRuntimes:
    """What was found at start."""

    def __init__(self, found: Mapping[str, OciRuntime], default: str, broken: Mapping[str, str]) -> None:
        self._found, self.default, self._broken = found, default, broken

    def choose(self, name: str) -> OciRuntime:
        """The runtime called `name`, "" for the default. Raises: InvalidParameter, StartBroke: none works."""
        if runtime := self._found.get(name or self.default):
            return runtime
        if name and name not in self._broken:
            raise InvalidParameter(f"Unknown runtime specified {name}")
        reasons = "; ".join(f"{each}: {why}" for each, why in self._broken.items() if name in ("", each))
        raise StartBroke(f"no OCI runtime works here: {reasons}", 128)

    def __iter__(self) -> Iterator[OciRuntime]:
        return iter(self._found.values())

    async def offer(self, zygote: Zygote, exec_root: Path, configured: Mapping[str, Sequence[str]]) -> None:
        """Know these names and commands too; one no longer named stays, for the containers that have it."""
        asked = {
            name: await _ask_version(zygote, name, command, exec_root) for name, command in configured.items()
        }
        self._found = {**self._found, **asked}

    def versions(self) -> Mapping[str, str]:
        """name -> version, the default first."""
        names = sorted(self._found, key=lambda name: name != self.default)
        return {name: self._found[name].version for name in names}


async def find_runtimes(
    zygote: Zygote,
    exec_root: Path,
    layout: Layout,
    default: str | None,
    configured: Mapping[str, Sequence[str]],
) -> OciRuntimes:
    """Look for programs, and try the preferred ones until one works.

    Raises: InvalidParameter: `default` is none of them.
    """
    there = {name: [path] for name in PREFERRED if (path := shutil.which(name))}
    commands: Mapping[str, Sequence[str]] = {**there, **configured}
    async with Group() as group:
        asked = {
            name: group.create_task(_ask_version(zygote, name, command, exec_root))
            for name, command in commands.items()
        }
    found = {name: task.result() for name, task in asked.items()}
    if default is not None:
        if default not in found:
            raise InvalidParameter(f"specified default runtime '{default}' does not exist")
        return OciRuntimes(found, default, {})
    broken: dict[str, str] = {}
    for name in PREFERRED:
        if name not in found:
            broken[name] = "not installed"
        elif why := await try_runtime(zygote, found[name], exec_root, layout):
            log.warning("the OCI runtime %s does not work here: %s", name, why)
            broken[name] = why
            del found[name]
        else:
            return OciRuntimes(found, name, broken)
    return OciRuntimes(found, "", broken)


async def _ask_version(zygote: Zygote, name: str, command: Sequence[str], exec_root: Path) -> OciRuntime:
    if shutil.which(command[0]) is None:
        log.warning("the OCI runtime %s is no program that can be executed: %s", name, command[0])
        code, text = 127, ""
    else:
        code, text = await zygote.call([*command, "--version"])
    words = text.split() if code == 0 else []
    version = words[words.index("version") + 1] if "version" in words[:-1] else ""
    root = exec_root / "oci" / name
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return OciRuntime(name, command[0], words[0] if words else "", version, root, tuple(command[1:]))


async def try_runtime(zygote: Zygote, runtime: OciRuntime, exec_root: Path, layout: Layout) -> str:
    """Why no container can be created with `runtime`; "": one can."""
    async with ThrowAway(zygote, runtime, exec_root, layout) as container:
        return await container.create(None)


class ThrowAway:
    """A container that is created, never started, and leaves nothing."""

    def __init__(self, zygote: Zygote, runtime: OciRuntime, exec_root: Path, layout: Layout) -> None:
        self._zygote, self._runtime = zygote, runtime
        self._id = secrets.token_hex(16)
        self._bundle = exec_root / "probe" / self._id
        self._cgroup = open_cgroup(layout, cgroup_path(self._id))

    @property
    def state(self) -> Path:
        """The runtime's directory for it."""
        return self._runtime.root / self._id

    async def create(self, seccomp: oci.LinuxSeccomp | None) -> str:
        """ "", or the runtime's error."""
        await in_thread(self._write_bundle, seccomp)
        log_path = self._bundle / "oci.log"
        command = ["create", "--bundle", str(self._bundle), self._id]
        code, output = await self._zygote.call(self._runtime.argv(str(log_path), *command))
        if code == 0:
            return ""
        return await in_thread(
            lambda: last_error(log_path.read_bytes()) if log_path.exists() else output.strip()
        )

    async def __aenter__(self) -> "ThrowAway":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._zygote.call(self._runtime.argv("/dev/null", "delete", "--force", self._id))
        await in_thread(self._remove)

    def _write_bundle(self, seccomp: oci.LinuxSeccomp | None) -> None:
        program = self._bundle / "rootfs" / "probe"
        program.parent.mkdir(parents=True, mode=0o700)
        for place in ("proc", "dev"):
            (program.parent / place).mkdir()
        program.touch(mode=0o755)
        namespaces = tuple(oci.Namespace(type=kind) for kind in ("pid", "mount", "ipc", "uts"))
        linux = oci.Linux(cgroups_path=self._cgroup.path, namespaces=namespaces, seccomp=seccomp)
        process = oci.Process(user=oci.User(uid=0, gid=0), args=("/probe",), cwd="/", no_new_privileges=True)
        spec = oci.Spec(
            oci_version=oci.OCI_VERSION,
            process=process,
            root=oci.Root(path="rootfs"),
            mounts=(oci.Mount(destination="/proc", type="proc", source="proc"),),
            linux=linux,
        )
        (self._bundle / "config.json").write_bytes(oci.encode(spec))

    def _remove(self) -> None:
        self._cgroup.kill()
        self._cgroup.remove()
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self._bundle, ignore_errors=True)
