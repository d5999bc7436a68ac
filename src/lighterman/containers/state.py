"""The room's state: every container by id and by name, and what lives in memory only.

Reads are plain lookups. A change goes through `locked` and `Containers.record`: SQLite first, then memory.
A `Container` is frozen: whoever holds one sees it as it was when it was looked up.
"""

import asyncio
import bisect
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.apitypes.container import ContainerConfig, EndpointSettings, HostConfig
from lighterman.containers.defaults import Defaults
from lighterman.containers.errors import AmbiguousPrefix, NameTaken, NoSuchContainer
from lighterman.containers.execs import KEPT_S, Exec, ExecEnded
from lighterman.containers.given_files import GivenFile
from lighterman.containers.health import Health
from lighterman.containers.life import LIVING, Event, Life, exit_code, step
from lighterman.containers.mounts import Mounted
from lighterman.containers.samples import Samples
from lighterman.content import Workers
from lighterman.db import Database, Rows
from lighterman.errdefs import NotFound
from lighterman.events import Events
from lighterman.images import Images
from lighterman.lib.background import Background
from lighterman.linux.host import Host
from lighterman.linux.userns import IdMap, map_of
from lighterman.networks import Networks
from lighterman.runtime import AttachTo, Client, Runtime
from lighterman.snapshots import Snapshots
from lighterman.volumes import Volumes

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import LogDriver


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
    restart_delay_s: float = 0.0  # what its policy waited last
    health: Health | None = None  # of a container with a check, from its first start on
    oom_killed: bool = False  # its memory ran out in this run
    attempted: bool = False  # a start was tried: from then on its files and sandbox are shown
    managed: bool = False  # a task of a swarm: its places in networks are given to it
    files: tuple[GivenFile, ...] = ()  # secrets and configs
    transient: bool = False  # it serves work of the engine that made it: no later one has a use for it

    @property
    def attributes(self) -> dict[str, str]:
        """What its events say of it. Source: measured on dockerd 20.10.24."""
        return {**(self.config.labels or {}), "image": self.config.image, "name": self.name}

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return isinstance(self.life, LIVING)

    @property
    def started_ns(self) -> int:
        """When its process was started; 0 without one."""
        return self.life.started_ns if isinstance(self.life, LIVING) else 0

    @property
    def pid(self) -> int:
        """The host's pid of its process; 0 without one."""
        return self.life.pid if isinstance(self.life, LIVING) else 0


class Settings(Struct, frozen=True):
    """What the operator decided about containers."""

    data_root: Path
    runtimes: frozenset[str] = frozenset()  # further names that may be asked for
    default_runtime: str = ""  # "": the runtime room's own choice
    log_driver: str = "json-file"
    log_opts: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""  # of containers that name none; "": dockerd's own, /docker
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    init_path: str = ""  # of tini or docker-init; "": none is installed
    seccomp_profile: str = ""  # of containers that name none: "" is ours, "unconfined", or JSON
    id_map: IdMap | None = None  # of containers that do not want to be in the host's user namespace
    defaults: Defaults = Defaults()
    stop_timeout_s: int = 10  # between signal and force, for containers that name none

    def home(self, container_id: str) -> Path:
        """The directory of a container's files: hosts, hostname, resolv.conf and the log."""
        return self.data_root / "containers" / container_id

    def log_path(self, container_id: str) -> Path:
        """The log in Docker's json-file form."""
        return self.home(container_id) / f"{container_id}-json.log"


