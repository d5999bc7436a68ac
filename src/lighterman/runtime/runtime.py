"""The daemon's side: starts and adopts monitors, and keeps what is known about each run."""

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec

from lighterman.errdefs import System
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux.cgroup import Cgroup, Layout, hasten_moves, open_cgroup
from lighterman.linux.host import Host
from lighterman.oci import spec as oci
from lighterman.oci.spec import LinuxSeccomp
from lighterman.runtime import exec_root as places
from lighterman.runtime.fields import Fields
from lighterman.runtime.oci_runtimes import OciRuntime, OciRuntimes, ThrowAway, find_runtimes
from lighterman.runtime.outcomes import Exit, Lost, ProcessGone, Recovered, Running, StartBroke
from lighterman.runtime.recovery import Found, find_runs
from lighterman.runtime.run import MonitorFailed, MonitorGone, Run
from lighterman.runtime.seccomp_cache import ANNOTATION, SeccompCache
from lighterman.runtime.shared_roots import hidden_mounts, share, unshare
from lighterman.runtime.start_errors import last_error, start_failed
from lighterman.runtime.streams import AttachTo, Client, ProcessIO
from lighterman.runtime.zygote_client import Zygote

log = logging.getLogger(__name__)

_ANSWERS_WITHIN_S = 5.0
"""What a monitor may take to answer a new daemon. It waits for nobody, so one that takes longer hangs."""
Key = tuple[str, str | None]
"""Id of the container, and of the exec."""


