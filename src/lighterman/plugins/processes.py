"""The processes of managed plugins: containers of their own kind, that outlive the engine as all others do.

A plugin that is *wanted* runs: when it ends it is started again, at once and then with growing delays. It has
started when somebody listens on its socket. Its root is the snapshot of its row; what it mounts below its
PropagatedMount is seen on the host, below its own directory.
"""

import asyncio
import logging
import os
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from lighterman.errdefs import EngineError, System
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread, rollback
from lighterman.linux import mount
from lighterman.linux.mountinfo import read_mountinfo
from lighterman.oci import spec as oci
from lighterman.plugins.row import PluginRow
from lighterman.plugins.spec import Places, plugin_spec
from lighterman.plugins.surroundings import Surroundings
from lighterman.runtime import Exit, LogFile, ProcessGone, ProcessIO, Running

log = logging.getLogger(__name__)

TERM, KILL = 15, 9
LISTENS_IN_S = 10.0
"""How long a plugin may take until it listens, as dockerd waits for it."""
ENDS_IN_S = 10.0
LONGEST_DELAY_S = 60.0
RAN_WELL_S = 10.0
LOG_BYTES, LOG_FILES = 1 << 20, 2


class _Life(Struct):
    """What is known of one plugin's process."""

    wanted: bool = False
    comes_up: bool = False  # it is being started: who does that hears of its end
    started_s: float = 0.0
    delay_s: float = 0.0
    ended: "asyncio.Future[Exit]" = field(default_factory=lambda: _future())
    starting: "asyncio.Task[None] | None" = None


def _future() -> "asyncio.Future[Exit]":
    return asyncio.get_running_loop().create_future()