class Live(Struct):
    """What of a container lives in memory only."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_exit: "asyncio.Future[int]" = field(default_factory=lambda: _future())
    removed: "asyncio.Future[int]" = field(default_factory=lambda: _future())
    waiting: list[tuple[Client, AttachTo]] = field(default_factory=list)  # attached before the start
    called_off: asyncio.Event = field(default_factory=asyncio.Event)  # the restart that it waits for
    samples: Samples = field(default_factory=Samples)  # of what it uses

    id_map: tuple[int, IdMap | None] = (0, None)  # of the run whose process has this pid
    removing: bool = False  # its parts are being taken down just now
    commits: int = 0  # that read its files just now
    restarting: bool = False  # `restart` stops it: it is not to be removed for that

    def keep_waiting(self, client: Client, to: AttachTo) -> None:
        """Attach this client at the next start; those who have hung up since they came are let go."""
        self.waiting, waiting = [(client, to)], self.waiting
        for other in waiting:
            if hung_up(other[0].sock):
                other[0].sock.close()
            else:
                self.waiting.append(other)

    def turn_away(self) -> None:
        """Close the streams of those who wait for a start that failed."""
        for client, _ in self.waiting:
            client.sock.close()
        self.waiting.clear()

    def tell_exit(self, code: int) -> None:
        """Wake all who wait for the end of this run."""
        ended, self.next_exit = self.next_exit, _future()
        ended.set_result(code)


def hung_up(sock: socket) -> bool:
    """Whether nobody is at the other end any more, neither to read nor to write."""
    look = select.poll()
    look.register(sock, 0)
    return bool(look.poll(0))


def _future() -> "asyncio.Future[int]":
    return asyncio.get_running_loop().create_future()


Contents = Callable[[Container], Mapping[str, bytes]]
"""What the files are filled with that a container is given, by their `source`. Raises: NotFound."""
PROBES_STARTED_AT_ONCE = 4
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
        workers: Workers,
        runtime: Runtime,
        host: Host,
        settings: Settings,
        log_driver: "Callable[[str], Awaitable[LogDriver]]",
    ) -> None:
        self.db = db
        self.log_driver = log_driver  # a plugin's, by name
        self.events = events
        self.images = images
        self.networks = networks
        self.volumes = volumes
        self.snapshots = snapshots
        self.workers = workers
        self.runtime = runtime
        self.host = host
        self.settings = settings
        self.contents: Contents | None = None  # of an engine in a swarm: its agent's
        self.execs: dict[str, Exec] = {}
        self.probes = asyncio.Semaphore(PROBES_STARTED_AT_ONCE)
        self.later = Background()  # restarts and removals that nobody waits for
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, str] = {}
        self._sorted_ids: list[str] = []
        self._live: dict[str, Live] = {}
        for container in _ROWS.load(db).values():
            self._remember(container)

    # Looking up

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._by_id

    def find(self, ref: str) -> Container:
        """The container with this id, name, name of a link ("web/store"), or unique beginning of an id; in
        this order.

        Raises: NoSuchContainer, AmbiguousPrefix. Source: measured; a name beats another's id prefix.
        """
        known = self._by_id.get(ref) or self._named(ref.removeprefix("/")) or self._linked(ref)
        if known is not None:
            return known
        first = bisect.bisect_left(self._sorted_ids, ref)
        matching = [each for each in self._sorted_ids[first : first + 2] if each.startswith(ref)]
        if not ref or not matching:
            raise NoSuchContainer(ref)
        if len(matching) > 1:
            raise AmbiguousPrefix(ref)
        return self._by_id[matching[0]]

    def _named(self, name: str) -> Container | None:
        return self._by_id.get(self._by_name.get(name, ""))

    def _linked(self, ref: str) -> Container | None:
        """What the container before the slash calls so: a link of the default bridge is a name of its own."""
        name, slash, alias = ref.removeprefix("/").partition("/")
        parent = self._named(name) if slash else None
        if parent is None or "bridge" not in parent.endpoints:
            return None
        links = (link.rpartition(":") for link in parent.host_config.links or ())
        return next((self._by_id.get(other) for other, _, called in links if called == alias), None)

    def id_map(self, container: Container) -> IdMap | None:
        """Which ids its own are on the host; None: the same. Of one that runs this is a fact of its run."""
        if container.runs:
            live = self._live[container.id]
            if live.id_map[0] == container.pid:
                return live.id_map[1]
            with suppress(OSError):  # it has ended just now
                live.id_map = (container.pid, map_of(container.pid))
                return live.id_map[1]
        return None if container.host_config.userns_mode == "host" else self.settings.id_map

    @property
    def default_runtime(self) -> str:
        """The name of the OCI runtime for who names none; "" when this host has none."""
        return self.settings.default_runtime or next(iter(self.runtime.version()), "")

    def network_name(self, ref: str) -> str:
        """The name of the network that `ref` means, or `ref` itself while there is no such network."""
        try:
            return self.networks.find(ref).name
        except NotFound:
            return ref

    def live(self, container_id: str) -> Live:
        """What lives in memory only."""
        return self._live[container_id]

    @property
    def names(self) -> Mapping[str, str]:
        """Every name that is taken, with its container's id."""
        return self._by_name

    def running_execs(self, container_id: str) -> list[str]:
        """The ids of a container's execs that have not ended."""
        return [
            one.id
            for one in self.execs.values()
            if one.container_id == container_id and not isinstance(one.life, ExecEnded)
        ]

    def end_exec(self, one: Exec, end: ExecEnded) -> None:
        """Note the end of an exec, and forget it when it has been there to be looked at for a while.

        Health checks and scripts would fill the memory.
        """
        self.execs[one.id] = replace(one, life=end)
        # `execs` is looked up then: it may be another dict, and a timer would keep the old one alive
        asyncio.get_running_loop().call_later(KEPT_S, lambda: self.execs.pop(one.id, None))

    # Changing

    @asynccontextmanager
    async def locked(self, ref: str) -> AsyncIterator[Container]:
        """The container, held against every other change; never while waiting for a client or a process.

        Raises: NoSuchContainer, AmbiguousPrefix, also when it went away while another had it.
        """
        container = self.find(ref)
        async with self._live[container.id].lock:
            if container.id not in self._by_id:
                raise NoSuchContainer(ref)
            yield self._by_id[container.id]

    def claim(self, container: Container) -> None:
        """Let a container that is being made have its id and name. Raises: NameTaken.

        Its row is written without waiting: it is there for a start after a crash, not for a client.
        """
        if container.name in self._by_name:
            raise NameTaken(container.name, self._by_name[container.name])
        self._remember(container)
        self.db.write_soon(_ROWS.put(container.id, container))

    async def record(
        self, container: Container, event: Event | None = None, *, durable: bool = False, **changes: Any
    ) -> Container:
        """Write down what happened to `container` (with the lock held): SQLite first, then memory.

        `event` moves its life, `changes` are other fields; `durable` for what a client was told exists.
        """
        if event is not None:
            changes["life"] = step(container.life, event)
        changed = replace(container, **changes)
        await self.db.write(_ROWS.put(changed.id, changed), durable=durable)
        self._remember(changed)
        return changed

    def note(self, container: Container, **changes: Any) -> None:
        """Change what is too small for the disk (with the lock held): the next `record` writes it too."""
        self._remember(replace(container, **changes))

    async def forget(self, container_id: str) -> None:
        """Remove a container's row, then its names, and tell whoever waits for its removal."""
        await self.db.write(_ROWS.delete(container_id))
        self._drop(container_id)

    def abandon(self, container_id: str) -> None:
        """Give up a container whose making failed; idempotent, and nothing is waited for."""
        if container_id in self._by_id:
            self.db.write_soon(_ROWS.delete(container_id))
            self._drop(container_id)

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Tell that `action` happened to `container`."""
        self.events.publish("container", action, container.id, {**container.attributes, **attributes})

    async def close(self) -> None:
        """Call off what was begun: restarts to come are taken up by the next engine."""
        await self.later.close(cancel=True)

    def _drop(self, container_id: str) -> None:
        gone, live = self._by_id.pop(container_id), self._live.pop(container_id)
        del self._by_name[gone.name]
        del self._sorted_ids[bisect.bisect_left(self._sorted_ids, container_id)]
        self.execs = {id: one for id, one in self.execs.items() if one.container_id != container_id}
        live.turn_away()
        live.tell_exit(exit_code(gone.life))
        live.removed.set_result(exit_code(gone.life))

    def _remember(self, container: Container) -> None:
        known = self._by_id.get(container.id)
        if known is None:
            bisect.insort(self._sorted_ids, container.id)
            self._live[container.id] = Live()
        elif known.name != container.name:
            del self._by_name[known.name]
        self._by_id[container.id] = container
        self._by_name[container.name] = container.id