class Runtime:
    """Runs the processes of containers; they outlive it. One per exec root."""

    def __init__(
        self,
        exec_root: Path,
        layout: Layout,
        shared: Sequence[Path],
        zygote: Zygote,
        oci_runtimes: OciRuntimes,
        on_end: Callable[[Key, Exit], Awaitable[None]],
        on_detach: Callable[[Key], None],
    ) -> None:
        self._exec_root, self._layout, self._shared = exec_root, layout, shared
        self._zygote, self._oci = zygote, oci_runtimes
        self._on_end, self._on_detach = on_end, on_detach
        self._seccomp = SeccompCache(exec_root / "seccomp", self._throw_away)
        self._runs: dict[Key, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hastening: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls,
        *,
        exec_root: Path,
        data_root: Path,
        host: Host,
        default_runtime: str | None,
        runtimes: Mapping[str, Sequence[str]],
        on_exit: Callable[[str, Exit], Awaitable[None]],
        on_exec_exit: Callable[[str, str, Exit], Awaitable[None]],
        on_detach: Callable[[str], None],
        on_exec_detach: Callable[[str, str], None] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> "Runtime":
        """A runtime with its zygote started. Call `recover` before anything else.

        `data_root` is where root file systems will be mounted: it and `exec_root` become shared mounts,
        so that the zygote's mount namespace sees what is mounted later. `default_runtime` None: the first
        that works of crun and runc. `runtimes` are more names, with their programs and arguments.
        `on_exit` comes once per run of a container, after its log and all its streams are complete.
        `meanwhile` is called when the zygote has begun: until it is there, nobody here has anything to do.
        Raises: InvalidParameter: no such default runtime. System: the roots cannot be prepared.
        """

        async def on_end(key: Key, end: Exit) -> None:
            id, exec_id = key
            await (on_exit(id, end) if exec_id is None else on_exec_exit(id, exec_id, end))

        def on_detach_of(key: Key) -> None:
            id, exec_id = key
            if exec_id is None:
                on_detach(id)
            elif on_exec_detach is not None:
                on_exec_detach(id, exec_id)

        hidden = hidden_mounts(host.cgroup)
        shared = [exec_root, data_root] if hidden else []
        try:
            await in_thread(places.prepare, exec_root)
            await in_thread(share, shared)
            zygote = await in_thread(Zygote, hidden)
        except OSError as error:
            raise System(f"the exec root {exec_root} cannot be prepared: {error}") from error
        meanwhile()
        found = await find_runtimes(zygote, exec_root, host.cgroup, default_runtime, runtimes)
        return cls(exec_root, host.cgroup, shared, zygote, found, on_end, on_detach_of)

    async def close(self) -> None:
        """Stop serving; containers and their streams go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self._runs.values():
            run.close()
        self._runs.clear()
        await in_thread(self._zygote.close)
        await in_thread(unshare, self._shared)

    # -- starting

    def expect(self) -> None:
        """Tell that a `run` or an `exec` will come in a moment: what it would wait for begins now."""
        if self._hastening is None or self._hastening.done():
            self._hastening = asyncio.get_running_loop().run_in_executor(None, self._hasten)

    def _hasten(self) -> None:
        with contextlib.suppress(OSError):  # not allowed here: then starts wait
            hasten_moves(self._layout)

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
        program = self._oci.choose(runtime)
        whole = msgspec.json.decode(spec, type=oci.Spec)
        assert whole.linux is not None
        assert whole.process is not None
        args, cgroup = whole.process.args, whole.linux.cgroups_path
        whole = msgspec.structs.replace(whole, process=_sized(whole.process, io))
        if seccomp is not None:
            whole = _with_seccomp(whole, seccomp, await self._seccomp.compiled(seccomp, program))
        directory = places.directory(self._exec_root, id, None)
        files = {
            "config.json": oci.encode(whole),
            "request": places.request(
                id,
                io,
                argv=program.run_argv(id, tty=io.tty),
                runtime=program.name,
                cgroup=cgroup,
                oom=places.oom_file(self._layout, cgroup),
            ),
        }
        return await to_end(self._start((id, None), directory, files, args, attached))

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
        program = self._oci.choose(self._running((id, None)).request.text("runtime"))
        whole = _sized(msgspec.json.decode(process, type=oci.Process), io)
        argv = program.exec_argv(id, tty=io.tty)
        files = {
            "process.json": oci.encode(whole),
            "request": places.request(exec_id, io, argv=argv, runtime=program.name, cgroup="", oom=""),
        }
        directory = places.directory(self._exec_root, id, exec_id)
        return await to_end(self._start((id, exec_id), directory, files, whole.args, attached))

    async def _start(
        self,
        key: Key,
        directory: Path,
        files: Mapping[str, bytes],
        args: Sequence[str],
        attached: Sequence[tuple[Client, AttachTo]],
    ) -> Running:
        try:
            await in_thread(places.write, directory, files)
        except FileExistsError as error:
            raise System(f"{key[1] or key[0]} was started already and not deleted since") from error
        except OSError as error:
            await in_thread(shutil.rmtree, directory, True)
            raise StartBroke(f"cannot prepare the start: {error}", 128) from error
        self.expect()  # what was prepared meanwhile may have taken longer than the last one lasts
        run = self._new_run(key, directory, Fields(files["request"]))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                run.connect(ours)
                handed = [run.queue_attach(client, to) for client, to in attached]
                self._zygote.start_monitor(directory, run.request.items("argv")[0], theirs)
            running = await run.running(ask=False)
            await asyncio.gather(*handed)
        except (MonitorFailed, MonitorGone) as error:
            run.close()
            text = str(error) or last_error(await in_thread(places.read, directory / "oci.log"))
            await self._clear(key, run.request)
            raise start_failed(text, args, exec=key[1] is not None) from None
        for client, _ in attached:
            client.sock.close()
        self._runs[key] = run
        self._in_background(self._follow(key, run))
        return running

    # -- following

    async def _follow(self, key: Key, run: Run) -> None:
        """Until the process has ended: then tell it. A monitor that dies is replaced."""
        while (end := await self._end(run)) is None and not run.deleted:
            log.warning("the monitor of %s died: starting another", run.name)
            try:
                await self._adopt(run)
            except (MonitorFailed, MonitorGone) as error:
                run.signal(SIGKILL)
                end = places.lost_exit(f"no monitor could be started: {error}")
                break
        run.close()
        self._runs.pop(key, None)
        if run.deleted or end is None:
            return
        await self._on_end(key, end)
        if key[1] is not None:
            await in_thread(shutil.rmtree, run.directory, True)

    async def _end(self, run: Run) -> Exit | None:
        end = await asyncio.shield(run.ended)
        return end or await in_thread(places.read_exit, run.directory)

    async def _adopt(self, run: Run) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            run.connect(ours)
            self._zygote.adopt(run.directory, theirs, run.state, run.adoptable)
        await run.running(ask=False)

    def _new_run(self, key: Key, directory: Path, request: Fields) -> Run:
        return Run(key[1] or key[0], directory, request, detached=lambda: self._on_detach(key))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def supervised() -> None:
            try:
                await work
            except Exception:
                log.exception("a run's end could not be told")

        task = asyncio.get_running_loop().create_task(supervised())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what runs

    def _running(self, key: Key) -> Run:
        if run := self._runs.get(key):
            return run
        raise ProcessGone(key[1] or key[0])

    async def attach(self, id: str, client: Client, to: AttachTo) -> None:
        """Hand a client to the container's monitor; it gets what is written from now on.

        Raises: ProcessGone; the client is still the caller's then.
        """
        await to_end(self._attach(id, client, to))
        client.sock.close()

    async def _attach(self, id: str, client: Client, to: AttachTo) -> None:
        while True:
            run = self._running((id, None))
            try:
                return await run.queue_attach(client, to)
            except MonitorGone:
                await asyncio.sleep(0)
                await run.settled.wait()  # the next monitor takes the client, or the run has ended

    async def resize(self, id: str, rows: int, columns: int, exec_id: str | None = None) -> None:
        """Set the terminal's size; without a terminal there is none. Raises: ProcessGone."""
        self._running((id, exec_id)).resize(rows, columns)

    def signal(self, id: str, signal: int, exec_id: str | None = None) -> None:
        """Send a signal, by pidfd: never to a stranger. Raises: ProcessGone."""
        self._running((id, exec_id)).signal(signal)

    async def pause(self, id: str) -> None:
        """Freeze all processes of a container. Raises: ProcessGone, System."""
        try:
            await in_thread(self.cgroup(id).freeze)
        except OSError as error:
            raise System(f"cannot freeze the processes of {id}: {error}") from error

    async def unpause(self, id: str) -> None:
        """Thaw them. Raises: ProcessGone, System."""
        try:
            await in_thread(self.cgroup(id).thaw)
        except OSError as error:
            raise System(f"cannot thaw the processes of {id}: {error}") from error

    def open_root(self, id: str) -> int:
        """An O_PATH fd of the root of a container's process, as it sees it. Raises: ProcessGone."""
        return self._running((id, None)).open_root()

    def pids(self, id: str) -> list[int]:
        """Host pids of all processes of a container, execs included. Raises: ProcessGone."""
        return self.cgroup(id).pids()

    def cgroup(self, id: str) -> Cgroup:
        """The cgroup of a container, for its numbers and limits. Raises: ProcessGone."""
        return open_cgroup(self._layout, self._running((id, None)).request.text("cgroup"))

    # -- ending

    async def delete(self, id: str) -> None:
        """Make all that is left of a container's run go away: processes, cgroup, directories. Idempotent."""
        await to_end(self._delete(id))

    async def _delete(self, id: str) -> None:
        keys = [key for key in self._runs if key[0] == id]
        runs = [self._runs[key] for key in keys]
        for key, run in zip(keys, runs, strict=True):
            run.deleted = key[1] is None  # the end of an exec is still told
            with contextlib.suppress(ProcessGone):
                run.signal(SIGKILL)
        directory = places.directory(self._exec_root, id, None)
        request = await in_thread(places.read_request, directory)
        await in_thread(places.kill, self._cgroup(request))
        for run in runs:
            await asyncio.shield(run.ended)
        await self._clear((id, None), request)

    async def _clear(self, key: Key, request: Fields) -> None:
        """Take away what a run left. No OCI runtime is needed for it, unless it is a kind we do not know."""
        id, exec_id = key
        directory = places.directory(self._exec_root, id, exec_id)
        if exec_id is not None:
            await in_thread(shutil.rmtree, directory, True)
            return
        for program in self._oci:
            if program.kind not in ("crun", "runc") and (program.root / id).exists():
                await self._zygote.call(program.argv("/dev/null", "delete", "--force", id))
        roots = [program.root / id for program in self._oci]
        await in_thread(places.remove, directory, roots, self._cgroup(request))

    def _cgroup(self, request: Fields) -> Cgroup | None:
        return open_cgroup(self._layout, request.text("cgroup")) if request.text("cgroup") else None

    # -- the daemon's start

    async def recover(self) -> list[Recovered]:
        """What the last daemon left: living runs are adopted, ended ones told. Delete the latter."""
        found = await in_thread(find_runs, self._exec_root)
        return await asyncio.gather(*(self._recover(each) for each in found))

    async def _recover(self, found: Found) -> Recovered:
        id, exec_id = found.key
        state = await self._recovered_state(found)
        if exec_id is not None and not isinstance(state, Running):
            await in_thread(shutil.rmtree, found.directory, True)
        return Recovered(id, exec_id, state)

    async def _recovered_state(self, found: Found) -> Running | Exit | Lost:
        if found.exit is not None:
            return found.exit
        run = self._new_run(found.key, found.directory, found.request)
        running = await self._meet(run) or await self._replace(run, found.state)
        if running is None:
            run.close()
            end = await in_thread(places.read_exit, found.directory)
            return (
                end
                or (found.state and places.lost_exit("its monitor was killed with the daemon"))
                or Lost.LOST
            )
        self._runs[found.key] = run
        self._in_background(self._follow(found.key, run))
        return running

    async def _meet(self, run: Run) -> Running | None:
        """Connect to a living monitor. One that hangs holds up no engine: it is killed."""
        control = places.connect(run.directory)
        if control is None:
            return None
        run.connect(control)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                return await run.running(ask=True)
        except TimeoutError:
            log.error("op=recover the monitor of %s does not answer: it is replaced", run.name)
            run.kill_monitor()
            return None
        except (MonitorGone, MonitorFailed):
            return None

    async def _replace(self, run: Run, state: Fields | None) -> Running | None:
        """Start a monitor for a living process that has none; what it wrote meanwhile is lost."""
        if state is None or not run.find_process(state):
            return None
        try:
            await self._adopt(run)
        except (MonitorGone, MonitorFailed) as error:
            log.error("no monitor could be started for %s: %s", run.name, error)
            return None
        return Running(state.number("pid"), state.number("started"))

    # -- what there is

    def version(self) -> Mapping[str, str]:
        """Names and versions of the OCI runtimes found, the default first; {} if there is none."""
        return self._oci.versions()

    async def offer(self, runtimes: Mapping[str, Sequence[str]]) -> None:
        """Let these names, with the paths of their programs, be asked for from now on."""
        await self._oci.offer(self._zygote, self._exec_root, runtimes)

    @property
    def default_name(self) -> str:
        """The name of the runtime that "" means; "" if there is none."""
        return self._oci.default

    def _throw_away(self, program: OciRuntime) -> ThrowAway:
        return ThrowAway(self._zygote, program, self._exec_root, self._layout)


def _sized(process: oci.Process, io: ProcessIO) -> oci.Process:
    """The process with its terminal's size: it may ask before the monitor has the terminal in its hands."""
    if io.size is None:
        return process
    return msgspec.structs.replace(process, console_size=oci.ConsoleSize(height=io.size[0], width=io.size[1]))


def _with_seccomp(spec: oci.Spec, seccomp: LinuxSeccomp, compiled: str) -> oci.Spec:
    """The filter as text, and compiled too: a crun that does not know the annotation is no hole then."""
    assert spec.linux is not None
    linux = msgspec.structs.replace(spec.linux, seccomp=seccomp)
    annotations = spec.annotations | ({ANNOTATION: compiled} if compiled else {})
    return msgspec.structs.replace(spec, linux=linux, annotations=annotations)