class Processes:
    """Starts and ends them."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._lives: dict[str, _Life] = {}
        self._background = Background()

    # places

    def home(self, plugin_id: str) -> Path:
        """The directory of what a plugin has beside its layers: its log, and what it mounts."""
        return self._around.home / plugin_id

    def socket(self, row: PluginRow) -> Path:
        """Where it listens, on the host."""
        return self._sockets(row.id) / row.config.interface.socket

    def host_path(self, row: PluginRow, path: str) -> str:
        """Where a path of the plugin's is on the host. Source: ScopedPath of moby."""
        mounted = row.config.propagated_mount
        if mounted and path.startswith(mounted):
            return str(self.home(row.id) / "propagated-mount") + path.removeprefix(mounted)
        return self._around.snapshots.dirs(row.snapshot)["MergedDir"] + os.path.join("/", path)

    def _sockets(self, plugin_id: str) -> Path:
        # short: the path of a socket has 107 bytes
        return self._around.exec_root / "plugins" / plugin_id[:12]

    # starting and ending

    async def start(self, row: PluginRow) -> None:
        """Run the plugin and wait until it listens; if it does not, nothing is left.

        Raises: InvalidParameter (mounts, devices), StartFailed, System.
        """
        life = self._lives.setdefault(row.id, _Life())
        life.ended, life.started_s, life.comes_up = _future(), time.monotonic(), True
        try:
            await self._start(row, life)
            life.wanted = True
        finally:
            life.comes_up = False

    async def _start(self, row: PluginRow, life: _Life) -> None:
        async with rollback() as undo:
            undo.push_async_callback(self._clear, row.id, row.snapshot)
            await self._around.runtime.delete(row.id)  # what is left of an earlier run
            root = await self._around.snapshots.mount(row.snapshot)
            places = Places(root, self._sockets(row.id), self.home(row.id) / "propagated-mount")
            await in_thread(_prepare, row, places)
            spec = plugin_spec(row, places, self._around.host, cgroup_parent=self._around.cgroup_parent)
            await self._around.runtime.run(
                row.id, oci.encode(spec), self._io(row.id), runtime="", seccomp=None
            )
            await self._listens(row, life)

    async def stop(self, row: PluginRow) -> None:
        """End the plugin, by force where it does not by itself; idempotent."""
        life = self._lives.setdefault(row.id, _Life())
        life.wanted = False
        if life.starting is not None:
            life.starting.cancel()
            await asyncio.wait([life.starting])
        for signal in (TERM, KILL):
            try:
                self._around.runtime.signal(row.id, signal)
            except ProcessGone:
                break
            done, _ = await asyncio.wait([life.ended], timeout=ENDS_IN_S)
            if done:
                break
        await self._clear(row.id, row.snapshot)
        self._lives.pop(row.id, None)

    async def adopt(self, row: PluginRow, state: object) -> None:
        """At the engine's start: go on with a plugin that runs, start one that does not."""
        life = self._lives.setdefault(row.id, _Life())
        life.wanted = True
        if isinstance(state, Running):
            life.started_s = time.monotonic()
            return
        await self._start_again(row, life)

    async def on_exit(self, row: PluginRow, end: Exit) -> None:
        """A plugin's process has ended."""
        life = self._lives.setdefault(row.id, _Life())
        if not life.ended.done():
            life.ended.set_result(end)
        if life.wanted and not life.comes_up:
            log.warning("op=plugin-exit plugin=%s code=%d: starting it again", row.name, end.code)
            if time.monotonic() - life.started_s >= RAN_WELL_S:
                life.delay_s = 0.0
            life.starting = self._background.start(self._start_later, row, life)

    async def close(self) -> None:
        """Let go; what runs goes on."""
        await self._background.close(cancel=True)

    async def _start_later(self, row: PluginRow, life: _Life) -> None:
        while life.wanted:
            await asyncio.sleep(life.delay_s)
            life.delay_s = min(max(0.1, life.delay_s * 2), LONGEST_DELAY_S)
            if await self._started(row):
                return

    async def _start_again(self, row: PluginRow, life: _Life) -> None:
        if not await self._started(row):
            life.wanted = True
            life.starting = self._background.start(self._start_later, row, life)

    async def _started(self, row: PluginRow) -> bool:
        try:
            await self.start(row)
        except EngineError as error:
            log.error("op=plugin-start plugin=%s outcome=failed error=%s", row.name, error)
            return False
        return True

    # inside

    def _io(self, plugin_id: str) -> ProcessIO:
        return ProcessIO(
            tty=False,
            stdin=False,
            stdin_once=False,
            log=LogFile(str(self.home(plugin_id) / "plugin.log"), LOG_BYTES, LOG_FILES),
            size=None,
        )

    async def _listens(self, row: PluginRow, life: _Life) -> None:
        """Until somebody listens on the plugin's socket. Raises: System."""
        path, loop = self.socket(row), asyncio.get_running_loop()
        give_up, delay_s = loop.time() + LISTENS_IN_S, 0.01
        while True:
            try:
                return await in_thread(_dial, path)
            except OSError as error:
                why = f"dial unix {path}: connect: {(error.strerror or str(error)).lower()}"
                if loop.time() >= give_up:
                    raise System(why) from error
            done, _ = await asyncio.wait([life.ended], timeout=delay_s)
            if done:
                code = life.ended.result().code
                raise System(f"{why}: the plugin ended with exit code {code}")
            delay_s = min(delay_s * 1.5, 0.5)

    async def _clear(self, plugin_id: str, snapshot: str) -> None:
        """Take away what a run had on the host. Idempotent."""
        await self._around.runtime.delete(plugin_id)
        await self._around.snapshots.unmount(snapshot)
        await in_thread(_unmount_below, self.home(plugin_id))
        await in_thread(_remove, self._sockets(plugin_id))

    async def tidy(self, rows: Sequence[PluginRow]) -> None:
        """At the engine's start: what belongs to no plugin goes."""
        await in_thread(self._tidy, self._around.home, {row.id for row in rows})
        await in_thread(self._tidy, self._around.exec_root / "plugins", {row.id[:12] for row in rows})

    async def discard(self, plugin_id: str) -> None:
        """Throw away what the plugin had beside its layers, its PropagatedMount included. Idempotent."""
        await in_thread(self._discard, self.home(plugin_id))

    def _discard(self, path: Path) -> None:
        _unmount_below(path)
        if path.is_relative_to(self._around.content.root):
            self._around.content.discard(path)
        else:
            _remove(path)
        with suppress(OSError):  # others are there
            path.parent.rmdir()

    def _tidy(self, directory: Path, known: set[str]) -> None:
        if directory.is_dir():
            for path in directory.iterdir():
                if path.name not in known:
                    self._discard(path)


def _prepare(row: PluginRow, places: Places) -> None:
    """Directories of a plugin, and the mount by which its mounts come to the host. Blocks."""
    places.propagated.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    shutil.rmtree(places.sockets, ignore_errors=True)  # a socket that nobody listens on any more
    places.sockets.mkdir(mode=0o700, parents=True)
    # what the plugin mounts elsewhere is its own: its root has no twin on the host
    mount.make_private(str(places.root))
    if row.config.propagated_mount:
        places.propagated.mkdir(mode=0o755, exist_ok=True)
        if not _is_shared(places.propagated):
            mount.bind(str(places.propagated), str(places.propagated), recursive=True)
            mount.make_shared(str(places.propagated))


def _is_shared(path: Path) -> bool:
    """Whether what is mounted below `path` in one namespace comes to the others."""
    above = [each for each in read_mountinfo() if path.is_relative_to(each.point)]
    return bool(max(above, key=lambda each: len(each.point)).propagation)


def _dial(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LISTENS_IN_S)
        sock.connect(str(path))


def _remove(directory: Path) -> None:
    """Take the directory away, and the one above it with the last. Blocks."""
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):  # others are there
        directory.parent.rmdir()


def _unmount_below(directory: Path) -> None:
    for each in reversed(read_mountinfo()):
        if Path(each.point).is_relative_to(directory):
            with suppress(OSError):  # it went with one that lay above
                mount.umount(each.point, detach=True)
