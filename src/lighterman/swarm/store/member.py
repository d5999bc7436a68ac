"""etcd as a child process: started with what this manager decides, ended with the engine.

It serves its clients on a unix socket that only root reaches, so no key is needed for it and no worker
finds it; its peers come over mutual TLS with certificates that only managers get. It dies with the engine
by the kernel's help (PR_SET_PDEATHSIG), so an engine that is started again never finds an old one, and its
log needs no recovery but etcd's own.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lighterman.errdefs import System
from lighterman.lib.effects import in_thread, to_end

TICK_MS = 100
"""The swarm's settings of the consensus are in ticks."""
MAX_REQUEST_BYTES = 4 << 20
MAX_OPERATIONS = 1024
KEPT_REVISIONS = 1000
_STOP_LIMIT_S = 2.0
"""For a leader to hand over; one that cannot is killed, which its log survives."""


class MemberConfig(Struct, frozen=True):
    """One start of etcd."""

    binary: str
    directory: Path
    """Of the data: in the data root, 0700."""
    run_directory: Path
    """Of the socket, of certificates in clear and of the log: in the exec root, 0700."""
    name: str
    listen_host: str
    """Where peers may come in; "0.0.0.0" for everywhere."""
    peer_url: str
    """Where the other members find this one: https://host:port."""
    cluster: tuple[tuple[str, str], ...]
    """(name, peer URL) of all members; looked at when the data is new."""
    joins: bool = False
    """Whether the members have taken this one in already."""
    force_new_cluster: bool = False
    heartbeat_ms: int = TICK_MS
    election_ms: int = 10 * TICK_MS
    quota_bytes: int = 4 << 30
    """Of the file that the state is in."""
    snapshot_count: int = 10000
    """Entries of the log between two snapshots of the consensus."""
    max_snapshots: int = 1

    @property
    def socket(self) -> Path:
        return self.run_directory / "client:0"

    @property
    def certificate(self) -> Path:
        return self.run_directory / "peer.crt"

    @property
    def key(self) -> Path:
        return self.run_directory / "peer.key"

    @property
    def authority(self) -> Path:
        return self.run_directory / "peer-ca.crt"

    def arguments(self) -> list[str]:
        """The command line of etcd. Source: etcd --help, 3.4 to 3.6."""
        port = self.peer_url.rpartition(":")[2]
        host = f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host
        options = {
            "name": self.name,
            "data-dir": str(self.directory),
            # etcd takes no path in a unix URL but this one, which it makes in its working directory.
            "listen-client-urls": "unix://client:0",
            "advertise-client-urls": "unix://client:0",
            "listen-peer-urls": f"https://{host}:{port}",
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": ",".join(f"{name}={url}" for name, url in self.cluster),
            "initial-cluster-state": "existing" if self.joins else "new",
            "peer-client-cert-auth": "true",
            "peer-cert-file": str(self.certificate),
            "peer-key-file": str(self.key),
            "peer-trusted-ca-file": str(self.authority),
            "election-timeout": str(self.election_ms),
            "heartbeat-interval": str(self.heartbeat_ms),
            "snapshot-count": str(self.snapshot_count),
            "max-snapshots": str(self.max_snapshots),
            "pre-vote": "true",
            # Its own check refuses any change for 5 s after each reconnect; ours is `removal_keeps_quorum`.
            "strict-reconfig-check": "false",
            "auto-compaction-mode": "revision",
            "auto-compaction-retention": str(KEPT_REVISIONS),
            "max-request-bytes": str(MAX_REQUEST_BYTES),
            "max-txn-ops": str(MAX_OPERATIONS),
            "quota-backend-bytes": str(self.quota_bytes),
            "logger": "zap",
            "log-level": "warn",
        } | ({"force-new-cluster": "true"} if self.force_new_cluster else {})
        return [f"--{name}={value}" for name, value in options.items()]


class Member:
    """A running etcd."""

    def __init__(self, config: MemberConfig, process: asyncio.subprocess.Process) -> None:
        self.config = config
        self._process = process

    @classmethod
    async def start(cls, config: MemberConfig) -> "Member":
        """The process; whether it serves is seen by asking it.

        Raises: System when there is no etcd.
        """
        if shutil.which(config.binary) is None:
            raise System(
                f'a swarm manager needs etcd, and there is no "{config.binary}" on this host '
                "(Debian: apt-get install etcd-server)"
            )
        return cls(config, await _spawned(config))

    async def start_again(self) -> None:
        """The same, after it has ended: with the data that it has."""
        self.config = replace(self.config, force_new_cluster=False)
        self._process = await _spawned(self.config)

    async def ended(self) -> int:
        """Wait for its end; the exit code. It ends by itself when it was removed from the members."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it, gently if it listens; to its end, even if whoever waits is cancelled meanwhile."""
        await to_end(self._stop())

    async def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            try:
                async with asyncio.timeout(_STOP_LIMIT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def complaint(self) -> str:
        """Why it ended, as it says itself."""
        return await in_thread(_read_complaint, self.config.run_directory / "etcd.log")


async def _spawned(config: MemberConfig) -> asyncio.subprocess.Process:
    log = await in_thread(_prepared, config)
    try:
        return await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig=KILL", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            config.binary,
            *config.arguments(),
            cwd=config.run_directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the engine, which stops it in order
        )
    finally:
        log.close()


def _prepared(config: MemberConfig) -> BinaryIO:
    for directory in (config.directory, config.run_directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    config.socket.unlink(missing_ok=True)
    return (config.run_directory / "etcd.log").open("wb")


def complaint_in(lines: Sequence[str]) -> str:
    """The last thing in its log that etcd calls worse than a warning, else the last line; "" for no log."""
    said = ""
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=_Entry)
        except msgspec.MsgspecError:
            entry = _Entry("fatal", line)
        if entry.level in ("error", "panic", "fatal") or not said:
            said = f"{entry.msg}: {entry.error}" if entry.error else entry.msg
    return said


class _Entry(msgspec.Struct):
    """A line of etcd's log."""

    level: str = ""
    msg: str = ""
    error: str = ""


def _read_complaint(path: Path) -> str:
    return complaint_in(path.read_text(errors="replace").splitlines() if path.exists() else [])


def removal_keeps_quorum(reachable: int, unreachable: int, *, leaving_is_reachable: bool) -> bool:
    """Whether the members that stay are still more than half reachable. Source: CanRemoveMember of
    SwarmKit.
    """
    stay_reachable = reachable - leaving_is_reachable
    stay = reachable + unreachable - 1
    return stay_reachable >= stay // 2 + 1
