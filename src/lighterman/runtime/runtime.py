"""The daemon's side: starts and adopts monitors, and keeps what is known about each run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from lighterman.linux.cgroup import Cgroup
from lighterman.linux.host import Host
from lighterman.oci.spec import LinuxSeccomp
from lighterman.runtime.outcomes import Exit, Recovered, Running
from lighterman.runtime.streams import AttachTo, Client, ProcessIO


class Runtime:
    """Runs the processes of containers; they outlive it. One per exec root."""

    @classmethod
    async def open(
        cls,
        *,
        exec_root: Path,
        data_root: Path,
        host: Host,
        default_runtime: str | None,
        runtimes: Mapping[str, str],
        on_exit: Callable[[str, Exit], Awaitable[None]],
        on_exec_exit: Callable[[str, str, Exit], Awaitable[None]],
        on_detach: Callable[[str], None],
        on_exec_detach: Callable[[str, str], None] | None = None,
    ) -> "Runtime":
        """A runtime with its zygote started. Call `recover` before anything else.

        `data_root` is where root file systems will be mounted: it and `exec_root` become shared mounts,
        so that the zygote's mount namespace sees what is mounted later. `default_runtime` None: the first
        that works of crun and runc. `runtimes` are more names, with the paths of their programs.
        `on_exit` comes once per run of a container, after its log and all its streams are complete.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Stop serving; containers and their streams go on."""
        raise NotImplementedError

    async def run(
        self,
        id: str,
        spec: bytes,
        io: ProcessIO,
        *,
        runtime: str,
        seccomp: LinuxSeccomp | None,
        attached: Sequence[tuple[Client, AttachTo]] = (),
    ) -> Running:
        """Start a container's process; `attached` clients lose nothing of its output.

        `spec` is the OCI config.json without `linux.seccomp`. `runtime` "" is the default.
        Raises: StartFailed, and nothing is left; the clients are still the caller's then, and no byte
        was written to them. InvalidParameter: unknown runtime.
        """
        raise NotImplementedError

    async def exec(
        self,
        id: str,
        exec_id: str,
        process: bytes,
        io: ProcessIO,
        *,
        attached: Sequence[tuple[Client, AttachTo]] = (),
    ) -> Running:
        """Start a further process (`process`: OCI process object) in a running container.

        Raises: StartFailed (as `run`), ProcessGone: the container does not run.
        """
        raise NotImplementedError

    async def attach(self, id: str, client: Client, to: AttachTo) -> None:
        """Hand a client to the container's monitor; it gets what is written from now on.

        Raises: ProcessGone; the client is still the caller's then.
        """
        raise NotImplementedError

    async def resize(self, id: str, rows: int, columns: int, exec_id: str | None = None) -> None:
        """Set the terminal's size. Raises: ProcessGone."""
        raise NotImplementedError

    def signal(self, id: str, signal: int, exec_id: str | None = None) -> None:
        """Send a signal, by pidfd: never to a stranger. Raises: ProcessGone."""
        raise NotImplementedError

    async def pause(self, id: str) -> None:
        """Freeze all processes of a container. Raises: ProcessGone, System."""
        raise NotImplementedError

    async def unpause(self, id: str) -> None:
        """Thaw them. Raises: ProcessGone, System."""
        raise NotImplementedError

    def pids(self, id: str) -> list[int]:
        """Host pids of all processes of a container, execs included. Raises: ProcessGone."""
        raise NotImplementedError

    def cgroup(self, id: str) -> Cgroup:
        """The cgroup of a container, for its numbers and limits. Raises: ProcessGone."""
        raise NotImplementedError

    async def delete(self, id: str) -> None:
        """Make all that is left of a container's run go away: processes, cgroup, directories. Idempotent."""
        raise NotImplementedError

    async def recover(self) -> list[Recovered]:
        """What the last daemon left: living runs are adopted, ended ones told. Delete the latter."""
        raise NotImplementedError

    def version(self) -> Mapping[str, str]:
        """Names and versions of the OCI runtimes found, the default first; {} if there is none."""
        raise NotImplementedError
