"""What the rest of the engine knows of the swarm. It must cost an engine outside of any swarm nothing.

So everything heavy is imported inside of the verbs here: they are the room's door.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from lighterman.containers import Containers
from lighterman.lib.effects import in_thread
from lighterman.swarm.errors import LeftMeanwhile, NoSwarm, NotInSwarm, NotLocked, NotManager, SwarmExists

if TYPE_CHECKING:
    from lighterman.apitypes.service import GenericResource
    from lighterman.apitypes.swarm import SwarmInfo, SwarmInitBody, SwarmJoinBody
    from lighterman.swarm.node import Node
    from lighterman.swarm.node.manager import Manager

T = TypeVar("T")
MEMBERSHIP_FILE = "node.json"
"""In the swarm's directory: there is one exactly if this engine is in a swarm, or about to be."""


async def _no_plugins(interface: str) -> Sequence[str]:
    return ()


class Engine(Struct, frozen=True):
    """What a node needs of its engine, and tells of it."""

    root: Path
    """The directory `swarm` of the data root."""
    exec_root: Path
    """The directory `swarm` of the exec root: sockets."""
    containers: Containers
    version: str
    """As in "26.11.0"."""
    labels: tuple[str, ...] = ()
    """key=value labels of the engine."""
    default_advertise_addr: str = ""
    """An address or the name of an interface; "" lets the engine look."""
    generic_resources: "tuple[GenericResource, ...]" = ()
    """What tasks may reserve here."""
    heartbeat_ticks: int = 0
    """Of the consensus of managers; 0: as the swarm's settings say."""
    election_ticks: int = 0
    plugin_names: Callable[[str], Awaitable[Sequence[str]]] = _no_plugins
    """Of the plugins that have an interface, as in "VolumeDriver"."""
    etcd_binary: str = "etcd"


class Swarm:
    """This engine's place in a swarm, or that it has none."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._node: Node | None = None
        self._lock = asyncio.Lock()  # init, join, leave and unlock go one after the other
        self._entering: asyncio.Task[Any] | None = None  # what waits for others while it holds the lock
        self._leaves = False  # nothing that waits for others is to be begun

    @property
    def local_state(self) -> str:
        """inactive, pending, active, error or locked, as /info says it."""
        return "inactive" if self._node is None else self._node.local_state

    @property
    def manager(self) -> "Manager":
        """This node as a manager that can work.

        Raises: NotInSwarm, NotManager, NotReady, SwarmLocked, CertificatesExpired.
        """
        if self._node is None:
            raise NotInSwarm
        return self._node.manager

    @property
    def node(self) -> "Node | None":
        """This engine as a node; None outside of a swarm."""
        return self._node

    def info(self) -> "SwarmInfo | None":
        """The swarm's section of /info; None for an engine outside of any swarm."""
        return None if self._node is None else self._node.info()

    async def open(self) -> None:
        """Take up the life in the swarm that the engine was in when it ended."""
        if (self._engine.root / MEMBERSHIP_FILE).exists():
            await _imported()
            from lighterman.swarm.node import Node

            self._node = await Node.resume(self._engine)
        else:
            await in_thread(sweep, self._engine)

    async def close(self) -> None:
        """The engine ends; the node stays in its swarm, and its tasks go on."""
        self._hurry()
        async with self._lock:
            if self._node is not None:
                await self._node.close()

    async def init(self, body: "SwarmInitBody") -> str:
        """Make a swarm with this node as its first manager; the node's id.

        Raises: SwarmExists, BadAddress, InvalidParameter, LeftMeanwhile, System.
        """
        async with self._lock:
            if self._node is not None and not body.force_new_cluster:
                raise SwarmExists
            await _imported()
            from lighterman.swarm import node

            if self._node is None:
                self._node = await self._apart(node.init(self._engine, body))
                await self._apart(self._node.begin())
            else:
                place = await node.place_of_init(self._engine, body)
                await self._apart(self._node.force_new_cluster(place))
            return self._node.id

    async def join(self, body: "SwarmJoinBody") -> None:
        """Become a node of the swarm that a token belongs to.

        Raises: SwarmExists, BadAddress, InvalidParameter, JoinTimeout, LeftMeanwhile, System.
        """
        async with self._lock:
            if self._node is not None:
                raise SwarmExists
            await _imported()
            from lighterman.swarm import node

            self._node = await self._apart(node.join(self._engine, body))
            await self._apart(self._node.begin())

    async def leave(self, *, force: bool) -> None:
        """Leave the swarm: the node's tasks end, and what it knew of the swarm is erased.

        With `force` an init or a join that is under way is given up for it.

        Raises: NoSwarm; Unavailable when this manager would be missed, and not `force`.
        """
        was_entering = self._entering is not None
        if force:
            self._hurry()
        async with self._lock:
            self._leaves = False
            if self._node is None:
                if force and was_entering:
                    return
                raise NoSwarm
            await self._node.leave(force=force)
            self._node = None

    async def unlock(self, key: str) -> None:
        """Open the keys of this manager, and start it.

        Raises: NotInSwarm, NotManager, NotLocked, WrongUnlockKey, InvalidParameter.
        """
        async with self._lock:
            if self._node is None:
                raise NotInSwarm
            if self._node.local_state != "locked":
                if not self._node.is_manager:
                    raise NotManager
                raise NotLocked
            await self._apart(self._node.unlock(key))

    def _hurry(self) -> None:
        """End what waits for others and holds the lock."""
        self._leaves = self._lock.locked()
        if self._entering is not None:
            self._entering.cancel()

    async def _apart(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` outside of the request that wants it: what it begins lives on, and its log is not the
        request's.

        Raises: LeftMeanwhile.
        """
        self._entering = task = asyncio.get_running_loop().create_task(work, context=Context())
        if self._leaves:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if (me := asyncio.current_task()) is not None and me.cancelling():
                raise
            raise LeftMeanwhile from None
        finally:
            self._entering = None


def sweep(engine: Engine) -> None:
    """Erase what is left of a swarm that this engine is not in: of one it left, or never came into.

    The membership goes first, so that a half-erased directory is no swarm. Blocks for the disk.
    """
    (engine.root / MEMBERSHIP_FILE).unlink(missing_ok=True)
    for directory in (engine.root, engine.exec_root):
        for entry in directory.iterdir() if directory.exists() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


async def _imported() -> None:
    """Import what a node is made of: half a second, in which the engine goes on."""
    await in_thread(import_module, "lighterman.swarm.node")
