"""The room's state: every container by id and by name, and what lives in memory only.

Reads are plain lookups. A change goes through `locked` and `Containers.record`: SQLite first, then memory.
A `Container` is frozen: whoever holds one sees it as it was when it was looked up.
"""

import asyncio
import bisect
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from lighterman.apitypes.container import ContainerConfig, EndpointSettings, HostConfig
from lighterman.containers.errors import AmbiguousPrefix, NameTaken, NoSuchContainer
from lighterman.containers.execs import Exec
from lighterman.containers.life import Creating, Event, Life, Paused, Running, step
from lighterman.containers.mounts import Mounted, VolumeMount
from lighterman.db import Database, Rows
from lighterman.events import Events
from lighterman.images import Images, ImageUser
from lighterman.linux.host import Host
from lighterman.networks import Networks
from lighterman.runtime import AttachTo, Client, Runtime
from lighterman.snapshots import Snapshots
from lighterman.volumes import Volumes


class Container(Struct, frozen=True, kw_only=True):
    """One container: its wish with the defaults filled in, and the facts about it. This is its row."""

    id: str
    name: str  # without the slash that the API puts before it
    created_ns: int
    image_id: str  # "sha256:..."; `config.image` is the name that the client used
    config: ContainerConfig
    host_config: HostConfig
    endpoints: dict[str, EndpointSettings]  # what was wished, by the name of the network
    mounts: tuple[Mounted, ...]
    life: Life
    restart_count: int = 0
    stopped_by_user: bool = False  # its restart policy rests until somebody starts it
    attempted: bool = False  # a start was tried: from then on its files and sandbox are shown

    @property
    def attributes(self) -> dict[str, str]:
        """What its events say of it. Source: measured on dockerd 20.10.24."""
        return {**(self.config.labels or {}), "image": self.config.image, "name": self.name}

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return isinstance(self.life, Running | Paused)


@dataclass(frozen=True)
class Settings:
    """What the operator decided about containers."""

    data_root: Path
    runtimes: frozenset[str] = frozenset()  # further names that may be asked for
    default_runtime: str = ""  # "": the runtime room's own choice
    log_driver: str = "json-file"
    log_opts: Mapping[str, str] = field(default_factory=dict)
    init_path: str = ""  # of tini or docker-init; "": none is installed

    def home(self, container_id: str) -> Path:
        """The directory of a container's files: hosts, hostname, resolv.conf and the log."""
        return self.data_root / "containers" / container_id


@dataclass
class Live:
    """What of a container lives in memory only."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_exit: "asyncio.Future[int]" = field(default_factory=lambda: _future())
    removed: "asyncio.Future[int]" = field(default_factory=lambda: _future())
    waiting: list[tuple[Client, AttachTo]] = field(default_factory=list)  # attached before the start
    last_delay_s: float = 0.0
    backoff: asyncio.Event | None = None  # set: the restart that it waits for is called off

    def tell_exit(self, code: int) -> None:
        """Wake all who wait for the end of this run."""
        ended, self.next_exit = self.next_exit, _future()
        ended.set_result(code)


def _future() -> "asyncio.Future[int]":
    return asyncio.get_running_loop().create_future()


_ROWS: Rows[Container] = Rows("containers", Container)


class Containers:
    """All containers of the engine, and the rooms that they are made with."""

    def __init__(
        self,
        *,
        db: Database,
        events: Events,
        images: Images,
        networks: Networks,
        volumes: Volumes,
        snapshots: Snapshots,
        runtime: Runtime,
        host: Host,
        settings: Settings,
    ) -> None:
        self.db = db
        self.events = events
        self.images = images
        self.networks = networks
        self.volumes = volumes
        self.snapshots = snapshots
        self.runtime = runtime
        self.host = host
        self.settings = settings
        self.execs: dict[str, Exec] = {}
        self.tasks: set[asyncio.Task[None]] = set()  # restarts to come
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, str] = {}
        self._sorted_ids: list[str] = []
        self._live: dict[str, Live] = {}
        for container in _ROWS.load(db).values():
            self._remember(container)

    # Looking up

    def __iter__(self) -> "Iterable[Container]":
        return iter(self._by_id.values())
